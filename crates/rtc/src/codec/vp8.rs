//! VP8 (RFC 7741): the payload descriptor, its rewriting, and the size in a key frame's header.
//!
//! ```text
//!  X R N S R PID      always
//!  I L T K RSV        if X
//!  M PictureID …      if I: 7 bits, or 15 with M
//!  TL0PICIDX          if L
//!  TID Y KEYIDX       if T or K
//! ```

use super::{Bytes, CodecError, MediaInfo, PictureId};

/// The payload descriptor (RFC 7741 §4.2) and what the frame header adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vp8Descriptor {
    /// Bytes of the descriptor, 1..=6.
    pub header_len: u8,
    /// N: the frame is no reference of another.
    pub non_reference: bool,
    /// S: a partition begins with this packet.
    pub partition_start: bool,
    /// PID: which partition, 0..=7.
    pub partition: u8,
    pub picture_id: Option<PictureId>,
    pub tl0_pic_idx: Option<u8>,
    /// TID and Y, if T.
    pub temporal: Option<Temporal>,
    /// KEYIDX, if K: 0..=31.
    pub key_idx: Option<u8>,
    /// The packet begins a key frame.
    pub keyframe: bool,
    /// Width and height in pixels, if the packet begins a key frame.
    pub size: Option<(u16, u16)>,
}

/// The temporal layer of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Temporal {
    /// TID, 0..=3.
    pub layer: u8,
    /// Y: the frame depends on the base layer only, so receivers may switch up to this layer.
    pub sync: bool,
}

/// The numbers that a munger replaces; those that the descriptor lacks are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vp8Ids {
    /// Its low 7 or 15 bits go on the wire, as the descriptor's form has it.
    pub picture_id: u16,
    pub tl0_pic_idx: u8,
    /// Its low five bits go on the wire.
    pub key_idx: u8,
}

impl Vp8Descriptor {
    /// Longest descriptor, in bytes.
    pub const MAX_LEN: usize = 6;

    /// Parses descriptor and, at the start of a frame, the frame header.
    pub fn parse(payload: &[u8]) -> Result<Vp8Descriptor, CodecError> {
        let mut bytes = Bytes::new(payload);
        let first = bytes.u8()?;
        let extended = if first & 0x80 != 0 { bytes.u8()? } else { 0 };
        let picture_id = if extended & 0x80 != 0 { Some(PictureId::parse(&mut bytes)?) } else { None };
        let tl0_pic_idx = if extended & 0x40 != 0 { Some(bytes.u8()?) } else { None };
        let layer = if extended & 0x30 != 0 { bytes.u8()? } else { 0 };
        let mut descriptor = Vp8Descriptor {
            header_len: bytes.at as u8,
            non_reference: first & 0x20 != 0,
            partition_start: first & 0x10 != 0,
            partition: first & 0x07,
            picture_id,
            tl0_pic_idx,
            temporal: (extended & 0x20 != 0)
                .then_some(Temporal { layer: layer >> 6, sync: layer & 0x20 != 0 }),
            key_idx: (extended & 0x10 != 0).then_some(layer & 0x1F),
            keyframe: false,
            size: None,
        };
        let body = &payload[bytes.at..];
        let [frame_tag, ..] = body else { return Err(CodecError::Truncated) };
        // RFC 6386 §9.1: the lowest bit of the frame tag is zero in key frames.
        descriptor.keyframe = descriptor.begins_frame() && frame_tag & 1 == 0;
        if descriptor.keyframe
            && let [_, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..] = *body
        {
            // The two upper bits of each are scaling hints.
            let size = |low, high| u16::from_le_bytes([low, high]) & 0x3FFF;
            descriptor.size = Some((size(w0, w1), size(h0, h1)));
        }
        Ok(descriptor)
    }

    /// Whether the packet begins a frame.
    pub fn begins_frame(&self) -> bool {
        self.partition_start && self.partition == 0
    }

    /// Writes the descriptor with other numbers in the same form, hence of the same length, over the
    /// start of `out`; returns that length. Panics when `out` is shorter than [`Self::header_len`].
    #[inline]
    pub fn write(&self, ids: Vp8Ids, out: &mut [u8]) -> usize {
        let extended = u8::from(self.picture_id.is_some()) << 7
            | u8::from(self.tl0_pic_idx.is_some()) << 6
            | u8::from(self.temporal.is_some()) << 5
            | u8::from(self.key_idx.is_some()) << 4;
        let x = self.header_len > 1;
        out[0] = u8::from(x) << 7
            | u8::from(self.non_reference) << 5
            | u8::from(self.partition_start) << 4
            | self.partition & 0x07;
        if !x {
            return 1;
        }
        let mut len = 1;
        let mut put = |byte| {
            out[len] = byte;
            len += 1;
        };
        put(extended);
        match self.picture_id {
            Some(PictureId { long: true, .. }) => {
                put(0x80 | (ids.picture_id >> 8) as u8);
                put(ids.picture_id as u8);
            }
            Some(PictureId { long: false, .. }) => put(ids.picture_id as u8 & 0x7F),
            None => {}
        }
        if self.tl0_pic_idx.is_some() {
            put(ids.tl0_pic_idx);
        }
        if extended & 0x30 != 0 {
            let temporal = self.temporal.map_or(0, |t| (t.layer & 3) << 6 | u8::from(t.sync) << 5);
            put(temporal | self.key_idx.map_or(0, |_| ids.key_idx & 0x1F));
        }
        len
    }

    /// The descriptor's own numbers; zero for those it lacks.
    pub fn ids(&self) -> Vp8Ids {
        Vp8Ids {
            picture_id: self.picture_id.map_or(0, |id| id.value),
            tl0_pic_idx: self.tl0_pic_idx.unwrap_or(0),
            key_idx: self.key_idx.unwrap_or(0),
        }
    }

    /// The codec-independent summary.
    pub fn media_info(&self, marker: bool) -> MediaInfo {
        let temporal = self.temporal.unwrap_or(Temporal { layer: 0, sync: false });
        MediaInfo {
            keyframe: self.keyframe,
            frame_start: self.begins_frame(),
            frame_end: marker,
            spatial: 0,
            temporal: temporal.layer,
            switching_up: temporal.sync || self.keyframe,
            intra: self.keyframe,
            discardable: self.non_reference,
            size: self.size,
        }
    }
}
