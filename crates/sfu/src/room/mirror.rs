//! After a node's death, at its best: the room goes on elsewhere from its mirror.
//!
//! A mirror is the room's [`RoomSnapshot`], told whenever it changes and kept by another node. It knows how each
//! connection was negotiated, so clients only resume: they keep their ids, their tracks stay attached, and no
//! observer is told of anything. What it cannot know is which packets the clients have got since, so all streams
//! begin anew under other SSRCs. Without a mirror, or with one older than the last description, the room is
//! restored from that, and its clients join anew: see `restore`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use livekit_protocol as proto;
use rtc::negotiate::SdpError;
use rtc::transport::DtlsIdentity;

use super::Room;
use crate::api::*;
use crate::participant::{Participant, ParticipantKey, Topology};
use crate::snapshot::{ForwarderSnapshot, RoomSnapshot};

/// Rooms whose connections have more sections than this are not mirrored: taking the mirror would hold up their media.
/// A hundred who see a hundred.
pub(super) const MAX_MIRRORED_SECTIONS: usize = 10_000;

/// A mirror is told this much less often for each section, because it grows with them.
pub(super) const MIRROR_INTERVAL_EACH: Duration = Duration::from_micros(500);

impl Room {
    /// Goes on from the mirror of a room whose node has died.
    ///
    /// # Errors
    ///
    /// The mirror holds a description of a connection that cannot be read.
    pub fn revive(
        config: Arc<EngineConfig>,
        identity: Arc<DtlsIdentity>,
        name: RoomName,
        mut mirror: RoomSnapshot,
        now: Instant,
        wall: SystemTime,
        seed: u64,
    ) -> Result<Room, SdpError> {
        let mut rng = fastrand::Rng::with_seed(seed);
        for participant in &mut mirror.participants {
            participant.publisher.peer.renew_streams(&mut rng);
            if let Some(subscriber) = &mut participant.subscriber {
                subscriber.peer.renew_streams(&mut rng);
            }
        }
        for subscription in mirror.tracks.iter_mut().flat_map(|track| &mut track.subscriptions) {
            subscription.forwarder = ForwarderSnapshot {
                seq: rng.u16(..),
                timestamp: rng.u32(..),
                idle_ms: None,
                source: None,
                ..subscription.forwarder
            };
        }
        let mut room = Room::import(config, identity, name, mirror, now, wall, rng.u64(..))?;
        for participant in room.participants.values_mut() {
            if let Some(arrival) = &mut participant.arrival {
                arrival.offer_waits = true;
            }
        }
        Ok(room)
    }

    /// All sections of all connections.
    pub(super) fn sections(&self) -> usize {
        self.participants.values().map(sections_of).sum()
    }

    /// Whether a participant may resume here rather than join anew.
    pub fn knows(&self, identity: &Identity) -> bool {
        self.moving.is_none() && self.by_identity.contains_key(identity)
    }

    /// Whether a participant is first to say what it knows of its connection.
    pub(super) fn offer_waits(&self, key: ParticipantKey) -> bool {
        let arrival = self.participants.get(&key).and_then(|participant| participant.arrival.as_ref());
        arrival.is_some_and(|arrival| arrival.offer_waits)
    }

    /// Whether a resuming client was told of more sections than this room knows of: its former node died before
    /// it could mirror the last. Only where we offer; where the client does, its next offer shows them.
    pub(super) fn knows_too_few_sections(&self, key: ParticipantKey, state: &proto::SyncState) -> bool {
        let Some(participant) = self.participants.get(&key) else { return false };
        let Topology::Dual { transport, .. } = &participant.topology else { return false };
        let described = |sdp: &str| sdp.lines().filter(|line| line.starts_with("m=")).count();
        let told = state.answer.as_ref().map_or(0, |answer| described(&answer.sdp));
        told > transport.peer.sections().len()
    }
}

fn sections_of(participant: &Participant) -> usize {
    let second = match &participant.topology {
        Topology::Dual { transport, .. } => transport.peer.sections().len(),
        Topology::Single { .. } => 0,
    };
    participant.publisher.peer.sections().len() + second
}
