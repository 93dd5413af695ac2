//! Moving to another node while the meeting goes on.
//!
//! The order of things: [`Room::export`] here; [`Room::import`] there; when the cluster has agreed,
//! [`Room::release`] here cuts every client's signalling, so that it resumes, which leads it there. Until a client has gone its
//! media flows on here. What clients say meanwhile comes out as [`RoomEvent::Tail`] and is told to the
//! successor with [`Room::tail`]. If nothing comes of it, [`Room::stay`] takes the export back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::Kind;
use proto::participant_info::State;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message;
use rtc::negotiate::SdpError;
use rtc::transport::DtlsIdentity;
use rtc::{Path, Peer, PeerRole};

use super::join::TOKEN_REFRESH;
use super::{Life, Room};
use crate::api::*;
use crate::dynacast::Dynacast;
use crate::media::TrackMedia;
use crate::media::forwarder::Forwarder;
use crate::participant::*;
use crate::publication::{PendingTrack, TrackKey, TrackPublication};
use crate::snapshot::*;
use crate::subscription::{Subscription, WantedTrack};

/// Clients that have not moved by then have lost their network. Usually the bridges to the new node are silent
/// long before, and the room ends with them.
const LINGER: Duration = Duration::from_secs(20);

/// A client that was told to move and does not come is given up after this long: all its tries to connect
/// (livekit.md §1.6) have failed by then.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(20);

/// Answers that wait for a client on its way.
const MAX_HELD: usize = 64;

/// Reliable packets that are kept for receivers who move: what is in flight over a slow path.
const RECENT_AGE: Duration = Duration::from_secs(10);
const MAX_RECENT_BYTES: usize = 1024 * 1024;
const MAX_RECENT: usize = 1_024;

/// A room that another node takes over.
pub(super) struct Moving {
    /// Everybody was told to go; what is left ends at this time.
    until: Option<Instant>,
}

/// The last reliable packets, with whom they were for.
#[derive(Default)]
pub(super) struct Recent {
    packets: VecDeque<RecentData>,
    bytes: usize,
}

struct RecentData {
    at: Instant,
    from: ParticipantKey,
    sequence: u32,
    to: Vec<ParticipantKey>,
    packet: Bytes,
}

impl Recent {
    pub(super) fn push(
        &mut self,
        now: Instant,
        from: ParticipantKey,
        sequence: u32,
        to: &[ParticipantKey],
        packet: &Bytes,
    ) {
        if sequence == 0 {
            // Without a number nobody could tell that it came twice.
            return;
        }
        self.bytes += packet.len();
        self.packets.push_back(RecentData {
            at: now,
            from,
            sequence,
            to: to.to_vec(),
            packet: packet.clone(),
        });
        while self.packets.front().is_some_and(|oldest| {
            now.duration_since(oldest.at) > RECENT_AGE
                || self.bytes > MAX_RECENT_BYTES
                || self.packets.len() > MAX_RECENT
        }) {
            self.bytes -= self.packets.pop_front().map_or(0, |packet| packet.packet.len());
        }
    }

    fn export(&self, now: Instant) -> Vec<RecentPacket> {
        let exported = self.packets.iter().map(|packet| RecentPacket {
            age_ms: now.duration_since(packet.at).as_millis() as u64,
            from: packet.from.0,
            sequence: packet.sequence,
            to: packet.to.iter().map(|key| key.0).collect(),
            packet: packet.packet.to_vec(),
        });
        exported.collect()
    }

    fn import(packets: Vec<RecentPacket>, now: Instant) -> Recent {
        let mut recent = Recent::default();
        for packet in packets.into_iter().take(MAX_RECENT) {
            recent.bytes += packet.packet.len();
            recent.packets.push_back(RecentData {
                at: now.checked_sub(Duration::from_millis(packet.age_ms)).unwrap_or(now),
                from: ParticipantKey(packet.from),
                sequence: packet.sequence,
                to: packet.to.into_iter().map(ParticipantKey).collect(),
                packet: packet.packet.into(),
            });
        }
        recent
    }
}

impl Room {
    /// Everything that another node needs to go on. From now on the room here only forwards media: it admits
    /// nobody and changes nothing.
    pub fn export(&mut self, now: Instant) -> RoomSnapshot {
        self.moving = Some(Moving { until: None });
        for participant in self.participants.values_mut() {
            participant.transports().for_each(|(_, transport)| transport.peer.hand_over());
        }
        self.snapshot(now)
    }

