//! Subscribing: who may and wants to follow which track, and how that becomes media sections, over a single
//! connection (the client offers, we ask for sections) or over a second one (we offer) (livekit.md §2.5, 2.6, 2.9).

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::participant_info::State;
use proto::signal_response::Message;
use proto::{DisconnectReason, SubscriptionError};
use rtc::negotiate::Outgoing;
use rtc::{Codec, MediaKind, Mid, Ssrc};

use super::Room;
use crate::api::TrackSid;
use crate::media::forwarder::Forwarder;
use crate::participant::*;
use crate::publication::{TrackKey, TrackPublication};
use crate::subscription::{Subscription, TrackSettings, WantedTrack};

/// A first change is offered this soon, so that several at once share an offer …
const OFFER_DELAY_IDLE: Duration = Duration::from_millis(10);
/// … and further ones are gathered for this long …
const OFFER_DELAY_BUSY: Duration = Duration::from_millis(150);
/// … when the last offer is younger than this.
const OFFER_IDLE: Duration = Duration::from_millis(150);

/// An offer that stays unanswered for so long means that client and server disagree.
const OFFER_TIMEOUT: Duration = Duration::from_secs(15);

/// A client that does not follow up on a request for sections is asked again.
const SECTIONS_TIMEOUT: Duration = Duration::from_secs(3);

/// A track that was asked for explicitly may take so long to appear.
const MISSING_TIMEOUT: Duration = Duration::from_secs(60);

/// Tracks that one participant has expressed a wish about.
const MAX_WANTED: usize = 10_000;

impl Room {
    /// Whether a participant may follow a track: by its own token and by the publisher's policy.
    fn is_allowed(&self, subscriber: &Participant, track: &TrackPublication) -> bool {
        if subscriber.is_recorder() {
            return true;
        }
        let Some(publisher) = self.participants.get(&track.publisher) else { return false };
        match &publisher.policy {
            SubscriptionPolicy::Everyone => true,
            SubscriptionPolicy::Listed(listed) => listed.iter().any(|entry| {
                let named = entry.participant_sid == subscriber.sid.as_str()
                    || entry.participant_identity == subscriber.identity.as_str();
                named && (entry.all_tracks || entry.track_sids.iter().any(|sid| sid == track.sid.as_str()))
            }),
        }
    }

    fn wants(subscriber: &Participant, track: &TrackPublication) -> bool {
        let explicit = subscriber.wanted.get(&track.sid).and_then(|wanted| wanted.subscribe);
        explicit.unwrap_or(subscriber.auto_subscribe)
    }

    /// Brings one subscription in line with wishes and permissions.
    fn reconcile(&mut self, now: Instant, subscriber: ParticipantKey, track_key: TrackKey) {
        let (Some(participant), Some(track)) =
            (self.participants.get(&subscriber), self.tracks.get(&track_key))
        else {
            return;
        };
        if track.publisher == subscriber || participant.state == State::Disconnected {
            return;
        }
        let wants = Self::wants(participant, track);
        let allowed = self.is_allowed(participant, track);
        let subscribed = participant.bound.contains(&track_key) || participant.unbound.contains(&track_key);
        let publisher_visible = self.participants.get(&track.publisher).is_some_and(|p| !p.is_hidden());
        let told = participant.wanted.get(&track.sid).and_then(|wanted| wanted.told_allowed);
        let sid = track.sid.clone();
        let publisher = track.publisher;
        let codec_fits = participant_can_receive(participant, track.codec);
        let can_subscribe = participant.permission.can_subscribe;
        if wants && can_subscribe && told != Some(allowed) {
            self.wanted_mut(subscriber, &sid).told_allowed = Some(allowed);
            self.tell_allowed(subscriber, publisher, &sid, allowed);
        }
        let should = wants && allowed && can_subscribe && publisher_visible;
        if should && !subscribed {
            if !codec_fits {
                let err = SubscriptionError::SeCodecUnsupported as i32;
                let response = proto::SubscriptionResponse { track_sid: sid.to_string(), err };
                return self.send(subscriber, Message::SubscriptionResponse(response));
            }
            self.request_binding(now, subscriber, track_key);
        } else if !should && subscribed {
            self.unsubscribe(now, subscriber, track_key);
        }
    }

