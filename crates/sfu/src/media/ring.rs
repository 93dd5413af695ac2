//! The packets of one received stream, stored once: forwarding and retransmission to all subscribers read
//! from here. Payloads lie in one arena that is written round; nothing is allocated per packet.

use rtc::ExtSeq;
use rtc::codec::MediaInfo;
use rtc::codec::vp8::Vp8Descriptor;
use rtc::ext::{AbsCaptureTime, PlayoutDelay};

/// What is known of a stored packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    /// The payload is redundant audio.
    pub(crate) red: bool,
    pub(crate) info: MediaInfo,
    pub(crate) vp8: Option<Vp8Descriptor>,
    pub(crate) abs_capture_time: Option<AbsCaptureTime>,
    pub(crate) playout_delay: Option<PlayoutDelay>,
}

#[derive(Clone, Copy)]
struct Entry {
    seq: ExtSeq,
    /// Position in the endless arena; the low bits are the place in the real one.
    at: u64,
    payload_len: u16,
    dd_len: u16,
    /// `None` is padding: it took a number and carries nothing.
    stored: Option<Stored>,
}

/// See the module.
pub(crate) struct PacketRing {
    entries: Vec<Option<Entry>>,
    arena: Box<[u8]>,
    head: u64,
}

/// A packet as it lies in the ring.
pub(crate) struct Packet<'a> {
    pub(crate) stored: &'a Stored,
    pub(crate) payload: &'a [u8],
    /// Dependency descriptor, empty when there is none.
    pub(crate) dd: &'a [u8],
}

/// What a sequence number stands for.
pub(crate) enum Slot<'a> {
    Packet(Packet<'a>),
    Padding,
}

impl PacketRing {
    /// Two seconds of 4 Mbit/s.
    pub(crate) fn video() -> PacketRing {
        PacketRing::new(1024, 1 << 20)
    }

    /// Five seconds of 20 ms frames.
    pub(crate) fn audio() -> PacketRing {
        PacketRing::new(256, 1 << 16)
    }

    /// `packets` and `bytes` are powers of two.
    fn new(packets: usize, bytes: usize) -> PacketRing {
        PacketRing { entries: vec![None; packets], arena: vec![0; bytes].into_boxed_slice(), head: 0 }
    }

    pub(crate) fn insert(&mut self, seq: ExtSeq, stored: Stored, payload: &[u8], dd: &[u8]) {
        let len = payload.len() + dd.len();
        if len > self.arena.len() / 4 {
            return;
        }
        // A packet never wraps: what is left at the end is skipped.
        let place = self.head as usize & (self.arena.len() - 1);
        if place + len > self.arena.len() {
            self.head += (self.arena.len() - place) as u64;
        }
        let at = self.head;
        let place = at as usize & (self.arena.len() - 1);
        self.arena[place..place + payload.len()].copy_from_slice(payload);
        self.arena[place + payload.len()..place + len].copy_from_slice(dd);
        self.head += len as u64;
        let entry = Entry {
            seq,
            at,
            payload_len: payload.len() as u16,
            dd_len: dd.len() as u16,
            stored: Some(stored),
        };
        self.put(entry);
    }

    pub(crate) fn insert_padding(&mut self, seq: ExtSeq, _timestamp: u32) {
        self.put(Entry { seq, at: self.head, payload_len: 0, dd_len: 0, stored: None });
    }

    fn put(&mut self, entry: Entry) {
        let index = entry.seq.0 as usize & (self.entries.len() - 1);
        self.entries[index] = Some(entry);
    }

    /// The packet with this number, unless it never came or was overwritten since.
    pub(crate) fn get(&self, seq: ExtSeq) -> Option<Slot<'_>> {
        let entry = self.entries[seq.0 as usize & (self.entries.len() - 1)].as_ref()?;
        if entry.seq != seq {
            return None;
        }
        let Some(stored) = &entry.stored else { return Some(Slot::Padding) };
        if self.head - entry.at > self.arena.len() as u64 {
            return None;
        }
        let place = entry.at as usize & (self.arena.len() - 1);
        let (payload_len, dd_len) = (usize::from(entry.payload_len), usize::from(entry.dd_len));
        let payload = &self.arena[place..place + payload_len];
        let dd = &self.arena[place + payload_len..place + payload_len + dd_len];
        Some(Slot::Packet(Packet { stored, payload, dd }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(timestamp: u32) -> Stored {
        Stored {
            timestamp,
            marker: false,
            red: false,
            info: MediaInfo::default(),
            vp8: None,
            abs_capture_time: None,
            playout_delay: None,
        }
    }

    #[test]
    fn an_overwritten_packet_is_gone_and_never_another_ones_bytes() {
        let mut ring = PacketRing::new(8, 4096);
        for seq in 0..100_u64 {
            ring.insert(ExtSeq(seq), stored(seq as u32), &[seq as u8; 900], &[]);
            for old in 0..=seq {
                if let Some(Slot::Packet(packet)) = ring.get(ExtSeq(old)) {
                    assert!(packet.payload.iter().all(|byte| *byte == old as u8));
                    assert_eq!(packet.stored.timestamp, old as u32);
                }
            }
            assert!(matches!(ring.get(ExtSeq(seq)), Some(Slot::Packet(_))));
        }
        assert!(ring.get(ExtSeq(0)).is_none());
    }
}
