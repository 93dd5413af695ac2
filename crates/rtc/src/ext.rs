//! What the header extension elements mean: the kinds that Sala knows, the ids that a peer negotiated for
//! them, and their values.
//!
//! An [`ExtMap`] is built from SDP once per media section (or transport) and then answers in both
//! directions with one array look-up. [`ExtMap::read`] turns a packet's elements into [`ExtValues`] at
//! ingress; the functions in [`value`] encode elements at egress. Malformed elements read as absent: one
//! bad hint must not cost a media packet.

use std::ops::Range;

use crate::rtp::{ONE_BYTE_MAX_ID, RtpHeader};
use crate::{Mid, Rid};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $uri:literal,)*) => {
        /// The header extensions that Sala negotiates.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum ExtKind {
            $($(#[$doc])* $kind,)*
        }

        impl ExtKind {
            /// All kinds, in declaration order.
            pub const ALL: [ExtKind; KIND_COUNT] = [$(ExtKind::$kind,)*];

            /// As written in `a=extmap`.
            pub fn uri(self) -> &'static str {
                match self {
                    $(ExtKind::$kind => $uri,)*
                }
            }
        }
    };
}

const KIND_COUNT: usize = 16;

kinds! {
    /// RFC 8843 §15.
    Mid = "urn:ietf:params:rtp-hdrext:sdes:mid",
    /// RFC 8852.
    Rid = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    /// The `rid` that an RTX stream repairs (RFC 8852).
    RepairedRid = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    /// RFC 6464.
    AudioLevel = "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    /// Transport-wide sequence number.
    TransportCc = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    AbsSendTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    AbsCaptureTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
    /// AV1 RTP specification, appendix A; also used with VP8, VP9 and H.264.
    DependencyDescriptor =
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
    PlayoutDelay = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
    /// 3GPP TS 26.114 §7.4.5.
    VideoOrientation = "urn:3gpp:video-orientation",
    FrameMarking = "urn:ietf:params:rtp-hdrext:framemarking",
    ColorSpace = "http://www.webrtc.org/experiments/rtp-hdrext/color-space",
    VideoContentType = "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
    VideoTiming = "http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
    VideoLayersAllocation = "http://www.webrtc.org/experiments/rtp-hdrext/video-layers-allocation00",
    /// RFC 5450.
    TimestampOffset = "urn:ietf:params:rtp-hdrext:toffset",
}

impl ExtKind {
    /// The kind of an `a=extmap` URI; `None` for extensions that Sala does not negotiate.
    pub fn from_uri(uri: &str) -> Option<ExtKind> {
        ExtKind::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

/// Which id stands for which kind on one transport. Ids are 1..=255; 15 is never mapped, for it ends a
/// one-byte block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ExtMap {
    /// By kind; zero when not negotiated.
    ids: [u8; KIND_COUNT],
    /// By id; [`NO_KIND`] when not negotiated.
    kinds: [u8; 256],
}

const NO_KIND: u8 = u8::MAX;

impl Default for ExtMap {
    fn default() -> Self {
        ExtMap { ids: [0; KIND_COUNT], kinds: [NO_KIND; 256] }
    }
}

impl std::fmt::Debug for ExtMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl ExtMap {
    /// Nothing negotiated.
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps `id` to `kind`, replacing what either was mapped to. `false` for ids 0 and 15, which cannot
    /// be mapped.
    pub fn set(&mut self, id: u8, kind: ExtKind) -> bool {
        if id == 0 || id == 15 {
            return false;
        }
        self.remove(kind);
        if let Some(old) = self.kind(id) {
            self.ids[old as usize] = 0;
        }
        self.ids[kind as usize] = id;
        self.kinds[id as usize] = kind as u8;
        true
    }

    /// Forgets `kind`.
    pub fn remove(&mut self, kind: ExtKind) {
        let id = std::mem::take(&mut self.ids[kind as usize]);
        if id != 0 {
            self.kinds[id as usize] = NO_KIND;
        }
    }

    /// The id of `kind`, 1..=255.
    #[inline]
    pub fn id(&self, kind: ExtKind) -> Option<u8> {
        match self.ids[kind as usize] {
            0 => None,
            id => Some(id),
        }
    }

    /// The kind that `id` stands for.
    #[inline]
    pub fn kind(&self, id: u8) -> Option<ExtKind> {
        ExtKind::ALL.get(self.kinds[id as usize] as usize).copied()
    }