    fn tell_allowed(
        &mut self,
        subscriber: ParticipantKey,
        publisher: ParticipantKey,
        sid: &TrackSid,
        allowed: bool,
    ) {
        let Some(publisher) = self.participants.get(&publisher) else { return };
        let update = proto::SubscriptionPermissionUpdate {
            participant_sid: publisher.sid.to_string(),
            track_sid: sid.to_string(),
            allowed,
        };
        self.send(subscriber, Message::SubscriptionPermissionUpdate(update));
    }

    /// Repeats to a resumed client what it may follow.
    pub(super) fn resend_subscription_permissions(&mut self, key: ParticipantKey) {
        let Some(participant) = self.participants.get(&key) else { return };
        let told: Vec<_> = participant
            .wanted
            .iter()
            .filter_map(|(sid, wanted)| Some((sid.clone(), wanted.told_allowed?)))
            .collect();
        for (sid, allowed) in told {
            if let Some(publisher) =
                self.by_sid.get(&sid).and_then(|key| self.tracks.get(key)).map(|track| track.publisher)
            {
                self.tell_allowed(key, publisher, &sid, allowed);
            }
        }
    }

    fn wanted_mut(&mut self, key: ParticipantKey, sid: &TrackSid) -> &mut WantedTrack {
        let participant =
            self.participants.get_mut(&key).expect("the participant was looked up by the caller");
        if participant.wanted.len() >= MAX_WANTED && !participant.wanted.contains_key(sid) {
            participant.wanted.retain(|_, wanted| wanted.subscribe.is_some());
        }
        participant.wanted.entry(sid.clone()).or_default()
    }

    /// All tracks, for one subscriber.
    pub(super) fn reconcile_subscriber(&mut self, now: Instant, key: ParticipantKey) {
        let tracks: Vec<_> = self.tracks.keys().copied().collect();
        for track in tracks {
            self.reconcile(now, key, track);
        }
    }

    /// One track, for all subscribers.
    pub(super) fn reconcile_track(&mut self, now: Instant, track: TrackKey) {
        let subscribers: Vec<_> = self.participants.keys().copied().collect();
        for subscriber in subscribers {
            self.reconcile(now, subscriber, track);
        }
    }

    pub(super) fn client_subscription(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        update: &proto::UpdateSubscription,
    ) {
        let of_participants = update.participant_tracks.iter().flat_map(|tracks| &tracks.track_sids);
        let sids: Vec<_> =
            update.track_sids.iter().chain(of_participants).take(MAX_WANTED).cloned().collect();
        for sid in sids {
            if !self.participants.contains_key(&key) {
                return;
            }
            let sid = TrackSid::from(sid);
            let track = self.by_sid.get(&sid).copied();
            let wanted = self.wanted_mut(key, &sid);
            wanted.subscribe = Some(update.subscribe);
            wanted.missing_since = (update.subscribe && track.is_none()).then_some(now);
            if let Some(track) = track {
                self.reconcile(now, key, track);
            }
        }
    }

    /// Tells subscribers about tracks that they asked for and that never came.
    pub(super) fn check_wanted(&mut self, now: Instant) {
        let mut missing = Vec::new();
        for participant in self.participants.values_mut() {
            for (sid, wanted) in &mut participant.wanted {
                if self.by_sid.contains_key(sid) {
                    wanted.missing_since = None;
                } else if wanted.missing_since.is_some_and(|since| now >= since + MISSING_TIMEOUT) {
                    wanted.missing_since = None;
                    missing.push((participant.key, sid.to_string()));
                }
            }
        }
        for (key, track_sid) in missing {
            let err = SubscriptionError::SeTrackNotfound as i32;
            self.send(key, Message::SubscriptionResponse(proto::SubscriptionResponse { track_sid, err }));
        }
    }

    pub(super) fn client_track_settings(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        settings: &proto::UpdateTrackSettings,
    ) {
        for sid in settings.track_sids.iter().take(MAX_WANTED) {
            if !self.participants.contains_key(&key) {
                return;
            }
            let sid = TrackSid::from(sid.as_str());
            self.wanted_mut(key, &sid).settings = Some(TrackSettings::from(settings));
            if let Some(&track) = self.by_sid.get(&sid) {
                self.apply_settings(now, key, track);
            }
        }
        self.mirror_changed(now);
    }

