//! Media in the room: from a publisher's datagram into the track's ring, from there to each subscription, and
//! the feedback back (livekit.md §5).

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::participant_info::State;
use proto::signal_response::Message;
use rtc::{Egress, ExtSeq, MediaKind, MediaPacket, Path, PeerEvent, SenderKey, StreamKey};

use super::Room;
use super::migrate::Handshake;
use crate::api::*;
use crate::media::forwarder::{Forwarder, Target as LayerTarget};
use crate::participant::{Participant, ParticipantKey, StreamOwner, Target};
use crate::publication::{TrackKey, TrackPublication};

/// Connection quality is told this often.
const QUALITY_INTERVAL: Duration = Duration::from_secs(5);

/// Assumed for retransmissions until measured.
const DEFAULT_RTT: Duration = Duration::from_millis(70);

/// Packets of a track that ended may arrive for so long.
const RETIREMENT: Duration = Duration::from_secs(2);

/// Share of the estimate that video may fill; the rest is for audio, data and repair.
const USABLE_PERCENT: u64 = 95;

/// Bits per second that a simulcast or SVC layer is taken for until it is measured, by spatial layer.
const ASSUMED_BPS: [u64; 3] = [150_000, 500_000, 1_700_000];

impl Room {
    pub(super) fn datagram(
        &mut self,
        now: Instant,
        transport: TransportId,
        path: &Path,
        datagram: &mut [u8],
        out: &mut dyn Egress,
    ) {
        let Some(&(key, target)) = self.transports.get(&transport) else { return };
        let Some(entry) = self.participants.get_mut(&key).and_then(|p| p.transport(target)) else { return };
        let media = entry.peer.handle_datagram(now, path, datagram, out);
        match media {
            Some(packet) => {
                self.media_packet(now, key, &packet, datagram);
                // Only timers can have come of it; events come with RTCP, STUN and DTLS.
                self.requeue_transport(now, key, target);
            }
            None => self.after_peer(now, key, target),
        }
    }

    fn media_packet(&mut self, now: Instant, key: ParticipantKey, packet: &MediaPacket, datagram: &[u8]) {
        let Some((track_key, layer)) = self.track_of(now, key, packet.stream) else { return };
        let Some(track) = self.tracks.get_mut(&track_key) else { return };
        if let Some(level) = packet.ext.audio_level
            && !track.info.muted
            && track.source() == proto::TrackSource::Microphone
        {
            self.speakers.observe(now, track_key, level.level_dbov);
        }
        let was_idle = track.media.fresh.is_empty();
        if track.media.store(now, layer, packet, datagram) && was_idle {
            self.dirty.push(track_key);
        }
    }

    /// Which track and layer a received stream is.
    fn track_of(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        stream: StreamKey,
    ) -> Option<(TrackKey, usize)> {
        let participant = self.participants.get_mut(&key)?;
        match participant.streams.get(usize::from(stream.0)).copied().flatten() {
            Some(StreamOwner { track, layer, retired: None }) => return Some((track, layer)),
            Some(StreamOwner { retired: Some(at), .. }) if now < at + RETIREMENT => return None,
            _ => {}
        }
        let info = participant.publisher.peer.stream(stream)?;
        let track = participant
            .published
            .iter()
            .filter_map(|key| self.tracks.get(key))
            .find(|track| track.mid == info.mid)?;
        let (track, layer) = (track.key, track.layer_of(info.rid));
        let index = usize::from(stream.0);
        if participant.streams.len() <= index {
            participant.streams.resize(index + 1, None);
        }
        participant.streams[index] = Some(StreamOwner { track, layer, retired: None });
        Some((track, layer))
    }