    /// The largest id in use; beyond [`ONE_BYTE_MAX_ID`] every block needs the two-byte form.
    pub fn max_id(&self) -> u8 {
        self.ids.into_iter().max().unwrap_or(0)
    }

    /// Whether every mapped id fits the one-byte form.
    pub fn fits_one_byte(&self) -> bool {
        self.max_id() <= ONE_BYTE_MAX_ID
    }

    /// What is negotiated, in the order of [`ExtKind::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (u8, ExtKind)> + '_ {
        ExtKind::ALL.into_iter().filter_map(|kind| Some((self.id(kind)?, kind)))
    }

    /// Reads the values of a packet's extension elements. `packet` must be the one `header` was parsed
    /// from.
    pub fn read(&self, header: &RtpHeader, packet: &[u8]) -> ExtValues {
        let mut values = ExtValues::default();
        for element in header.extensions(packet) {
            let data = element.data;
            match self.kind(element.id) {
                Some(ExtKind::Mid) => values.mid = Mid::from_bytes(data),
                Some(ExtKind::Rid) => values.rid = Rid::from_bytes(data),
                Some(ExtKind::RepairedRid) => values.repaired_rid = Rid::from_bytes(data),
                Some(ExtKind::AudioLevel) => values.audio_level = AudioLevel::read(data),
                Some(ExtKind::TransportCc) => values.transport_cc = value::read_transport_cc(data),
                Some(ExtKind::AbsSendTime) => values.abs_send_time = value::read_abs_send_time(data),
                Some(ExtKind::AbsCaptureTime) => values.abs_capture_time = AbsCaptureTime::read(data),
                Some(ExtKind::PlayoutDelay) => values.playout_delay = PlayoutDelay::read(data),
                Some(ExtKind::VideoOrientation) => values.video_orientation = VideoOrientation::read(data),
                Some(ExtKind::DependencyDescriptor) => {
                    let at = element.offset as u16;
                    values.dependency_descriptor = Some((at, at + data.len() as u16));
                }
                Some(
                    ExtKind::FrameMarking
                    | ExtKind::ColorSpace
                    | ExtKind::VideoContentType
                    | ExtKind::VideoTiming
                    | ExtKind::VideoLayersAllocation
                    | ExtKind::TimestampOffset,
                )
                | None => {}
            }
        }
        values
    }
}

/// The values of one packet's extension elements. Absent and malformed look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtValues {
    pub mid: Option<Mid>,
    pub rid: Option<Rid>,
    pub repaired_rid: Option<Rid>,
    pub audio_level: Option<AudioLevel>,
    /// Transport-wide sequence number.
    pub transport_cc: Option<u16>,
    /// Seconds in 6.18 fixed point, 24 bits, wrapping every 64 s.
    pub abs_send_time: Option<u32>,
    pub abs_capture_time: Option<AbsCaptureTime>,
    pub playout_delay: Option<PlayoutDelay>,
    pub video_orientation: Option<VideoOrientation>,
    dependency_descriptor: Option<(u16, u16)>,
}

impl ExtValues {
    /// Where the dependency descriptor lies in the packet; decode it with [`crate::codec::dd`].
    pub fn dependency_descriptor(&self) -> Option<Range<usize>> {
        self.dependency_descriptor.map(|(start, end)| start as usize..end as usize)
    }
}

/// Client-to-mixer audio level (RFC 6464).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// The encoder's opinion on whether this is speech.
    pub voice: bool,
    /// Level below the loudest possible, 0..=127: 0 is the loudest, 127 is silence, in dBov negated.
    pub level_dbov: u8,
}

impl AudioLevel {
    /// `None` when `data` is empty; the two-byte form may carry a second, zero byte.
    pub fn read(data: &[u8]) -> Option<AudioLevel> {
        data.first().map(|byte| AudioLevel { voice: byte & 0x80 != 0, level_dbov: byte & 0x7F })
    }

    /// The element's data.
    pub fn write(self) -> [u8; 1] {
        [u8::from(self.voice) << 7 | self.level_dbov & 0x7F]
    }
}

/// When the frame was captured, by its capturer's clock (webrtc.org `abs-capture-time`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbsCaptureTime {
    /// NTP timestamp in 32.32 fixed point seconds since 1900.
    pub ntp: u64,
    /// Estimated offset of the sender's clock to the capturer's, in 32.32 fixed point seconds.
    pub clock_offset: Option<i64>,
}