    /// A subscription begins: it needs a media section.
    fn request_binding(&mut self, now: Instant, subscriber: ParticipantKey, track: TrackKey) {
        let Some(participant) = self.participants.get_mut(&subscriber) else { return };
        match participant.topology {
            Topology::Single { .. } => {
                participant.unbound.push_back(track);
                self.check_sections(now, subscriber);
            }
            Topology::Dual { .. } => {
                if self.bind(now, subscriber, track, None) {
                    self.offer_soon(now, subscriber);
                }
            }
        }
    }

    /// Gives a subscription its sender, in `mid` over a single connection. The publisher's info goes ahead.
    fn bind(
        &mut self,
        now: Instant,
        subscriber: ParticipantKey,
        track_key: TrackKey,
        mid: Option<Mid>,
    ) -> bool {
        let Some(publisher) = self.tracks.get(&track_key).map(|track| track.publisher) else { return false };
        self.send_participant_to(subscriber, publisher);
        let (ssrc, rtx_ssrc) = (Ssrc(self.rng.u32(1..)), Ssrc(self.rng.u32(1..)));
        let (first_seq, first_timestamp) = (self.rng.u16(1..0x8000), self.rng.u32(..));
        let publisher_info = self.participants.get(&publisher).map(|p| (p.sid.clone(), p.protocol()));
        let Some((publisher_sid, _)) = publisher_info else { return false };
        let Some(track) = self.tracks.get_mut(&track_key) else { return false };
        let Some(participant) = self.participants.get_mut(&subscriber) else { return false };
        let stream_name = if self.options.sync_streams { &track.info.stream } else { track.sid.as_str() };
        let stream_id = format!("{publisher_sid}|{stream_name}");
        #[allow(deprecated)]
        let stereo = track.info.stereo
            || track.info.audio_features.contains(&(proto::AudioTrackFeature::TfStereo as i32));
        let outgoing = Outgoing {
            cname: stream_id.clone(),
            stream: stream_id,
            track: track.sid.to_string(),
            codec: track.codec,
            stereo,
            ssrc,
            rtx_ssrc: (track.kind == MediaKind::Video).then_some(rtx_ssrc),
            rids: Vec::new(),
        };
        let (sender, _) = participant.downlink().peer.add_sender(mid, track.kind, outgoing);
        let forwarder = Forwarder::new(track.codec, first_seq, first_timestamp);
        participant.bound.insert(track_key);
        track.subscriptions.push(Subscription {
            subscriber,
            sender,
            forwarder,
            disabled: false,
            paused: false,
            wanted_spatial: 0,
            wanted_temporal: crate::media::MAX_TEMPORAL,
        });
        self.apply_settings(now, subscriber, track_key);
        self.tell_subscribed(subscriber, track_key);
        true
    }

    /// The publisher learns that somebody follows a track, once.
    fn tell_subscribed(&mut self, subscriber: ParticipantKey, key: TrackKey) {
        let hidden = self.participants.get(&subscriber).is_some_and(Participant::is_hidden);
        let Some(track) = self.tracks.get_mut(&key) else { return };
        if hidden || track.told_subscribed {
            return;
        }
        track.told_subscribed = true;
        let (publisher, track_sid) = (track.publisher, track.sid.to_string());
        self.send(publisher, Message::TrackSubscribed(proto::TrackSubscribed { track_sid }));
    }

    fn unsubscribe(&mut self, now: Instant, subscriber: ParticipantKey, track_key: TrackKey) {
        let Some(participant) = self.participants.get_mut(&subscriber) else { return };
        participant.unbound.retain(|other| *other != track_key);
        if !participant.bound.remove(&track_key) {
            return;
        }
        if let Some(track) = self.tracks.get_mut(&track_key)
            && let Some(index) = track.subscriptions.iter().position(|sub| sub.subscriber == subscriber)
        {
            let subscription = track.subscriptions.swap_remove(index);
            participant.downlink().peer.remove_sender(subscription.sender);
        }
        match &mut participant.topology {
            Topology::Single { renegotiate, .. } => {
                *renegotiate = true;
                self.check_sections(now, subscriber);
            }
            Topology::Dual { .. } => self.offer_soon(now, subscriber),
        }
        self.subscriptions_changed(now, track_key);
        self.allocate(now, subscriber);
    }

