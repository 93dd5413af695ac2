//! A room from a snapshot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use livekit_protocol::participant_info::State;
use rtc::negotiate::SdpError;
use rtc::transport::DtlsIdentity;
use rtc::{Peer, PeerRole};

use super::arrival::{ARRIVAL_TIMEOUT, Dormant};
use super::recent::Recent;
use crate::api::*;
use crate::dynacast::Dynacast;
use crate::media::TrackMedia;
use crate::media::forwarder::Forwarder;
use crate::participant::*;
use crate::publication::{PendingTrack, TrackKey, TrackPublication};
use crate::room::join::TOKEN_REFRESH;
use crate::room::restore::Expected;
use crate::room::updates::Departed;
use crate::room::{Life, Room};
use crate::snapshot::*;
use crate::subscription::{Subscription, WantedTrack};

impl Room {
    /// Goes on where another node stopped. The participants are expected to resume; nothing is announced, and nothing
    /// told to the outside before [`Room::activate`]. No client may have seen the certificate of `identity` last: see
    /// [`RoomSnapshot::knows`].
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
        let dormant = Dormant::new(now);
        room.timers.schedule(dormant.until);
        room.dormant = Some(dormant);
        room.sid = snapshot.sid;
        room.created_ms = snapshot.created_ms;
        room.sif_trailer = snapshot.sif_trailer;
        room.next_key = snapshot.next_key;
        room.recent = Recent::import(snapshot.recent, now);
        room.departed = Departed::import(snapshot.departed, now);
        room.expected = Expected::import(snapshot.expected, snapshot.expected_ms, now);
        for participant in snapshot.participants {
            room.import_participant(now, participant)?;
        }
        for track in snapshot.tracks {
            room.import_track(now, track);
        }
        let speaking = snapshot.speaking.into_iter().map(|(track, level)| (TrackKey(track), level));
        room.speakers.import(now, speaking.filter(|(track, _)| room.tracks.contains_key(track)));
        room.life = match snapshot.empty {
            Some((age_ms, departed)) => Life::Empty { since: before(now, age_ms), departed },
            None => Life::Open,
        };
        room.timers.schedule(now + Duration::from_secs(1));
        Ok(room)
    }

    fn import_participant(&mut self, now: Instant, from: ParticipantSnapshot) -> Result<(), SdpError> {
        let key = ParticipantKey(from.key);
        let publisher = self.import_transport(now, key, Target::Publisher, from.publisher)?;
        let topology = match from.subscriber {
            None => Topology::Single {
                requested_audio: 0,
                requested_video: 0,
                renegotiate: false,
                sections: from.sections,
                asked_at: None,
            },
            Some(subscriber) => Topology::Dual {
                transport: Box::new(self.import_transport(now, key, Target::Subscriber, subscriber)?),
                offer: OfferState::Idle,
                offer_id: from.offer_id,
                last_offer_at: None,
            },
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
        let pending = from.pending.into_iter();
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
            pending: pending.map(|PendingSnapshot(cid, info)| PendingTrack { cid, info }).collect(),
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
                synced: false,
                connected: false,
            }),
            told_quality: Vec::new(),
        };
        self.by_identity.insert(participant.identity.clone(), key);
        self.participants.insert(key, participant);
        Ok(())
    }

    fn import_transport(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        target: Target,
        from: TransportSnapshot,
    ) -> Result<Transport, SdpError> {
        let config = self.peer_config(match target {
            Target::Publisher => PeerRole::Answerer,
            Target::Subscriber => PeerRole::Offerer,
        });
        let peer = Peer::import(config, from.peer, now)?;
        let mut transport = self.transport_of(key, target, peer);
        transport.bandwidth_cap_bps = from.bandwidth_cap_bps;
        Ok(transport)
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
}

/// So many milliseconds before `now`, as far as the clock reaches back.
pub(in crate::room) fn before(now: Instant, ms: u64) -> Instant {
    now.checked_sub(Duration::from_millis(ms)).unwrap_or(now)
}