    /// Forwards what this receive batch brought, subscription by subscription.
    pub(super) fn forward_collected(&mut self, now: Instant, out: &mut dyn Egress) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            self.forward_track(now, key, out);
        }
        self.dirty = dirty;
        self.serve_transports(now, out);
    }

    fn forward_track(&mut self, now: Instant, key: TrackKey, out: &mut dyn Egress) {
        let Some(track) = self.tracks.get_mut(&key) else { return };
        let TrackPublication { media, subscriptions, info, .. } = track;
        if info.muted {
            media.fresh.clear();
            return;
        }
        let mut wanted = [false; 3];
        for subscription in subscriptions.iter_mut() {
            let Some(participant) = self.participants.get_mut(&subscription.subscriber) else { continue };
            let peer = &mut participant.downlink().peer;
            if !peer.is_connected() || !peer.is_settled(subscription.sender) {
                continue;
            }
            let red = peer.takes_red(subscription.sender);
            let (sender, forwarder) = (subscription.sender, &mut subscription.forwarder);
            let mut forward = |forwarder: &mut Forwarder, layer: u8, seq: ExtSeq| {
                let Some(mut packet) = forwarder.forward(now, media, layer, seq) else { return };
                if packet.red && !red {
                    packet.body = primary(packet.body);
                    packet.red = false;
                }
                peer.send_media(now, sender, &packet, out);
            };
            for fresh in &media.fresh {
                forward(forwarder, fresh.layer, fresh.seq);
                if forwarder.take_began() {
                    let later = media.layers[usize::from(fresh.layer)].after(fresh.seq);
                    let here =
                        |seq: ExtSeq| media.fresh.iter().any(|f| f.layer == fresh.layer && f.seq == seq);
                    later.filter(|seq| !here(*seq)).for_each(|seq| forward(forwarder, fresh.layer, seq));
                }
            }
            if let Some(layer) = subscription.forwarder.wants_keyframe(now, media) {
                wanted[layer] = true;
            }
        }
        media.fresh.clear();
        for (layer, wanted) in wanted.into_iter().enumerate() {
            if wanted {
                media.want_keyframe(layer);
            }
        }
        self.ask_keyframes(now, key);
    }

    fn ask_keyframes(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(&key) else { return };
        let publisher = track.publisher;
        let streams: Vec<StreamKey> = track.media.take_keyframe_requests(now).collect();
        if streams.is_empty() {
            return;
        }
        let Some(participant) = self.participants.get_mut(&publisher) else { return };
        for stream in streams {
            participant.publisher.peer.request_keyframe(stream);
        }
        self.wake_transport(now, publisher, Target::Publisher);
    }

    /// Takes a peer's events and its new timers.
    pub(super) fn after_peer(&mut self, now: Instant, key: ParticipantKey, target: Target) {
        while let Some(event) = self
            .participants
            .get_mut(&key)
            .and_then(|p| p.transport(target))
            .and_then(|t| t.peer.poll_event())
        {
            self.peer_event(now, key, target, event);
        }
        self.requeue_transport(now, key, target);
    }

    fn peer_event(&mut self, now: Instant, key: ParticipantKey, target: Target, event: PeerEvent) {
        let Some(transport) = self.participants.get_mut(&key).and_then(|p| p.transport(target)) else {
            return;
        };
        let id = transport.id;
        match event {
            PeerEvent::PathValidated(path) => self.output(RoomOutput::PathValidated { transport: id, path }),
            PeerEvent::UfragChanged(ufrag) => {
                self.output(RoomOutput::TransportOpened { transport: id, ufrag })
            }
            PeerEvent::Connected => {
                transport.connected = true;
                if !self.handshake_ended(key, target, Handshake::Done) {
                    self.transport_connected(now, key, target);
                }
            }
            PeerEvent::IceDisconnected => transport.lost_since = Some(now),
            PeerEvent::IceReconnected => transport.lost_since = None,
            PeerEvent::DtlsFailed => {
                if !self.handshake_ended(key, target, Handshake::Failed) {
                    self.full_reconnect(now, key, proto::DisconnectReason::MediaFailure);
                }
            }
            PeerEvent::ChannelOpened(channel, config) => {
                self.channel_opened(now, key, target, channel, &config);
            }
            PeerEvent::ChannelMessage(channel, message) => {
                self.channel_message(now, key, target, channel, &message);
            }
            PeerEvent::ChannelClosed(channel) => self.channel_closed(key, target, channel),
            PeerEvent::KeyframeWanted(sender) => self.keyframe_wanted(now, key, sender),
            PeerEvent::Nack(sender, seqs) => self.nacked.push((key, sender, seqs)),
            PeerEvent::StreamBroken(stream) => {
                if let Some((track, layer)) = self.track_of(now, key, stream) {
                    if let Some(track) = self.tracks.get_mut(&track)
                        && track.kind == MediaKind::Video
                    {
                        track.media.want_keyframe(layer);
                    }
                    self.ask_keyframes(now, track);
                }
            }
            PeerEvent::SenderReport { stream, ntp, rtp_time } => {
                if let Some((track, layer)) = self.track_of(now, key, stream) {
                    self.reports.push((track, layer, ntp, rtp_time));
                }
            }
            PeerEvent::BandwidthEstimate(_) => self.allocate(now, key),
        }
    }

    pub(super) fn transport_connected(&mut self, now: Instant, key: ParticipantKey, target: Target) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let primary = if participant.subscriber_primary() { Target::Subscriber } else { Target::Publisher };
        if target == primary {
            self.set_state(now, key, State::Active);
            self.settled(key);
            self.reconcile_subscriber(now, key);
        }
        self.start_bound(now, key);
    }

    /// What RTCP brought and what needs an [`Egress`] to answer: retransmissions and clocks.
    pub(super) fn serve_feedback(&mut self, now: Instant, out: &mut dyn Egress) {
        for (key, sender, seqs) in std::mem::take(&mut self.nacked) {
            self.retransmit(now, key, sender, &seqs, out);
        }
        for (track, layer, ntp, rtp_time) in std::mem::take(&mut self.reports) {
            self.forward_clock(now, track, layer, ntp, rtp_time, out);
        }
    }

    fn retransmit(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        sender: SenderKey,
        seqs: &[u16],
        out: &mut dyn Egress,
    ) {
        let Some((track_key, index)) = self.subscription_of(key, sender) else { return };
        let Some(track) = self.tracks.get_mut(&track_key) else { return };
        let TrackPublication { media, subscriptions, .. } = track;
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let peer = &mut participant.downlink().peer;
        let rtt = peer.rtt().unwrap_or(DEFAULT_RTT);
        let red = peer.takes_red(sender);
        for seq in seqs {
            if let Some(mut packet) = subscriptions[index].forwarder.resend(now, media, *seq, rtt) {
                if packet.red && !red {
                    packet.body = primary(packet.body);
                    packet.red = false;
                }
                peer.resend_media(now, sender, &packet, out);
            }
        }
    }

    fn forward_clock(
        &mut self,
        now: Instant,
        key: TrackKey,
        layer: usize,
        ntp: u64,
        rtp_time: u32,
        out: &mut dyn Egress,
    ) {
        let Some(track) = self.tracks.get_mut(&key) else { return };
        if let Some(layer) = track.media.layers.get_mut(layer) {
            layer.clock = Some((ntp, rtp_time));
        }
        for subscription in &track.subscriptions {
            let Some(translated) = subscription.forwarder.translate_clock(layer as u8, rtp_time) else {
                continue;
            };
            if let Some(participant) = self.participants.get_mut(&subscription.subscriber) {
                let peer = &mut participant.downlink().peer;
                peer.send_sender_report(now, subscription.sender, ntp, translated, out);
            }
        }
    }

    /// The track and the index of the subscription that a sender serves.
    fn subscription_of(&self, key: ParticipantKey, sender: SenderKey) -> Option<(TrackKey, usize)> {
        let participant = self.participants.get(&key)?;
        participant.bound.iter().find_map(|track_key| {
            let track = self.tracks.get(track_key)?;
            let index =
                track.subscriptions.iter().position(|sub| sub.subscriber == key && sub.sender == sender)?;
            Some((*track_key, index))
        })
    }

    fn keyframe_wanted(&mut self, now: Instant, key: ParticipantKey, sender: SenderKey) {
        let Some((track_key, index)) = self.subscription_of(key, sender) else { return };
        let Some(track) = self.tracks.get_mut(&track_key) else { return };
        let svc = track.media.svc;
        let current = track.subscriptions[index].forwarder.current_spatial(svc);
        let wanted = track.subscriptions[index].forwarder.wants_keyframe(now, &track.media);
        let layer = wanted.unwrap_or(if svc { 0 } else { usize::from(current.unwrap_or(0)) });
        track.media.want_keyframe(layer);
        self.ask_keyframes(now, track_key);
    }

    // Which layers.

    /// Takes over what a subscriber has set for a track.
    pub(super) fn apply_settings(&mut self, now: Instant, key: ParticipantKey, track_key: TrackKey) {
        let Some(participant) = self.participants.get(&key) else { return };
        let Some(track) = self.tracks.get(&track_key) else { return };
        let settings = participant.wanted.get(&track.sid).and_then(|wanted| wanted.settings);
        let (disabled, spatial, temporal) = match settings {
            // An adaptive client says soon what it needs; until then little is enough.
            None if participant.adaptive_stream => (false, 0, crate::media::MAX_TEMPORAL),
            None => (false, track.max_spatial(), crate::media::MAX_TEMPORAL),
            Some(settings) => {
                let spatial = if settings.width_px > 0 && settings.height_px > 0 {
                    track.spatial_for_size(settings.width_px, settings.height_px)
                } else {
                    track.spatial_for_quality(settings.quality)
                };
                let temporal = match settings.fps {
                    1..=7 => 0,
                    8..=15 => 1,
                    _ => crate::media::MAX_TEMPORAL,
                };
                (settings.disabled, spatial, temporal)
            }
        };
        let Some(track) = self.tracks.get_mut(&track_key) else { return };
        if let Some(subscription) = track.subscriptions.iter_mut().find(|sub| sub.subscriber == key) {
            subscription.disabled = disabled;
            subscription.wanted_spatial = spatial;
            subscription.wanted_temporal = temporal;
        }
        self.allocate(now, key);
        self.subscriptions_changed(now, track_key);
    }

    /// Shares a subscriber's bandwidth among its video tracks: each gets its lowest layer first, screen shares
    /// before cameras, then all are raised in turn as far as wish and estimate allow.
    pub(super) fn allocate(&mut self, now: Instant, key: ParticipantKey) {
        if self.moving.is_some() {
            // The room's next node goes on with what is forwarded now.
            return;
        }
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let allow_pause = participant.allow_pause;
        let bound: Vec<TrackKey> = participant.bound.iter().copied().collect();
        let downlink = participant.downlink();
        let estimate = downlink.peer.estimate_bps().min(downlink.bandwidth_cap_bps.unwrap_or(u64::MAX));
        let mut left = estimate * USABLE_PERCENT / 100;

        struct Share {
            track: TrackKey,
            index: usize,
            screen: bool,
            wanted: u8,
            granted: Option<u8>,
            costs: [u64; 3],
        }
        let mut shares = Vec::new();
        for track_key in bound {
            let Some(track) = self.tracks.get(&track_key) else { continue };
            let Some(index) = track.subscriptions.iter().position(|sub| sub.subscriber == key) else {
                continue;
            };
            let subscription = &track.subscriptions[index];
            let off = subscription.disabled || track.info.muted;
            if track.kind == MediaKind::Audio || off {
                let target = (!subscription.disabled).then_some(LayerTarget { spatial: 0, temporal: 0 });
                if let Some(track) = self.tracks.get_mut(&track_key) {
                    track.subscriptions[index].forwarder.set_target(target);
                }
                continue;
            }
            let wanted = subscription.wanted_spatial.min(track.max_spatial());
            let screen = track.source() == proto::TrackSource::ScreenShare;
            let costs = layer_costs(now, track);
            shares.push(Share { track: track_key, index, screen, wanted, granted: None, costs });
        }
        shares.sort_by_key(|share| (!share.screen, share.track));
        let mut needed = 0;
        for share in &mut shares {
            needed += share.costs[usize::from(share.wanted)];
            let cost = share.costs[0];
            if cost <= left || !allow_pause {
                share.granted = Some(0);
                left = left.saturating_sub(cost);
            }
        }
        for spatial in 1..3_u8 {
            for share in &mut shares {
                let step =
                    share.costs[usize::from(spatial)].saturating_sub(share.costs[usize::from(spatial) - 1]);
                if share.granted == Some(spatial - 1) && share.wanted >= spatial && step <= left {
                    share.granted = Some(spatial);
                    left -= step;
                }
            }
        }
        let content = shares.iter().all(|share| share.granted == Some(share.wanted));
        let mut states = Vec::new();
        for share in shares {
            let Some(track) = self.tracks.get_mut(&share.track) else { continue };
            let publisher = track.publisher;
            let subscription = &mut track.subscriptions[share.index];
            let temporal = subscription.wanted_temporal;
            subscription.forwarder.set_target(share.granted.map(|spatial| LayerTarget { spatial, temporal }));
            let paused = share.granted.is_none();
            if paused != subscription.paused {
                subscription.paused = paused;
                states.push((publisher, track.sid.clone(), paused));
            }
            if let Some(layer) = subscription.forwarder.wants_keyframe(now, &track.media) {
                track.media.want_keyframe(layer);
                self.ask_keyframes(now, share.track);
            }
        }
        self.tell_stream_states(key, states);
        if let Some(participant) = self.participants.get_mut(&key) {
            let needed = (!content).then_some(needed * 100 / USABLE_PERCENT);
            participant.downlink().peer.set_needed_bps(now, needed);
            let target = match participant.topology {
                crate::participant::Topology::Single { .. } => Target::Publisher,
                crate::participant::Topology::Dual { .. } => Target::Subscriber,
            };
            self.requeue_transport(now, key, target);
        }
    }

    fn tell_stream_states(&mut self, key: ParticipantKey, states: Vec<(ParticipantKey, TrackSid, bool)>) {
        use proto::StreamState;
        let info = |(publisher, sid, paused): (ParticipantKey, TrackSid, bool)| {
            let state = if paused { StreamState::Paused } else { StreamState::Active };
            stream_state(self.participants.get(&publisher)?, &sid, state as i32)
        };
        let stream_states: Vec<proto::StreamStateInfo> = states.into_iter().filter_map(info).collect();
        if !stream_states.is_empty() {
            self.send(key, Message::StreamStateUpdate(proto::StreamStateUpdate { stream_states }));
        }
    }

    /// To a client that resumes: what it may have missed of which layers are wanted, what is paused and who speaks.
    pub(super) fn tell_media_state(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get(&key) else { return };
        let published = participant.published.clone();
        let mut states = Vec::new();
        let mut speakers = Vec::new();
        let heard = participant.bound.iter().chain(&published).filter_map(|track| self.tracks.get(track));
        for track in heard {
            let Some(publisher) = self.participants.get(&track.publisher) else { continue };
            if track.kind == MediaKind::Audio {
                let level = self.speakers.level(track.key);
                let sid = publisher.sid.to_string();
                speakers.push(proto::SpeakerInfo { sid, level, active: level > 0.0 });
            } else if let Some(subscription) = track.subscriptions.iter().find(|sub| sub.subscriber == key)
                && participant.allow_pause
            {
                states.push((track.publisher, track.sid.clone(), subscription.paused));
            }
        }
        self.tell_stream_states(key, states);
        if !speakers.is_empty() {
            self.send(key, Message::SpeakersChanged(proto::SpeakersChanged { speakers }));
        }
        for track in published {
            if let Some(track) = self.tracks.get_mut(&track) {
                track.dynacast.force();
            }
            self.poll_dynacast(now, track);
        }
    }

    /// A subscription came, went or changed: its key frame and the publisher's layers follow.
    pub(super) fn subscriptions_changed(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(&key) else { return };
        let TrackPublication { media, subscriptions, .. } = track;
        let wanted: Vec<usize> =
            subscriptions.iter().filter_map(|sub| sub.forwarder.wants_keyframe(now, media)).collect();
        wanted.into_iter().for_each(|layer| media.want_keyframe(layer));
        self.ask_keyframes(now, key);
        self.poll_dynacast(now, key);
    }

    fn poll_dynacast(&mut self, now: Instant, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(&key) else { return };
        if track.info.muted || track.kind == MediaKind::Audio {
            return;
        }
        let wanted =
            track.subscriptions.iter().filter(|sub| !sub.disabled).map(|sub| sub.wanted_spatial).max();
        let Some(wanted) = track.dynacast.poll(now, wanted, self.config.dynacast_pause_delay) else { return };
        let qualities: Vec<proto::SubscribedQuality> = (0..3_u8)
            .map(|spatial| {
                let quality =
                    [proto::VideoQuality::Low, proto::VideoQuality::Medium, proto::VideoQuality::High];
                // A track with fewer layers has its best under the name of the highest quality.
                let at = track.spatial_for_quality(i32::from(spatial));
                let enabled = wanted.is_some_and(|wanted| at <= wanted);
                proto::SubscribedQuality { quality: quality[usize::from(spatial)] as i32, enabled }
            })
            .collect();
        let codec = track.codec.name().to_ascii_lowercase();
        let subscribed_codecs = vec![proto::SubscribedCodec { codec, qualities: qualities.clone() }];
        #[allow(deprecated)]
        let update = proto::SubscribedQualityUpdate {
            track_sid: track.sid.to_string(),
            subscribed_qualities: qualities,
            subscribed_codecs,
        };
        let publisher = track.publisher;
        self.send(publisher, Message::SubscribedQualityUpdate(update));
    }

    /// The publisher has muted or unmuted a track.
    pub(super) fn media_muted(&mut self, now: Instant, key: TrackKey, muted: bool) {
        let Some(track) = self.tracks.get_mut(&key) else { return };
        if muted {
            self.speakers.remove(key);
            for subscription in &mut track.subscriptions {
                // What follows begins with a key frame.
                if track.kind == MediaKind::Video {
                    subscription.forwarder.set_target(None);
                }
            }
        } else {
            track.dynacast.force();
        }
        let subscribers: Vec<_> = track.subscriptions.iter().map(|sub| sub.subscriber).collect();
        for subscriber in subscribers {
            self.allocate(now, subscriber);
        }
        self.subscriptions_changed(now, key);
    }

    // Ticks.

    pub(super) fn tick_media(&mut self, now: Instant) {
        self.tell_speakers(now);
        let tracks: Vec<_> = self
            .tracks
            .values()
            .filter(|track| track.kind == MediaKind::Video)
            .map(|track| track.key)
            .collect();
        for track in tracks {
            self.subscriptions_changed(now, track);
        }
        if now >= self.next_quality {
            self.next_quality = now + QUALITY_INTERVAL;
            self.tell_quality();
            let keys: Vec<_> = self.participants.keys().copied().collect();
            for key in keys {
                self.allocate(now, key);
            }
        }
    }

    fn tell_speakers(&mut self, now: Instant) {
        let changes = self.speakers.poll(now);
        if changes.is_empty() {
            return;
        }
        let mut infos = Vec::new();
        for change in changes {
            // A track that has gone was announced to have stopped by its departure.
            let Some(track) = self.tracks.get(&change.key) else { continue };
            let Some(speaker) = self.participants.get(&track.publisher) else { continue };
            let info = proto::SpeakerInfo {
                sid: speaker.sid.to_string(),
                level: change.level,
                active: change.level > 0.0,
            };
            infos.push((speaker.key, change.key, info));
        }
        let receivers: Vec<_> = self.participants.values().map(|p| (p.key, p.bound.clone())).collect();
        for (key, bound) in receivers {
            let heard = infos.iter().filter(|(speaker, track, _)| *speaker == key || bound.contains(track));
            let speakers: Vec<_> = heard.map(|(_, _, info)| info.clone()).collect();
            if !speakers.is_empty() {
                self.send(key, Message::SpeakersChanged(proto::SpeakersChanged { speakers }));
            }
        }
    }

    pub(super) fn simulate_speaker(&mut self, now: Instant, key: ParticipantKey, until: Instant) {
        let Some(participant) = self.participants.get(&key) else { return };
        let mut audio = participant
            .published
            .iter()
            .filter(|track| self.tracks.get(track).is_some_and(|track| track.kind == MediaKind::Audio));
        if let Some(track) = audio.next() {
            self.speakers.force(now, *track, until);
        }
    }

    /// Scores every participant's connections and tells those whose set changed.
    fn tell_quality(&mut self) {
        let scores: Vec<_> = self
            .participants
            .values()
            .filter(|participant| participant.state == State::Active && participant.arrival.is_none())
            .map(|participant| (participant.key, crate::quality::score(participant)))
            .collect();
        let infos: Vec<_> = scores
            .iter()
            .filter_map(|(key, (quality, score))| {
                let participant = self.participants.get(key)?;
                let info = proto::ConnectionQualityInfo {
                    participant_sid: participant.sid.to_string(),
                    quality: *quality,
                    score: *score,
                };
                Some((*key, info))
            })
            .collect();
        let receivers: Vec<_> = self.participants.keys().copied().collect();
        for receiver in receivers {
            let Some(participant) = self.participants.get(&receiver) else { continue };
            let followed: Vec<_> = participant
                .bound
                .iter()
                .filter_map(|track| self.tracks.get(track))
                .map(|track| track.publisher)
                .collect();
            let seen = infos.iter().filter(|(key, _)| *key == receiver || followed.contains(key));
            let updates: Vec<_> = seen.map(|(_, info)| info.clone()).collect();
            if !updates.is_empty() && self.participants[&receiver].told_quality != updates {
                if let Some(participant) = self.participants.get_mut(&receiver) {
                    participant.told_quality = updates.clone();
                }
                self.send(receiver, Message::ConnectionQuality(proto::ConnectionQualityUpdate { updates }));
            }
        }
    }
}

/// What each spatial layer costs, in bit/s: measured where it flows, assumed where it does not yet.
fn layer_costs(now: Instant, track: &TrackPublication) -> [u64; 3] {
    let mut costs = [0; 3];
    let announced = |index: usize| {
        let layer = track.info.layers.get(index);
        layer.map(|layer| u64::from(layer.bitrate)).filter(|bps| *bps > 0)
    };
    for (index, cost) in costs.iter_mut().enumerate() {
        let measured = if track.media.svc { 0 } else { track.media.bitrate_bps(now, index) };
        *cost = if measured > 0 { measured } else { announced(index).unwrap_or(ASSUMED_BPS[index]) };
    }
    costs
}

/// The newest frame of redundant audio.
fn primary(red: &[u8]) -> &[u8] {
    let parsed = rtc::codec::red::Red::parse(red);
    parsed.ok().and_then(|parsed| red.get(parsed.primary().range())).unwrap_or_default()
}

fn stream_state(publisher: &Participant, sid: &TrackSid, state: i32) -> Option<proto::StreamStateInfo> {
    Some(proto::StreamStateInfo {
        participant_sid: publisher.sid.to_string(),
        track_sid: sid.to_string(),
        state,
    })
}