    /// All subscriptions to a track that ends.
    pub(super) fn drop_subscriptions_to(&mut self, now: Instant, track: TrackKey) {
        let subscribers: Vec<_> = self
            .participants
            .values()
            .filter(|p| p.bound.contains(&track) || p.unbound.contains(&track))
            .map(|p| p.key)
            .collect();
        for subscriber in subscribers {
            self.unsubscribe(now, subscriber, track);
        }
    }

    /// All subscriptions of a participant that leaves; its transports go with it.
    pub(super) fn drop_subscriptions_of(&mut self, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        participant.unbound.clear();
        for track in std::mem::take(&mut participant.bound) {
            if let Some(track) = self.tracks.get_mut(&track) {
                track.subscriptions.retain(|subscription| subscription.subscriber != key);
            }
        }
    }

    // Over a single connection.

    /// Asks the client for the media sections that are missing, or merely to offer again.
    pub(super) fn check_sections(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        if participant.session().is_none() || !participant.publisher.peer.has_negotiated() {
            return;
        }
        let mut waiting = [0_u32; 2];
        for track in participant.unbound.iter().filter_map(|track| self.tracks.get(track)) {
            waiting[usize::from(track.kind == MediaKind::Video)] += 1;
        }
        let peer = &participant.publisher.peer;
        let free = [MediaKind::Audio, MediaKind::Video].map(|kind| peer.free_sections(kind).count() as u32);
        let Topology::Single { requested_audio, requested_video, renegotiate, asked_at, .. } =
            &mut participant.topology
        else {
            return;
        };
        if asked_at.is_some_and(|at| now >= at + SECTIONS_TIMEOUT) {
            (*requested_audio, *requested_video) = (0, 0);
            *asked_at = None;
            *renegotiate |= waiting != [0, 0];
        }
        let missing = |index: usize, requested: u32| waiting[index].saturating_sub(free[index] + requested);
        let (num_audios, num_videos) = (missing(0, *requested_audio), missing(1, *requested_video));
        let bindable = waiting != [0, 0] && asked_at.is_none();
        if num_audios + num_videos == 0 && !bindable && !*renegotiate {
            return;
        }
        *requested_audio += num_audios;
        *requested_video += num_videos;
        *renegotiate = false;
        *asked_at = Some(now);
        self.timers.schedule(now + SECTIONS_TIMEOUT);
        let requirement = proto::MediaSectionsRequirement { num_audios, num_videos };
        self.send(key, Message::MediaSectionsRequirement(requirement));
    }

    /// An offer came: waiting subscriptions take its free sections.
    pub(super) fn bind_into_sections(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let peer = &participant.publisher.peer;
        let there = [MediaKind::Audio, MediaKind::Video].map(|kind| peer.receiving_sections(kind) as u32);
        if let Topology::Single { requested_audio, requested_video, asked_at, sections, .. } =
            &mut participant.topology
        {
            *requested_audio = requested_audio.saturating_sub(there[0].saturating_sub(sections[0]));
            *requested_video = requested_video.saturating_sub(there[1].saturating_sub(sections[1]));
            *sections = there;
            if *requested_audio + *requested_video == 0 {
                *asked_at = None;
            }
        } else {
            return;
        }
        for track_key in std::mem::take(&mut participant.unbound) {
            let Some(kind) = self.tracks.get(&track_key).map(|track| track.kind) else { continue };
            let Some(participant) = self.participants.get_mut(&key) else { return };
            let free = participant.publisher.peer.free_sections(kind).next();
            match free {
                Some(mid) => {
                    self.bind(now, key, track_key, Some(mid));
                }
                None => participant.unbound.push_back(track_key),
            }
        }
    }