    /// Everything that another node needs.
    pub(super) fn snapshot(&self, now: Instant) -> RoomSnapshot {
        let empty = match self.life {
            Life::Empty { since, departed } => Some((now.duration_since(since).as_millis() as u64, departed)),
            Life::Open | Life::Finished => None,
        };
        RoomSnapshot {
            sid: self.sid.clone(),
            created_ms: self.created_ms,
            options: self.options.clone(),
            sif_trailer: self.sif_trailer.clone(),
            next_key: self.next_key,
            empty,
            participants: self.participants.values().map(export_participant).collect(),
            tracks: self.tracks.values().map(|track| self.export_track(now, track)).collect(),
            recent: self.recent.export(now),
            version: self.describe.version(),
        }
    }

    fn export_track(&self, now: Instant, track: &TrackPublication) -> TrackSnapshot {
        let subscriptions = track.subscriptions.iter().filter_map(|subscription| {
            let subscriber = self.participants.get(&subscription.subscriber)?;
            let peer = match &subscriber.topology {
                Topology::Single { .. } => &subscriber.publisher.peer,
                Topology::Dual { transport, .. } => &transport.peer,
            };
            Some(SubscriptionSnapshot {
                subscriber: subscription.subscriber.0,
                mid: peer.sender_mid(subscription.sender)?,
                forwarder: subscription.forwarder.export(now),
                disabled: subscription.disabled,
                paused: subscription.paused,
                wanted_spatial: subscription.wanted_spatial,
                wanted_temporal: subscription.wanted_temporal,
            })
        });
        TrackSnapshot {
            key: track.key.0,
            sid: track.sid.to_string(),
            publisher: track.publisher.0,
            cid: track.cid.clone(),
            info: track.info.clone(),
            mid: track.mid,
            kind: track.kind,
            codec: track.codec,
            rids: track.rids.clone(),
            told_subscribed: track.told_subscribed,
            subscriptions: subscriptions.collect(),
        }
    }

    /// Another node has the room now: every client loses its socket and resumes, which leads it there. A Leave would
    /// ask for the same, but the Rust SDK takes the two for two faults and connects anew.
    pub fn release(&mut self, now: Instant) {
        let until = now + LINGER;
        self.moving = Some(Moving { until: Some(until) });
        self.timers.schedule(until);
        let mut sessions: Vec<_> = std::mem::take(&mut self.sessions).into_keys().collect();
        sessions.sort_unstable();
        for session in sessions {
            self.output(RoomOutput::Session(session, SessionOutput::Abort));
        }
    }

    /// The move did not come about: the room goes on here.
    pub fn stay(&mut self, now: Instant) {
        if self.moving.take_if(|moving| moving.until.is_none()).is_none() {
            return;
        }
        for participant in self.participants.values_mut() {
            participant.transports().for_each(|(_, transport)| transport.peer.keep());
        }
        self.timers.schedule(now);
    }

    /// All transports, each with the number of its participant and whether it is the second one, on which the
    /// participant receives.
    pub fn moving_transports(&self) -> Vec<(u32, bool, TransportId)> {
        let all = self.transports.iter();
        let mut all: Vec<_> =
            all.map(|(id, (key, target))| (key.0, *target == Target::Subscriber, *id)).collect();
        all.sort_unstable();
        all
    }

    /// How a transport's client is reached.
    pub fn transport_path(&self, transport: TransportId) -> Option<Path> {
        let (key, target) = self.transports.get(&transport)?;
        let participant = self.participants.get(key)?;
        let peer = match (target, &participant.topology) {
            (Target::Subscriber, Topology::Dual { transport, .. }) => &transport.peer,
            _ => &participant.publisher.peer,
        };
        peer.path().copied()
    }

    /// The client of a transport speaks with the room's new node: nothing more is sent to it from here.
    pub fn let_go(&mut self, transport: TransportId) {
        let Some(&(key, target)) = self.transports.get(&transport) else { return };
        if let Some(transport) = self.participants.get_mut(&key).and_then(|p| p.transport(target)) {
            transport.peer.let_go();
        }
    }

    /// Datagrams of a participant come by a way that the cluster vouches for.
    pub fn admit_path(&mut self, now: Instant, participant: u32, subscriber: bool, path: Path) {
        let key = ParticipantKey(participant);
        let target = if subscriber { Target::Subscriber } else { Target::Publisher };
        let Some(transport) = self.participants.get_mut(&key).and_then(|p| p.transport(target)) else {
            return;
        };
        transport.peer.admit_path(path);
        self.after_peer(now, key, target);
    }

