//! A published track's media: what came of each layer, kept once for all subscribers.

pub(crate) mod forwarder;
pub(crate) mod ring;

use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use rtc::codec::dd::{DependencyDescriptor, Structure};
use rtc::codec::{Descriptor, MediaInfo, PayloadInfo, red};
use rtc::{Codec, ExtSeq, MediaKind, MediaPacket, StreamKey};

use crate::publication::MAX_SPATIAL_LAYERS;
use ring::{PacketRing, Stored};

/// Highest temporal layer that is told apart.
pub(crate) const MAX_TEMPORAL: u8 = 3;

/// A layer without packets for so long is gone; a screen share may rest longer than a camera.
const LAYER_TIMEOUT: Duration = Duration::from_millis(1_500);
const SCREEN_LAYER_TIMEOUT: Duration = Duration::from_secs(5);

/// A layer belongs to the stream that sends it until that has been silent for so long: late packets of a track
/// that ended must not pass for the next one's, nor keep it away for long.
const STREAM_TIMEOUT: Duration = Duration::from_millis(300);

/// Bitrates are measured over this window.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Key frames are asked for at most this often, by layer: a low one is cheap (livekit.md §5.1).
const KEYFRAME_INTERVAL: [Duration; MAX_SPATIAL_LAYERS] =
    [Duration::from_millis(500), Duration::from_millis(1_000), Duration::from_millis(1_000)];

/// A request that was answered may be followed by another one so soon, …
const KEYFRAME_PAUSE: Duration = Duration::from_millis(100);
/// … and so many times, before the above holds again: whoever connects right after a key frame would wait for long.
const KEYFRAME_BURST: u8 = 3;

/// When a publisher was asked for key frames of a layer.
#[derive(Default)]
struct KeyframeRequests {
    wanted: bool,
    asked: Option<Instant>,
    /// A key frame has come since.
    answered: bool,
    /// Asked sooner than [`KEYFRAME_INTERVAL`] after the one before, in a row.
    hurried: u8,
}

impl KeyframeRequests {
    fn came(&mut self) {
        self.wanted = false;
        self.answered = true;
    }

    /// Whether to ask now.
    fn take(&mut self, now: Instant, interval: Duration) -> bool {
        let since = self.asked.map(|at| now.duration_since(at));
        let rested = since.is_none_or(|since| since >= interval);
        let hurries = self.answered
            && self.hurried < KEYFRAME_BURST
            && since.is_some_and(|since| since >= KEYFRAME_PAUSE);
        if !self.wanted || !(rested || hurries) {
            return false;
        }
        self.hurried = if rested { 0 } else { self.hurried + 1 };
        (self.asked, self.answered) = (Some(now), false);
        true
    }
}

/// One encoding of a track as it arrives.
pub(crate) struct Layer {
    /// The publisher's stream; `None` until its first packet.
    pub(crate) stream: Option<StreamKey>,
    pub(crate) ring: PacketRing,
    /// Counts the numberings that the layer has had: another stream, or one that began anew.
    pub(crate) numbering: u32,
    last_packet: Option<Instant>,
    /// The newest packet's number and RTP time.
    newest: Option<(ExtSeq, u32)>,
    /// The publisher's clock: this RTP time was at this NTP time.
    pub(crate) clock: Option<(u64, u32)>,
    rate: Rate,
    keyframes: KeyframeRequests,
    /// Dependency structure in force (AV1, VP9 with the extension).
    structure: Option<Arc<Structure>>,
}

/// A packet of this batch, to be forwarded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh {
    pub(crate) layer: u8,
    pub(crate) seq: ExtSeq,
}

/// All media of a track.
pub(crate) struct TrackMedia {
    pub(crate) layers: Vec<Layer>,
    pub(crate) fresh: Vec<Fresh>,
    /// Several spatial layers within the one stream.
    pub(crate) svc: bool,
    timeout: Duration,
}