    /// The answer is out: new senders may start, and what found no place asks again.
    pub(super) fn sections_negotiated(&mut self, now: Instant, key: ParticipantKey) {
        if self.is_single(key) {
            self.reconcile_subscriber(now, key);
            self.check_sections(now, key);
            self.start_bound(now, key);
        }
    }

    /// Subscriptions whose sender has just been negotiated want a key frame and a share of the bandwidth.
    pub(super) fn start_bound(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get(&key) else { return };
        let bound: Vec<_> = participant.bound.iter().copied().collect();
        for track in bound {
            self.subscriptions_changed(now, track);
        }
        self.allocate(now, key);
    }

    // Over a second connection.

    fn offer_soon(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let Topology::Dual { offer, last_offer_at, .. } = &mut participant.topology else { return };
        match offer {
            OfferState::Idle => {
                let idle = last_offer_at.is_none_or(|at| now.duration_since(at) > OFFER_IDLE);
                let due = now + if idle { OFFER_DELAY_IDLE } else { OFFER_DELAY_BUSY };
                *offer = OfferState::Due(due);
                self.timers.schedule(due);
            }
            OfferState::Due(_) => {}
            OfferState::Outstanding { again, .. } => *again = true,
        }
    }

    /// Sends the offer that is due, or gives up on one that is never answered.
    pub(super) fn check_offer(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get(&key) else { return };
        let Topology::Dual { offer, transport, .. } = &participant.topology else { return };
        match *offer {
            OfferState::Due(due) if due <= now => self.send_offer(now, key),
            OfferState::Outstanding { since, .. }
                if now >= since + OFFER_TIMEOUT && transport.connected && participant.session().is_some() =>
            {
                self.full_reconnect(now, key, DisconnectReason::StateMismatch);
            }
            _ => {}
        }
    }

    pub(super) fn send_offer(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let Topology::Dual { transport, offer, offer_id, last_offer_at } = &mut participant.topology else {
            return;
        };
        *offer = OfferState::Outstanding { since: now, again: false };
        *last_offer_at = Some(now);
        *offer_id += 1;
        let description = proto::SessionDescription {
            r#type: "offer".to_owned(),
            sdp: transport.peer.create_offer(now),
            id: *offer_id,
            mid_to_track_id: transport.peer.mid_to_track(),
        };
        self.timers.schedule(now + OFFER_TIMEOUT);
        self.send(key, Message::Offer(description));
        self.mirror_changed(now);
    }

    pub(super) fn client_answer(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        answer: proto::SessionDescription,
    ) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let Topology::Dual { transport, offer, offer_id, .. } = &mut participant.topology else { return };
        let OfferState::Outstanding { again, .. } = *offer else { return };
        if answer.id != 0 && answer.id != *offer_id {
            tracing::debug!(got = answer.id, expected = *offer_id, "answer to another offer");
        }
        if let Err(error) = transport.peer.accept_answer(now, &answer.sdp) {
            tracing::info!(%error, "answer refused");
            return self.full_reconnect(now, key, DisconnectReason::StateMismatch);
        }
        *offer = OfferState::Idle;
        self.wake_transport(now, key, Target::Subscriber);
        self.start_bound(now, key);
        self.mirror_changed(now);
        if again {
            self.offer_soon(now, key);
        }
    }

    /// After a resume the second connection looks for a way again; over a single one the client does that.
    pub(super) fn restart_subscriber_ice(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let Topology::Dual { transport, offer, .. } = &mut participant.topology else {
            return self.check_sections(now, key);
        };
        if transport.peer.has_negotiated() {
            transport.peer.restart_ice();
        }
        *offer = OfferState::Idle;
        let id = transport.id;
        let ufrag = transport.peer.local_ufrag().to_owned();
        self.output(crate::RoomOutput::TransportOpened { transport: id, ufrag });
        self.send_offer(now, key);
    }
}

/// Whether the client can decode a codec; before its first description that is not known, and assumed.
fn participant_can_receive(participant: &Participant, codec: Codec) -> bool {
    let peer = match &participant.topology {
        Topology::Single { .. } => &participant.publisher.peer,
        Topology::Dual { transport, .. } => &transport.peer,
    };
    peer.can_receive(codec)
}