    /// Whether another node has taken the room over, or is about to.
    pub fn is_moving(&self) -> bool {
        self.moving.is_some()
    }

    /// Whether another node has taken the room over, and what is here only waits for the last clients to go.
    pub fn has_left(&self) -> bool {
        self.moving.as_ref().is_some_and(|moving| moving.until.is_some())
    }

    /// Ends what is left of a room that has moved, without a word: nobody has left it.
    pub(super) fn check_moving(&mut self, now: Instant) {
        let Some(until) = self.moving.as_ref().and_then(|moving| moving.until) else { return };
        if now >= until {
            self.vanish();
        }
    }

    /// The room ends here and nowhere else: no event, no farewell.
    pub(super) fn vanish(&mut self) {
        let mut transports: Vec<_> = self.transports.keys().copied().collect();
        transports.sort_unstable();
        for transport in transports {
            self.output(RoomOutput::TransportClosed { transport });
        }
        self.life = Life::Finished;
        self.output(RoomOutput::Finished);
    }

    pub(super) fn pass_data(&mut self, from: ParticipantKey, packet: &Bytes) {
        self.event(RoomEvent::Tail(Tail::Data { from: from.0, packet: packet.to_vec() }));
    }

    pub(super) fn pass_signal(&mut self, from: ParticipantKey, request: proto::SignalRequest) {
        // A connection is negotiated anew with the successor; what was said about the old one is void.
        let void = matches!(
            request.message,
            None | Some(
                Ask::Offer(_)
                    | Ask::Answer(_)
                    | Ask::Trickle(_)
                    | Ask::SyncState(_)
                    | Ask::Simulate(_)
                    | Ask::Ping(_)
                    | Ask::PingReq(_)
            )
        );
        if !void {
            self.event(RoomEvent::Tail(Tail::Signal { from: from.0, request: request.encode_to_vec() }));
        }
    }

    /// What a client said to the room's former node after the export.
    pub fn tail(&mut self, now: Instant, tail: Tail) {
        match tail {
            Tail::Data { from, packet } => {
                self.data_packet(now, ParticipantKey(from), &packet.into(), Kind::Reliable);
            }
            Tail::Signal { from, request } => {
                let key = ParticipantKey(from);
                if let Ok(request) = proto::SignalRequest::decode(request.as_slice())
                    && self.participants.contains_key(&key)
                {
                    self.ask(now, key, request);
                }
            }
        }
    }

    /// Goes on where another node stopped. The participants are expected to resume; nothing is announced.
    ///
    /// # Errors
    ///
    /// The snapshot holds a description of a connection that cannot be read.
    #[allow(clippy::too_many_arguments)]
    pub fn import(
        config: Arc<EngineConfig>,
        identity: Arc<DtlsIdentity>,
        name: RoomName,
        snapshot: RoomSnapshot,
        now: Instant,
        wall: SystemTime,
        seed: u64,
    ) -> Result<Room, SdpError> {
        let mut room = Room::silent(config, identity, name, snapshot.options, now, wall, seed);
        room.sid = snapshot.sid;
        room.created_ms = snapshot.created_ms;
        room.sif_trailer = snapshot.sif_trailer;
        room.next_key = snapshot.next_key;
        room.recent = Recent::import(snapshot.recent, now);
        room.describe.continue_from(snapshot.version);
        for participant in snapshot.participants {
            room.import_participant(now, participant)?;
        }
        for track in snapshot.tracks {
            room.import_track(now, track);
        }
        room.life = match snapshot.empty {
            Some((age_ms, departed)) => {
                let since = now.checked_sub(Duration::from_millis(age_ms)).unwrap_or(now);
                Life::Empty { since, departed }
            }
            None => Life::Open,
        };
        room.timers.schedule(now + Duration::from_secs(1));
        Ok(room)
    }