impl AbsCaptureTime {
    /// `None` unless `data` is 8 or 16 bytes.
    pub fn read(data: &[u8]) -> Option<AbsCaptureTime> {
        let (ntp, rest) = data.split_first_chunk::<8>()?;
        let clock_offset = match rest {
            [] => None,
            rest => Some(i64::from_be_bytes(rest.try_into().ok()?)),
        };
        Some(AbsCaptureTime { ntp: u64::from_be_bytes(*ntp), clock_offset })
    }

    /// The element's data and how many bytes of it count: 8 or 16.
    #[inline]
    pub fn write(self) -> ([u8; 16], usize) {
        let mut data = [0; 16];
        data[..8].copy_from_slice(&self.ntp.to_be_bytes());
        data[8..].copy_from_slice(&self.clock_offset.unwrap_or(0).to_be_bytes());
        (data, if self.clock_offset.is_some() { 16 } else { 8 })
    }
}

/// Bounds on the receiver's jitter buffer (webrtc.org `playout-delay`), in units of 10 ms, 0..=4095.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutDelay {
    pub min_10ms: u16,
    pub max_10ms: u16,
}

impl PlayoutDelay {
    /// Largest value of either bound.
    pub const MAX_10MS: u16 = 0x0FFF;

    /// `None` unless `data` is 3 bytes.
    pub fn read(data: &[u8]) -> Option<PlayoutDelay> {
        let [a, b, c] = *<&[u8; 3]>::try_from(data).ok()?;
        Some(PlayoutDelay {
            min_10ms: u16::from(a) << 4 | u16::from(b >> 4),
            max_10ms: u16::from(b & 0x0F) << 8 | u16::from(c),
        })
    }

    /// The element's data; values beyond [`Self::MAX_10MS`] are capped.
    #[inline]
    pub fn write(self) -> [u8; 3] {
        let (min, max) = (self.min_10ms.min(Self::MAX_10MS), self.max_10ms.min(Self::MAX_10MS));
        [(min >> 4) as u8, (min << 4) as u8 | (max >> 8) as u8, max as u8]
    }
}

/// How the picture is to be turned for display (3GPP TS 26.114 §7.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoOrientation {
    /// The back camera took it.
    pub back_camera: bool,
    /// Flip horizontally before rotating.
    pub flip: bool,
    /// Quarter turns clockwise, 0..=3.
    pub quarter_turns: u8,
}

impl VideoOrientation {
    /// `None` when `data` is empty.
    pub fn read(data: &[u8]) -> Option<VideoOrientation> {
        data.first().map(|byte| VideoOrientation {
            back_camera: byte & 0x08 != 0,
            flip: byte & 0x04 != 0,
            quarter_turns: byte & 0x03,
        })
    }

    /// The element's data.
    #[inline]
    pub fn write(self) -> [u8; 1] {
        [u8::from(self.back_camera) << 3 | u8::from(self.flip) << 2 | self.quarter_turns & 0x03]
    }
}

/// The elements that are plain numbers.
pub mod value {
    /// Transport-wide sequence number. `None` unless `data` is 2 bytes (or 4, as version 02 has it).
    pub fn read_transport_cc(data: &[u8]) -> Option<u16> {
        match data {
            [a, b] | [a, b, _, _] => Some(u16::from_be_bytes([*a, *b])),
            _ => None,
        }
    }

    /// 6.18 fixed point seconds. `None` unless `data` is 3 bytes.
    pub fn read_abs_send_time(data: &[u8]) -> Option<u32> {
        match data {
            [a, b, c] => Some(u32::from_be_bytes([0, *a, *b, *c])),
            _ => None,
        }
    }

    /// The data of an `abs-send-time` element from 6.18 fixed point seconds.
    #[inline]
    pub fn write_abs_send_time(time: u32) -> [u8; 3] {
        let [_, a, b, c] = time.to_be_bytes();
        [a, b, c]
    }

    /// 6.18 fixed point seconds from a 32.32 fixed point NTP timestamp.
    #[inline]
    pub fn abs_send_time_from_ntp(ntp: u64) -> u32 {
        (ntp >> 14) as u32 & 0x00FF_FFFF
    }
}

#[cfg(test)]
mod tests;
