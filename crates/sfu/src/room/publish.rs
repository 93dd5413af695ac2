//! Publishing: from the wish (AddTrack) over the client's offer to a track that others can follow, and back
//! (livekit.md §2.6–2.8).

use std::time::Instant;

use livekit_protocol as proto;
use proto::request_response::{Reason, Request};
use proto::signal_response::Message;
use proto::{AudioTrackFeature, DisconnectReason, TrackType};
use rtc::negotiate::{ReceivePrefs, Section};
use rtc::{Codec, MediaKind, Mid};

use super::Room;
use crate::api::*;
use crate::dynacast::Dynacast;
use crate::ids;
use crate::media::TrackMedia;
use crate::participant::{Participant, ParticipantKey, Target, Topology};
use crate::publication::{PendingTrack, TrackKey, TrackPublication};

/// AddTrack requests of one participant that wait for their media section.
const MAX_PENDING_TRACKS: usize = 20;

/// AddTrack requests that wait for their cid to become free.
const MAX_QUEUED_TRACKS: usize = 3;

impl Room {
    pub(super) fn add_track(&mut self, now: Instant, key: ParticipantKey, request: proto::AddTrackRequest) {
        let Some(participant) = self.participants.get(&key) else { return };
        let refusal = if !participant.may_publish(request.source) {
            Some((Reason::NotAllowed, "does not have permission to publish this source"))
        } else if request.r#type() == TrackType::Data {
            Some((Reason::UnsupportedType, "use a data track request to publish data"))
        } else if participant.pending.len() >= MAX_PENDING_TRACKS
            || participant.published.len() >= self.config.limits.max_tracks_per_participant
        {
            Some((Reason::LimitExceeded, "too many tracks"))
        } else if !request.sid.is_empty() {
            Some((Reason::UnsupportedType, "backup codecs are not available"))
        } else {
            None
        };
        if let Some((reason, message)) = refusal {
            return self.respond(key, 0, reason, message, Some(Request::AddTrack(request)));
        }
        if self.cid_in_use(participant, &request.cid) {
            let Some(participant) = self.participants.get_mut(&key) else { return };
            if participant.queued.len() >= MAX_QUEUED_TRACKS {
                let request = Some(Request::AddTrack(request));
                return self.respond(key, 0, Reason::LimitExceeded, "too many tracks are queued", request);
            }
            participant.queued.push_back(request.clone());
            return self.respond(key, 0, Reason::Queued, "", Some(Request::AddTrack(request)));
        }
        self.announce_track(now, key, &request);
    }

    fn cid_in_use(&self, participant: &Participant, cid: &str) -> bool {
        let published = participant.published.iter().filter_map(|track| self.tracks.get(track));
        participant.pending.iter().any(|pending| pending.cid == cid)
            || published.into_iter().any(|track| track.cid == cid)
    }

    fn announce_track(&mut self, now: Instant, key: ParticipantKey, request: &proto::AddTrackRequest) {
        let sid = ids::track_sid(request.r#type(), request.source(), &mut self.rng);
        let mut pending = PendingTrack::new(request, &sid);
        pending.info.version = Some(proto::TimedVersion { unix_micro: self.clock.unix_micro(now), ticks: 0 });
        self.replace_disabled_codecs(&mut pending.info);
        let response =
            proto::TrackPublishedResponse { cid: request.cid.clone(), track: Some(pending.info.clone()) };
        let Some(participant) = self.participants.get_mut(&key) else { return };
        participant.pending.push(pending);
        self.send(key, Message::TrackPublished(response));
        // The offer may have come first.
        self.match_sections(now, key);
    }

    /// A codec that this deployment does not allow gives way to the first that it does.
    fn replace_disabled_codecs(&self, info: &mut proto::TrackInfo) {
        let kind = crate::publication::track_kind(info);
        let enabled = &self.config.enabled_codecs;
        let allowed = |mime: &str| {
            crate::publication::codec_of_mime(mime).is_some_and(|codec| enabled.contains(&codec))
        };
        let Some(fallback) = enabled.iter().find(|codec| codec.kind() == kind) else { return };
        for codec in &mut info.codecs {
            if !codec.mime_type.is_empty() && !allowed(&codec.mime_type) {
                codec.mime_type = fallback.mime();
            }
        }
        if let Some(first) = info.codecs.first() {
            info.mime_type = first.mime_type.clone();
        }
    }

    /// The client's offer: for publishing, and over a single connection for everything.
    pub(super) fn client_offer(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        offer: proto::SessionDescription,
    ) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        participant.last_offer_id = offer.id;
        if let Err(error) = participant.publisher.peer.accept_offer(now, &offer.sdp) {
            tracing::info!(%error, "offer refused");
            return self.full_reconnect(now, key, DisconnectReason::StateMismatch);
        }
        self.retire_sections(now, key);
        self.match_sections(now, key);
        self.prefer_codecs(key);
        self.bind_into_sections(now, key);
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let sdp = participant.publisher.peer.create_answer(now);
        let mid_to_track_id = participant.publisher.peer.mid_to_track();
        let answer = proto::SessionDescription {
            r#type: "answer".to_owned(),
            sdp,
            id: participant.last_offer_id,
            mid_to_track_id,
        };
        self.send(key, Message::Answer(answer));
        self.wake_transport(now, key, Target::Publisher);
        self.sections_negotiated(now, key);
        self.mirror_changed(now);
    }

    /// Ends the publications whose section no longer sends.
    fn retire_sections(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get(&key) else { return };
        let sends = |mid: Mid| participant.publisher.peer.section(mid).is_some_and(Section::remote_sends);
        let gone: Vec<_> = participant
            .published
            .iter()
            .copied()
            .filter(|track| self.tracks.get(track).is_some_and(|track| !sends(track.mid)))
            .collect();
        for track in gone {
            self.unpublish(now, track, false);
        }
    }

    /// Brings sections that send together with tracks that were announced. Either may come first.
    pub(super) fn match_sections(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let taken: Vec<Mid> = participant
            .published
            .iter()
            .filter_map(|track| self.tracks.get(track))
            .map(|track| track.mid)
            .collect();
        let mut found = Vec::new();
        for section in participant.publisher.peer.sections() {
            if !section.remote_sends() || taken.contains(&section.mid) {
                continue;
            }
            let Some(kind) = section.media_kind() else { continue };
            let (stream, track) = section.remote_msid();
            let pending = &mut participant.pending;
            // The track's own id first; a client that changed it (Firefox, replaceTrack) is matched by kind.
            let by_id = pending.iter().position(|pending| pending.matches(stream, track));
            let index = by_id.or_else(|| pending.iter().position(|pending| pending.kind() == kind));
            let Some(index) = index else { continue };
            let mut pending = pending.remove(index);
            if by_id.is_none() {
                for codec in &mut pending.info.codecs {
                    codec.sdp_cid = track.to_owned();
                }
            }
            found.push((section.mid, kind, section.remote_rids().to_vec(), pending));
        }
        for (mid, kind, rids, pending) in found {
            self.publish(now, key, mid, kind, rids, pending);
        }
    }

    fn publish(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        mid: Mid,
        kind: MediaKind,
        rids: Vec<rtc::Rid>,
        pending: PendingTrack,
    ) {
        let track_key = TrackKey(self.next_key());
        let preferred = pending.preferred_codec().filter(|codec| codec.kind() == kind);
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let offered: Vec<Codec> =
            participant.publisher.peer.section(mid).map(|s| s.remote_codecs().collect()).unwrap_or_default();
        let enabled = &self.config.enabled_codecs;
        let usable = |codec: &&Codec| **codec != Codec::Red && enabled.contains(codec);
        // Without a wish of the client's, what it lists first.
        let Some(codec) = preferred
            .filter(|codec| offered.contains(codec))
            .or_else(|| offered.iter().find(usable).copied())
        else {
            tracing::info!(%mid, "no common codec for a published track");
            return;
        };
        let PendingTrack { cid, mut info } = pending;
        info.mid = mid.to_string();
        info.mime_type = codec.mime();
        if info.codecs.is_empty() {
            info.codecs.push(proto::SimulcastCodecInfo {
                layers: info.layers.clone(),
                cid: cid.clone(),
                ..Default::default()
            });
        }
        if let Some(first) = info.codecs.first_mut() {
            first.mime_type = codec.mime();
            first.mid = mid.to_string();
        }
        for (layer, rid) in info.layers.iter_mut().zip(&rids) {
            layer.rid = rid.to_string();
        }
        let sid = TrackSid::from(info.sid.clone());
        let media = TrackMedia::new(codec, &info, rids.len().max(1));
        participant.published.push(track_key);
        self.by_sid.insert(sid.clone(), track_key);
        self.tracks.insert(
            track_key,
            TrackPublication {
                key: track_key,
                sid,
                publisher: key,
                cid,
                info: info.clone(),
                mid,
                kind,
                codec,
                rids,
                media,
                dynacast: Dynacast::new(now),
                subscriptions: Vec::new(),
                told_subscribed: false,
            },
        );
        self.participant_changed(now, key);
        self.touch_room_counters(now);
        let participant = self.participant_info(&self.participants[&key]);
        self.event(RoomEvent::TrackPublished(participant, info));
        self.reconcile_track(now, track_key);
    }

    /// Says for each section that the client sends on which codec comes first and how it is to be used.
    fn prefer_codecs(&mut self, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let tracks: Vec<&TrackPublication> =
            participant.published.iter().filter_map(|track| self.tracks.get(track)).collect();
        let mids: Vec<Mid> = participant
            .publisher
            .peer
            .sections()
            .iter()
            .filter(|s| s.remote_sends())
            .map(|s| s.mid)
            .collect();
        for mid in mids {
            let track = tracks.iter().find(|track| track.mid == mid);
            let prefs =
                receive_prefs(&self.config.enabled_codecs, track.map(|track| (track.codec, &track.info)));
            participant.publisher.peer.set_receive(mid, prefs);
        }
    }

    /// Ends a publication. `tell_publisher`: the server wants it, not the client.
    pub(super) fn unpublish(&mut self, now: Instant, key: TrackKey, tell_publisher: bool) {
        self.drop_subscriptions_to(now, key);
        let Some(track) = self.tracks.remove(&key) else { return };
        self.by_sid.remove(&track.sid);
        self.speakers.remove(key);
        let publisher = track.publisher;
        let Some(participant) = self.participants.get_mut(&publisher) else { return };
        participant.published.retain(|other| *other != key);
        for owner in participant.streams.iter_mut().flatten().filter(|owner| owner.track == key) {
            owner.retired = Some(now);
        }
        let queued = participant.queued.iter().position(|request| request.cid == track.cid);
        let queued = queued.and_then(|index| participant.queued.remove(index));
        let leaving = participant.state == proto::participant_info::State::Disconnected;
        if tell_publisher {
            let track_sid = track.sid.to_string();
            self.send(publisher, Message::TrackUnpublished(proto::TrackUnpublishedResponse { track_sid }));
        }
        let info = self.participant_info(&self.participants[&publisher]);
        self.event(RoomEvent::TrackUnpublished(info, track.info));
        if leaving {
            return;
        }
        self.participant_changed(now, publisher);
        self.touch_room_counters(now);
        if let Some(request) = queued {
            self.announce_track(now, publisher, &request);
        }
    }

    pub(super) fn client_mute(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        request: &proto::MuteTrackRequest,
    ) {
        if let Some(track) = self.own_track(key, &request.sid) {
            return self.set_muted(now, track, request.muted);
        }
        let Some(participant) = self.participants.get_mut(&key) else { return };
        match participant.pending.iter_mut().find(|pending| pending.info.sid == request.sid) {
            Some(pending) => pending.info.muted = request.muted,
            None => {
                let request = Some(Request::Mute(request.clone()));
                self.respond(key, 0, Reason::NotFound, "track not found", request);
            }
        }
    }

    pub(super) fn set_muted(&mut self, now: Instant, key: TrackKey, muted: bool) {
        let Some(track) = self.tracks.get_mut(&key) else { return };
        if track.info.muted == muted {
            return;
        }
        track.info.muted = muted;
        let publisher = track.publisher;
        self.media_muted(now, key, muted);
        self.participant_changed(now, publisher);
    }

    /// Whether the topology is the single-connection one.
    pub(super) fn is_single(&self, key: ParticipantKey) -> bool {
        self.participants.get(&key).is_some_and(|p| matches!(p.topology, Topology::Single { .. }))
    }
}

/// How a track is to be sent: its codec first, then whatever else is enabled.
fn receive_prefs(enabled: &[Codec], track: Option<(Codec, &proto::TrackInfo)>) -> ReceivePrefs {
    let feature =
        |info: &proto::TrackInfo, feature: AudioTrackFeature| info.audio_features.contains(&(feature as i32));
    #[allow(deprecated)]
    let (first, red, dtx, stereo) = track.map_or((None, true, true, false), |(codec, info)| {
        (
            Some(codec),
            !info.disable_red,
            !(info.disable_dtx || feature(info, AudioTrackFeature::TfNoDtx)),
            info.stereo || feature(info, AudioTrackFeature::TfStereo),
        )
    });
    let mut codecs: Vec<Codec> = Vec::new();
    if red && first.is_none_or(|codec| codec.kind() == MediaKind::Audio) {
        codecs.push(Codec::Red);
    }
    codecs.extend(first);
    codecs.extend(enabled.iter().copied().filter(|codec| Some(*codec) != first && *codec != Codec::Red));
    ReceivePrefs { codecs, opus_dtx: dtx, opus_stereo: stereo }
}