    fn import_participant(&mut self, now: Instant, from: ParticipantSnapshot) -> Result<(), SdpError> {
        let key = ParticipantKey(from.key);
        let config = self.peer_config(PeerRole::Answerer);
        let peer = Peer::import(config, from.publisher.peer, now)?;
        let mut publisher = self.transport_of(key, Target::Publisher, peer);
        publisher.bandwidth_cap_bps = from.publisher.bandwidth_cap_bps;
        let topology = match from.subscriber {
            None => Topology::Single {
                requested_audio: 0,
                requested_video: 0,
                renegotiate: false,
                sections: from.sections,
                asked_at: None,
            },
            Some(subscriber) => {
                let config = self.peer_config(PeerRole::Offerer);
                let peer = Peer::import(config, subscriber.peer, now)?;
                let mut transport = self.transport_of(key, Target::Subscriber, peer);
                transport.bandwidth_cap_bps = subscriber.bandwidth_cap_bps;
                Topology::Dual {
                    transport: Box::new(transport),
                    offer: OfferState::Idle,
                    offer_id: from.offer_id,
                    last_offer_at: None,
                }
            }
        };
        let wanted = from.wanted.into_iter().map(|wanted| {
            let track = WantedTrack {
                subscribe: wanted.subscribe,
                settings: wanted.settings,
                told_allowed: wanted.told_allowed,
                missing_since: None,
            };
            (wanted.sid.into(), track)
        });
        let waiting_data: VecDeque<_> =
            from.waiting_data.into_iter().map(|packet| WaitingData { packet: packet.into() }).collect();
        let participant = Participant {
            key,
            sid: from.sid.into(),
            identity: from.identity.into(),
            name: from.name,
            metadata: from.metadata,
            attributes: from.attributes,
            kind: from.kind.try_into().unwrap_or_default(),
            kind_details: from.kind_details,
            permission: from.permission,
            client: from.client,
            ice_servers: from.ice_servers,
            state: State::try_from(from.state).unwrap_or_default(),
            joined_at: now,
            joined_at_ms: from.joined_at_ms,
            version: from.version,
            signal: Signal::Lost { since: now },
            announced_active: from.announced_active,
            publisher,
            topology,
            last_offer_id: from.last_offer_id,
            auto_subscribe: from.auto_subscribe,
            adaptive_stream: from.adaptive_stream,
            allow_pause: from.allow_pause,
            wanted: wanted.collect(),
            unbound: from.unbound.into_iter().map(TrackKey).collect(),
            bound: Default::default(),
            policy: from.policy.map_or(SubscriptionPolicy::Everyone, SubscriptionPolicy::Listed),
            pending: from.pending.into_iter().map(|(cid, info)| PendingTrack { cid, info }).collect(),
            queued: from.queued.into(),
            published: from.published.into_iter().map(TrackKey).collect(),
            data_sequence: from.data_sequence,
            waiting_data_bytes: waiting_data.iter().map(|waiting| waiting.packet.len()).sum(),
            waiting_data,
            resume_faults: Default::default(),
            next_token_refresh: now + TOKEN_REFRESH,
            streams: Vec::new(),
            arrival: Some(Arrival {
                until: now + ARRIVAL_TIMEOUT,
                held: Vec::new(),
                resumed: false,
                offer_waits: false,
            }),
            settles_until: Some(now + ARRIVAL_TIMEOUT),
            told_quality: Vec::new(),
        };
        self.by_identity.insert(participant.identity.clone(), key);
        self.participants.insert(key, participant);
        Ok(())
    }

    fn import_track(&mut self, now: Instant, from: TrackSnapshot) {
        let key = TrackKey(from.key);
        let mut subscriptions = Vec::new();
        for subscription in from.subscriptions {
            let subscriber = ParticipantKey(subscription.subscriber);
            let Some(participant) = self.participants.get_mut(&subscriber) else { continue };
            let Some(sender) = participant.downlink().peer.sender_on(subscription.mid) else { continue };
            participant.bound.insert(key);
            subscriptions.push(Subscription {
                subscriber,
                sender,
                forwarder: Forwarder::import(from.codec, &subscription.forwarder, now),
                disabled: subscription.disabled,
                paused: subscription.paused,
                wanted_spatial: subscription.wanted_spatial,
                wanted_temporal: subscription.wanted_temporal,
            });
        }
        let sid = TrackSid::from(from.sid);
        self.by_sid.insert(sid.clone(), key);
        let media = TrackMedia::new(from.codec, &from.info, from.rids.len().max(1));
        let publication = TrackPublication {
            key,
            sid,
            publisher: ParticipantKey(from.publisher),
            cid: from.cid,
            info: from.info,
            mid: from.mid,
            kind: from.kind,
            codec: from.codec,
            rids: from.rids,
            media,
            dynacast: Dynacast::new(now),
            subscriptions,
            told_subscribed: from.told_subscribed,
        };
        self.tracks.insert(key, publication);
    }