impl TrackMedia {
    pub(crate) fn new(codec: Codec, info: &proto::TrackInfo, streams: usize) -> TrackMedia {
        let video = codec.kind() == MediaKind::Video;
        let screen = info.source() == proto::TrackSource::ScreenShare;
        let layer = || Layer {
            stream: None,
            ring: if video { PacketRing::video() } else { PacketRing::audio() },
            numbering: 0,
            last_packet: None,
            newest: None,
            clock: None,
            rate: Rate::default(),
            keyframes: KeyframeRequests::default(),
            structure: None,
        };
        TrackMedia {
            layers: (0..streams.clamp(1, MAX_SPATIAL_LAYERS)).map(|_| layer()).collect(),
            fresh: Vec::new(),
            svc: streams <= 1 && matches!(codec, Codec::Vp9 | Codec::Av1),
            timeout: if screen { SCREEN_LAYER_TIMEOUT } else { LAYER_TIMEOUT },
        }
    }

    /// Stores a packet. Returns false for packets that carry nothing to forward.
    pub(crate) fn store(
        &mut self,
        now: Instant,
        layer: usize,
        packet: &MediaPacket,
        datagram: &[u8],
    ) -> bool {
        let Some(target) = self.layers.get_mut(layer) else { return false };
        let other = target.stream.is_some_and(|stream| stream != packet.stream);
        if other && target.last_packet.is_some_and(|last| now.duration_since(last) < STREAM_TIMEOUT) {
            return false;
        }
        if other || packet.restarted {
            target.numbering += 1;
            target.newest = None;
            target.clock = None;
            target.structure = None;
        }
        target.stream = Some(packet.stream);
        let payload = &datagram[packet.payload.clone()];
        let descriptor = packet.ext.dependency_descriptor().and_then(|range| datagram.get(range));
        if payload.is_empty() {
            target.ring.insert_padding(packet.seq, packet.timestamp);
        } else {
            target.last_packet = Some(now);
            target.rate.add(now, payload.len());
            let Some(stored) = target.describe(packet, payload, descriptor) else { return false };
            if stored.info.keyframe {
                target.keyframes.came();
            }
            target.ring.insert(packet.seq, stored, payload, descriptor.unwrap_or_default());
            if target.newest.is_none_or(|(newest, _)| newest < packet.seq) {
                target.newest = Some((packet.seq, packet.timestamp));
            }
        }
        self.fresh.push(Fresh { layer: layer as u8, seq: packet.seq });
        true
    }

    /// Whether a layer has sent lately.
    pub(crate) fn is_live(&self, now: Instant, layer: usize) -> bool {
        let last = self.layers.get(layer).and_then(|layer| layer.last_packet);
        last.is_some_and(|last| now.duration_since(last) < self.timeout)
    }

    /// The best layer at or under `wanted` that sends, else the lowest that does.
    pub(crate) fn best_layer(&self, now: Instant, wanted: usize) -> Option<usize> {
        let live = |layer: &usize| self.is_live(now, *layer);
        (0..=wanted.min(self.layers.len() - 1)).rev().find(live).or_else(|| (0..self.layers.len()).find(live))
    }

    /// Bits per second of one encoding as measured lately.
    pub(crate) fn bitrate_bps(&self, now: Instant, layer: usize) -> u64 {
        self.layers.get(layer).map_or(0, |layer| layer.rate.bps(now))
    }

    /// Notes that somebody waits for a key frame of a layer.
    pub(crate) fn want_keyframe(&mut self, layer: usize) {
        if let Some(layer) = self.layers.get_mut(layer) {
            layer.keyframes.wanted = true;
        }
    }

    /// The streams to ask for a key frame now: wanted, alive and not asked too recently.
    pub(crate) fn take_keyframe_requests(&mut self, now: Instant) -> impl Iterator<Item = StreamKey> + '_ {
        self.layers.iter_mut().enumerate().filter_map(move |(index, layer)| {
            let stream = layer.stream?;
            layer.keyframes.take(now, KEYFRAME_INTERVAL[index]).then_some(stream)
        })
    }
}

