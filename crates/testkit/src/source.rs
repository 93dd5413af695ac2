//! Media with known content: what a simulated publisher sends, and how a subscriber recognises it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::{Egress, ExtSeq, MediaKind, OutPacket, Peer, SenderKey};

/// Packets kept to answer NACKs.
const HISTORY: usize = 400;

/// Audio frames and video frames come this often.
pub const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
pub const VIDEO_INTERVAL: Duration = Duration::from_millis(40);

/// Head of every simulated payload after the codec's own: who made it.
const MAGIC: [u8; 4] = *b"SALA";

#[derive(Clone)]
struct Kept {
    seq: ExtSeq,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

/// One encoding of a simulated track.
pub struct Encoding {
    pub sender: SenderKey,
    seq: ExtSeq,
    timestamp: u32,
    picture_id: u16,
    tl0: u8,
    key_idx: u8,
    needs_key: bool,
    /// Number of the layer; a frame has one packet more than that.
    layer: u8,
    /// Somebody watches it.
    active: bool,
    history: VecDeque<Kept>,
}

impl Encoding {
    pub fn new(sender: SenderKey, layer: usize, rng: &mut fastrand::Rng) -> Encoding {
        Encoding {
            sender,
            seq: ExtSeq(rng.u64(1..0x7000)),
            timestamp: rng.u32(..),
            picture_id: rng.u16(..0x7FFF),
            tl0: rng.u8(..),
            key_idx: rng.u8(..32),
            needs_key: true,
            layer: layer as u8,
            active: true,
            history: VecDeque::new(),
        }
    }

    /// The next frame begins anew.
    pub fn request_key(&mut self) {
        self.needs_key = true;
    }

    /// Whether the encoding is sent; when it comes back it begins anew.
    pub fn set_active(&mut self, active: bool) {
        self.needs_key |= active && !self.active;
        self.active = active;
    }

    /// Sends one frame.
    pub fn send_frame(
        &mut self,
        now: Instant,
        kind: MediaKind,
        publisher: u32,
        frame: u32,
        peer: &mut Peer,
        out: &mut dyn Egress,
    ) {
        let ticks = match kind {
            MediaKind::Audio => 960,
            MediaKind::Video => 3_600,
        };
        if !self.active {
            self.timestamp = self.timestamp.wrapping_add(ticks);
            return;
        }
        let key = kind == MediaKind::Video && std::mem::take(&mut self.needs_key);
        let packets = if kind == MediaKind::Audio { 1 } else { 1 + usize::from(self.layer) };
        let stamp = Stamp { publisher, layer: self.layer, frame };
        if kind == MediaKind::Video {
            self.picture_id = (self.picture_id + 1) & 0x7FFF;
            if key {
                self.key_idx = (self.key_idx + 1) & 31;
            }
        }
        let temporal = if key { 0 } else { (frame % 2) as u8 };
        if kind == MediaKind::Video && temporal == 0 {
            self.tl0 = self.tl0.wrapping_add(1);
        }
        for index in 0..packets {
            self.seq.0 += 1;
            let payload = match kind {
                MediaKind::Audio => stamp.put(vec![0x78], 60),
                MediaKind::Video => stamp.put(self.vp8_head(index == 0, key, temporal), 700),
            };
            let kept = Kept {
                seq: self.seq,
                timestamp: self.timestamp,
                marker: kind == MediaKind::Video && index + 1 == packets,
                payload,
            };
            peer.send_media(now, self.sender, &packet(&kept), out);
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(kept);
        }
        self.timestamp = self.timestamp.wrapping_add(ticks);
    }

    /// Sends again what the server lacks.
    pub fn resend(&mut self, now: Instant, seqs: &[u16], peer: &mut Peer, out: &mut dyn Egress) {
        for kept in self.history.iter().filter(|kept| seqs.contains(&kept.seq.wire())) {
            peer.resend_media(now, self.sender, &packet(kept), out);
        }
    }

    fn vp8_head(&self, first: bool, key: bool, temporal: u8) -> Vec<u8> {
        let mut head = vec![0x80 | if first { 0x10 } else { 0 }, 0xF0];
        head.extend((0x8000 | self.picture_id).to_be_bytes());
        head.push(self.tl0);
        head.push(temporal << 6 | if temporal > 0 { 0x20 } else { 0 } | self.key_idx);
        if first {
            head.push(u8::from(!key));
            if key {
                head.extend([0, 0, 0x9D, 0x01, 0x2A, 0x40, 0x01, 0xB4, 0x00]);
            }
        }
        head
    }
}

fn packet(kept: &Kept) -> OutPacket<'_> {
    OutPacket {
        seq: kept.seq,
        timestamp: kept.timestamp,
        marker: kept.marker,
        red: false,
        head: &[],
        body: &kept.payload,
        dependency_descriptor: None,
        abs_capture_time: None,
        playout_delay: None,
    }
}

/// Where a simulated payload comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    pub publisher: u32,
    pub layer: u8,
    pub frame: u32,
}

impl Stamp {
    fn put(self, mut payload: Vec<u8>, len: usize) -> Vec<u8> {
        payload.extend(MAGIC);
        payload.extend((u32::from(self.layer) << 24 | self.publisher).to_be_bytes());
        payload.extend(self.frame.to_be_bytes());
        payload.resize(payload.len() + len, self.frame as u8);
        payload
    }
}

/// What a simulated payload says of itself; `None` if it is not one or was damaged.
pub fn recognise(payload: &[u8]) -> Option<Stamp> {
    let at = payload.windows(4).position(|window| window == MAGIC)?;
    let word = |at: usize| Some(u32::from_be_bytes(payload.get(at..at + 4)?.try_into().ok()?));
    let (origin, frame) = (word(at + 4)?, word(at + 8)?);
    let stamp = Stamp { publisher: origin & 0xFF_FFFF, layer: (origin >> 24) as u8, frame };
    payload[at + 12..].iter().all(|byte| *byte == frame as u8).then_some(stamp)
}