    /// A message for a participant without a connection: kept when it is on its way here, else lost, as it
    /// always was.
    pub(super) fn hold_for_arrival(&mut self, key: ParticipantKey, message: Message) {
        // The state of room and participants is told to whoever arrives anyway.
        let answers = matches!(
            message,
            Message::TrackPublished(_)
                | Message::TrackUnpublished(_)
                | Message::RequestResponse(_)
                | Message::Mute(_)
                | Message::SubscriptionResponse(_)
        );
        let arrival = self.participants.get_mut(&key).and_then(|participant| participant.arrival.as_mut());
        if let Some(arrival) = arrival.filter(|arrival| answers && arrival.held.len() < MAX_HELD) {
            arrival.held.push(message);
        }
    }

    /// A participant has resumed; if it came from another node it gets what waited for it.
    pub(super) fn arrived(&mut self, key: ParticipantKey) {
        let Some(arrival) = self.participants.get_mut(&key).and_then(|p| p.arrival.as_mut()) else { return };
        arrival.resumed = true;
        for message in std::mem::take(&mut arrival.held) {
            self.send(key, message);
        }
    }

    /// A participant from another node has said which reliable packets it has: it gets the others.
    pub(super) fn replay_data(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        states: &[proto::DataChannelReceiveState],
    ) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        if participant.arrival.take().is_none() {
            return;
        }
        let mut missing = Vec::new();
        for recent in self.recent.packets.iter().filter(|recent| recent.to.contains(&key)) {
            let Some(sender) = self.participants.get(&recent.from) else { continue };
            let has = states.iter().find(|state| state.publisher_sid == sender.sid.as_str());
            if has.is_none_or(|state| state.last_seq < recent.sequence) {
                missing.push(recent.packet.clone());
            }
        }
        for packet in missing {
            self.deliver(now, key, &packet, Kind::Reliable, None);
        }
    }
}

fn export_participant(participant: &Participant) -> ParticipantSnapshot {
    let (subscriber, sections, offer_id) = match &participant.topology {
        Topology::Single { sections, .. } => (None, *sections, 0),
        Topology::Dual { transport, offer_id, .. } => (Some(export_transport(transport)), [0; 2], *offer_id),
    };
    let wanted = participant.wanted.iter().map(|(sid, wanted)| WantedSnapshot {
        sid: sid.to_string(),
        subscribe: wanted.subscribe,
        settings: wanted.settings,
        told_allowed: wanted.told_allowed,
    });
    // What has a number is replayed to those who lack it; the rest goes along as it waits.
    let unnumbered =
        |packet: &Bytes| proto::DataPacket::decode(packet.clone()).is_ok_and(|decoded| decoded.sequence == 0);
    let waiting = participant.waiting_data.iter().filter(|waiting| unnumbered(&waiting.packet));
    ParticipantSnapshot {
        key: participant.key.0,
        sid: participant.sid.to_string(),
        identity: participant.identity.to_string(),
        name: participant.name.clone(),
        metadata: participant.metadata.clone(),
        attributes: participant.attributes.clone(),
        kind: participant.kind as i32,
        kind_details: participant.kind_details.clone(),
        permission: participant.permission.clone(),
        client: participant.client.clone(),
        ice_servers: participant.ice_servers.clone(),
        state: participant.state as i32,
        joined_at_ms: participant.joined_at_ms,
        version: participant.version,
        announced_active: participant.announced_active,
        publisher: export_transport(&participant.publisher),
        subscriber,
        sections,
        offer_id,
        last_offer_id: participant.last_offer_id,
        auto_subscribe: participant.auto_subscribe,
        adaptive_stream: participant.adaptive_stream,
        allow_pause: participant.allow_pause,
        wanted: wanted.collect(),
        unbound: participant.unbound.iter().map(|track| track.0).collect(),
        policy: match &participant.policy {
            SubscriptionPolicy::Everyone => None,
            SubscriptionPolicy::Listed(listed) => Some(listed.clone()),
        },
        pending: participant.pending.iter().map(|track| (track.cid.clone(), track.info.clone())).collect(),
        queued: participant.queued.iter().cloned().collect(),
        published: participant.published.iter().map(|track| track.0).collect(),
        data_sequence: participant.data_sequence,
        waiting_data: waiting.map(|waiting| waiting.packet.to_vec()).collect(),
    }
}

fn export_transport(transport: &Transport) -> TransportSnapshot {
    TransportSnapshot { peer: transport.peer.export(), bandwidth_cap_bps: transport.bandwidth_cap_bps }
}
