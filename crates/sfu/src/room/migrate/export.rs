//! A room as a snapshot.

use std::time::Instant;

use bytes::Bytes;
use livekit_protocol as proto;
use prost::Message as _;

use crate::participant::*;
use crate::publication::TrackPublication;
use crate::room::{Life, Room};
use crate::snapshot::*;

impl Room {
    pub(super) fn snapshot(&self, now: Instant) -> RoomSnapshot {
        let empty = match self.life {
            Life::Empty { since, departed } => Some((now.duration_since(since).as_millis() as u64, departed)),
            Life::Open | Life::Finished => None,
        };
        let (expected, expected_ms) = self.expected.export(now);
        RoomSnapshot {
            sid: self.sid.clone(),
            created_ms: self.created_ms,
            options: self.options.clone(),
            sif_trailer: self.sif_trailer.clone(),
            next_key: self.next_key,
            empty,
            participants: self.participants.values().map(participant).collect(),
            tracks: self.tracks.values().map(|publication| self.track(now, publication)).collect(),
            recent: self.recent.export(now),
            departed: self.departed.export(now),
            speaking: self.speakers.told().map(|(track, level)| (track.0, level)).collect(),
            expected,
            expected_ms,
        }
    }

    fn track(&self, now: Instant, track: &TrackPublication) -> TrackSnapshot {
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
}

fn participant(participant: &Participant) -> ParticipantSnapshot {
    let (subscriber, sections, offer_id) = match &participant.topology {
        Topology::Single { sections, .. } => (None, *sections, 0),
        Topology::Dual { transport: second, offer_id, .. } => (Some(transport(second)), [0; 2], *offer_id),
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
    let pending = participant.pending.iter();
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
        publisher: transport(&participant.publisher),
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
        pending: pending.map(|track| PendingSnapshot(track.cid.clone(), track.info.clone())).collect(),
        queued: participant.queued.iter().cloned().collect(),
        published: participant.published.iter().map(|track| track.0).collect(),
        data_sequence: participant.data_sequence,
        waiting_data: waiting.map(|waiting| waiting.packet.to_vec()).collect(),
    }
}

fn transport(transport: &Transport) -> TransportSnapshot {
    TransportSnapshot { peer: transport.peer.export(), bandwidth_cap_bps: transport.bandwidth_cap_bps }
}
