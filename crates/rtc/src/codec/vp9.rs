//! VP9 (RFC 9628): the payload descriptor, flexible and non-flexible, with its scalability structure.
//!
//! ```text
//!  I P L F B E V Z       always
//!  M PictureID …         if I: 7 bits, or 15 with M
//!  TID U SID D           if L
//!  TL0PICIDX             if L and not F
//!  P_DIFF N, up to 3     if F and P
//!  scalability structure if V
//! ```

use super::{Bytes, CodecError, MediaInfo, PictureId};

/// Most spatial layers of a VP9 stream: three bits.
pub const MAX_SPATIAL: usize = 8;

/// The payload descriptor (RFC 9628 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vp9Descriptor {
    /// Bytes of the descriptor.
    pub header_len: u16,
    pub picture_id: Option<PictureId>,
    /// P: the frame refers to an earlier picture.
    pub inter_picture: bool,
    /// F: references are told by differences; otherwise they follow the structure.
    pub flexible: bool,
    /// B and E: the packet begins or ends a frame of its spatial layer.
    pub frame_start: bool,
    pub frame_end: bool,
    /// Z: no higher spatial layer of this picture refers to the frame.
    pub not_inter_layer_reference: bool,
    /// Present if L.
    pub layer: Option<Layer>,
    pub tl0_pic_idx: Option<u8>,
    /// Present if V.
    pub structure: Option<Structure>,
}

/// Layer indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// TID, 0..=7.
    pub temporal: u8,
    /// U: receivers may switch up to this temporal layer here.
    pub switching_up: bool,
    /// SID, 0..=7.
    pub spatial: u8,
    /// D: the frame refers to the layer below in the same picture.
    pub inter_layer: bool,
}

/// The scalability structure, without its picture group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Structure {
    /// Spatial layers, 1..=8.
    pub spatial_layers: u8,
    /// Width and height of each spatial layer in pixels, if told.
    pub sizes: Option<[(u16, u16); MAX_SPATIAL]>,
    /// Pictures in the picture group, if told.
    pub group_len: Option<u8>,
}

impl Vp9Descriptor {
    /// Parses the descriptor at the start of `payload`.
    pub fn parse(payload: &[u8]) -> Result<Vp9Descriptor, CodecError> {
        let mut bytes = Bytes::new(payload);
        let first = bytes.u8()?;
        let flag = |mask: u8| first & mask != 0;
        let (inter_picture, flexible) = (flag(0x40), flag(0x10));
        let picture_id = if flag(0x80) { Some(PictureId::parse(&mut bytes)?) } else { None };
        let (mut layer, mut tl0_pic_idx) = (None, None);
        if flag(0x20) {
            let byte = bytes.u8()?;
            layer = Some(Layer {
                temporal: byte >> 5,
                switching_up: byte & 0x10 != 0,
                spatial: byte >> 1 & 0x07,
                inter_layer: byte & 0x01 != 0,
            });
            if !flexible {
                tl0_pic_idx = Some(bytes.u8()?);
            }
        }
        if flexible && inter_picture {
            // At most three references; the last bit says whether another follows.
            let mut references = 1;
            while bytes.u8()? & 1 != 0 {
                references += 1;
                if references > 3 {
                    return Err(CodecError::Malformed);
                }
            }
        }
        let structure = if flag(0x02) { Some(Structure::parse(&mut bytes)?) } else { None };
        Ok(Vp9Descriptor {
            header_len: bytes.at as u16,
            picture_id,
            inter_picture,
            flexible,
            frame_start: flag(0x08),
            frame_end: flag(0x04),
            not_inter_layer_reference: flag(0x01),
            layer,
            tl0_pic_idx,
            structure,
        })
    }

    /// Whether the packet belongs to a key frame: to the lowest spatial layer of a picture that refers to
    /// no other.
    pub fn is_keyframe(&self) -> bool {
        !self.inter_picture && self.layer.is_none_or(|layer| layer.spatial == 0 && !layer.inter_layer)
    }

    /// The codec-independent summary.
    pub fn media_info(&self) -> MediaInfo {
        let layer =
            self.layer.unwrap_or(Layer { temporal: 0, switching_up: false, spatial: 0, inter_layer: false });
        let keyframe = self.is_keyframe();
        MediaInfo {
            keyframe,
            frame_start: self.frame_start,
            frame_end: self.frame_end,
            spatial: layer.spatial,
            temporal: layer.temporal,
            switching_up: layer.switching_up || keyframe,
            intra: !self.inter_picture,
            discardable: false,
            size: self.structure.and_then(|structure| structure.largest()),
        }
    }
}

impl Structure {
    fn parse(bytes: &mut Bytes<'_>) -> Result<Structure, CodecError> {
        let first = bytes.u8()?;
        let spatial_layers = (first >> 5) + 1;
        let mut sizes = None;
        if first & 0x10 != 0 {
            let table = sizes.insert([(0, 0); MAX_SPATIAL]);
            for size in &mut table[..spatial_layers as usize] {
                *size = (bytes.u16()?, bytes.u16()?);
            }
        }
        let group_len = if first & 0x08 != 0 { Some(bytes.u8()?) } else { None };
        for _ in 0..group_len.unwrap_or(0) {
            let references = bytes.u8()? >> 2 & 0x03;
            bytes.skip(references as usize)?;
        }
        Ok(Structure { spatial_layers, sizes, group_len })
    }

    /// Width and height of the highest spatial layer, if told.
    pub fn largest(&self) -> Option<(u16, u16)> {
        self.sizes.map(|sizes| sizes[self.spatial_layers as usize - 1])
    }
}
