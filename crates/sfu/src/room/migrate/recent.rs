//! The last reliable packets, with whom they were for: what a receiver lacks when it has moved is sent again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::participant::ParticipantKey;
use crate::snapshot::RecentPacket;

/// Packets are kept for so long: what a receiver's connection may hold back before it is given up. SDKs remember for
/// 30 s what they have got, so that nothing comes twice.
const MAX_AGE: Duration = Duration::from_secs(25);
pub(crate) const MAX_BYTES: usize = 1024 * 1024;
const MAX_PACKETS: usize = 1_024;

/// See the module.
#[derive(Default)]
pub(crate) struct Recent {
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
    pub(crate) fn push(
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
        let (to, packet) = (to.to_vec(), packet.clone());
        self.packets.push_back(RecentData { at: now, from, sequence, to, packet });
        while self.packets.front().is_some_and(|oldest| {
            now.duration_since(oldest.at) > MAX_AGE
                || self.bytes > MAX_BYTES
                || self.packets.len() > MAX_PACKETS
        }) {
            self.bytes -= self.packets.pop_front().map_or(0, |packet| packet.packet.len());
        }
    }

    /// What was for `to`, oldest first, with its numbers.
    pub(super) fn for_receiver(&self, to: ParticipantKey) -> impl Iterator<Item = (u32, &Bytes)> {
        let for_it = self.packets.iter().filter(move |packet| packet.to.contains(&to));
        for_it.map(|packet| (packet.sequence, &packet.packet))
    }

    pub(super) fn export(&self, now: Instant) -> Vec<RecentPacket> {
        let exported = self.packets.iter().map(|packet| RecentPacket {
            age_ms: now.duration_since(packet.at).as_millis() as u64,
            from: packet.from.0,
            sequence: packet.sequence,
            to: packet.to.iter().map(|key| key.0).collect(),
            packet: packet.packet.to_vec(),
        });
        exported.collect()
    }

    pub(super) fn import(packets: Vec<RecentPacket>, now: Instant) -> Recent {
        let mut recent = Recent::default();
        for packet in packets.into_iter().take(MAX_PACKETS) {
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
