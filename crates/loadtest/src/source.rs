//! Synthetic media: packets of the size and rhythm of a call's, which subscribers can tell apart by publisher.

use std::time::{Duration, Instant};

use rtc::{Egress, ExtSeq, MediaKind, OutPacket, Peer, SenderKey};

/// Opus frames and pictures come this often.
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
const VIDEO_INTERVAL: Duration = Duration::from_millis(40);

/// 32 kbit/s of Opus; 3 packets of 900 bytes 25 times a second are about 540 kbit/s of VP8.
const AUDIO_BYTES: usize = 80;
const VIDEO_BYTES: usize = 900;
const VIDEO_PACKETS: usize = 3;

/// Stands before the publisher's number.
const MAGIC: [u8; 4] = *b"load";

/// One published track.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) kind: MediaKind,
    pub(crate) sender: SenderKey,
    publisher: u32,
    due: Instant,
    seq: ExtSeq,
    timestamp: u32,
    picture: u16,
    wants_key: bool,
}

impl Source {
    pub(crate) fn new(
        now: Instant,
        kind: MediaKind,
        sender: SenderKey,
        publisher: u32,
        rng: &mut fastrand::Rng,
    ) -> Source {
        Source {
            kind,
            sender,
            publisher,
            // Not all publishers in the same millisecond.
            due: now + AUDIO_INTERVAL.mul_f64(rng.f64()),
            seq: ExtSeq(rng.u64(1..0x7000)),
            timestamp: rng.u32(..),
            picture: rng.u16(..0x7FFF),
            wants_key: true,
        }
    }

    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    pub(crate) fn key_wanted(&mut self) {
        self.wants_key = true;
    }

    /// Sends what is due. After a pause (a machine too busy) it goes on from now, as a camera does.
    pub(crate) fn send(&mut self, now: Instant, peer: &mut Peer, out: &mut dyn Egress) {
        if now < self.due {
            return;
        }
        let (interval, ticks) = match self.kind {
            MediaKind::Audio => (AUDIO_INTERVAL, 960),
            MediaKind::Video => (VIDEO_INTERVAL, 3_600),
        };
        self.due = (self.due + interval).max(now);
        self.timestamp = self.timestamp.wrapping_add(ticks);
        match self.kind {
            MediaKind::Audio => self.packet(now, peer, out, true, &[0x78], AUDIO_BYTES),
            MediaKind::Video => {
                let key = std::mem::take(&mut self.wants_key);
                self.picture = (self.picture + 1) & 0x7FFF;
                for n in 0..VIDEO_PACKETS {
                    let head = vp8_head(self.picture, n == 0, key);
                    self.packet(now, peer, out, n + 1 == VIDEO_PACKETS, &head, VIDEO_BYTES);
                }
            }
        }
    }

    fn packet(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        out: &mut dyn Egress,
        last: bool,
        head: &[u8],
        bytes: usize,
    ) {
        self.seq.0 += 1;
        let mut body = vec![0; bytes];
        body[..4].copy_from_slice(&MAGIC);
        body[4..8].copy_from_slice(&self.publisher.to_be_bytes());
        let packet = OutPacket {
            seq: self.seq,
            timestamp: self.timestamp,
            marker: last && self.kind == MediaKind::Video,
            red: false,
            head,
            body: &body,
            dependency_descriptor: None,
            abs_capture_time: None,
            playout_delay: None,
        };
        peer.send_media(now, self.sender, &packet, out);
    }
}

/// A VP8 payload descriptor (RFC 7741 §4.2) with picture id, and the frame's head where one begins.
fn vp8_head(picture: u16, first: bool, key: bool) -> Vec<u8> {
    let mut head = vec![0x80 | u8::from(first) << 4, 0x80];
    head.extend((0x8000 | picture).to_be_bytes());
    if first {
        head.push(u8::from(!key));
        if key {
            head.extend([0, 0, 0x9D, 0x01, 0x2A, 0x40, 0x01, 0xB4, 0x00]);
        }
    }
    head
}

/// Whose packet this is.
pub(crate) fn publisher_of(payload: &[u8]) -> Option<u32> {
    let at = payload
        .iter()
        .take(32)
        .collect::<Vec<_>>()
        .windows(4)
        .position(|four| four.iter().copied().eq(&MAGIC))?;
    Some(u32::from_be_bytes(payload.get(at + 4..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publisher_is_known_by_its_packets() {
        let mut payload = vp8_head(7, true, true);
        payload.extend(MAGIC);
        payload.extend(9_u32.to_be_bytes());
        assert_eq!(publisher_of(&payload), Some(9));
        assert_eq!(publisher_of(&payload[..10]), None);
        assert_eq!(publisher_of(b"load\0\0"), None);
    }
}