impl Layer {
    /// What the packet means; `None` when its payload is not of its codec.
    fn describe(&mut self, packet: &MediaPacket, payload: &[u8], dd: Option<&[u8]>) -> Option<Stored> {
        let mut info = match PayloadInfo::parse(packet.codec, payload, packet.marker) {
            Ok(info) => info,
            Err(error) => {
                tracing::trace!(%error, "payload not understood");
                return None;
            }
        };
        if packet.codec == Codec::Red {
            red::Red::parse(payload).ok()?;
        }
        if let Some(dd) = dd {
            let parsed = DependencyDescriptor::parse(dd, self.structure.as_ref());
            if let Ok(parsed) = parsed {
                info.media = MediaInfo { size: info.media.size, ..parsed.media_info() };
                if parsed.attached_structure.is_some() {
                    self.structure = parsed.attached_structure;
                }
            }
        }
        Some(Stored {
            timestamp: packet.timestamp,
            marker: packet.marker,
            red: packet.codec == Codec::Red,
            info: info.media,
            vp8: match info.descriptor {
                Descriptor::Vp8(vp8) => Some(vp8),
                _ => None,
            },
            abs_capture_time: packet.ext.abs_capture_time,
            playout_delay: packet.ext.playout_delay,
        })
    }

    /// Whether packets of a later frame have come already.
    pub(crate) fn has_passed(&self, timestamp: u32) -> bool {
        self.newest.is_some_and(|(_, newest)| (newest.wrapping_sub(timestamp) as i32) > 0)
    }

    /// Numbers after `seq` that may have come already.
    pub(crate) fn after(&self, seq: ExtSeq) -> impl Iterator<Item = ExtSeq> {
        let newest = self.newest.map_or(seq, |(newest, _)| newest);
        (seq.0 + 1..=newest.0).map(ExtSeq)
    }

    /// The dependency structure in force.
    pub(crate) fn structure(&self) -> Option<&Arc<Structure>> {
        self.structure.as_ref()
    }
}

/// Bytes over a sliding second, in two halves.
#[derive(Default)]
struct Rate {
    began: Option<Instant>,
    bytes: usize,
    last_bps: u64,
}

impl Rate {
    fn add(&mut self, now: Instant, bytes: usize) {
        let began = *self.began.get_or_insert(now);
        let elapsed = now.duration_since(began);
        if elapsed >= RATE_WINDOW {
            self.last_bps = (self.bytes as f64 * 8.0 / elapsed.as_secs_f64()) as u64;
            self.began = Some(now);
            self.bytes = 0;
        }
        self.bytes += bytes;
    }

    fn bps(&self, now: Instant) -> u64 {
        let Some(began) = self.began else { return 0 };
        let elapsed = now.duration_since(began);
        if elapsed >= 3 * RATE_WINDOW {
            return 0;
        }
        if self.last_bps == 0 && elapsed > Duration::from_millis(200) {
            return (self.bytes as f64 * 8.0 / elapsed.as_secs_f64()) as u64;
        }
        self.last_bps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(500);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_key_frame_that_does_not_come_is_asked_for_once_an_interval() {
        let (now, mut requests) = (Instant::now(), KeyframeRequests::default());
        assert!(!requests.take(now, INTERVAL), "nobody wants one");
        requests.wanted = true;
        let asked = (0..2_000).step_by(20).filter(|at| requests.take(now + ms(*at), INTERVAL));
        assert_eq!(asked.collect::<Vec<_>>(), [0, 500, 1_000, 1_500]);
    }

    /// Who connected just after a key frame saw nothing for half a second.
    #[test]
    fn whoever_comes_right_after_a_key_frame_gets_another_one_soon_but_not_without_end() {
        let (now, mut requests) = (Instant::now(), KeyframeRequests::default());
        let mut asked = Vec::new();
        for at in (0..2_000).step_by(20) {
            requests.wanted = true;
            if requests.take(now + ms(at), INTERVAL) {
                asked.push(at);
                requests.came();
            }
        }
        assert_eq!(asked, [0, 100, 200, 300, 800, 900, 1_000, 1_100, 1_600, 1_700, 1_800, 1_900]);
    }
}
