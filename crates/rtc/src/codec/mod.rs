//! Payload formats: what a packet's payload says about frames and layers, read once at ingress.
//!
//! Each codec has its module with a parser of its RTP payload descriptor; [`PayloadInfo::parse`] picks the
//! right one and sums up what the layer selector needs in one codec-independent [`MediaInfo`]. VP8 is the
//! only codec whose descriptor is rewritten at egress ([`vp8::Vp8Descriptor::write`]); the dependency
//! descriptor ([`dd`]) is a header extension that carries the same knowledge for any codec. Payloads that
//! are end-to-end encrypted keep their descriptors in the clear, so all of this works on them too.
//!
//! Parsers are total: any bytes give a value or a [`CodecError`].

pub mod av1;
pub mod dd;
pub mod h264;
pub mod h265;
pub mod opus;
pub mod red;
pub mod vp8;
pub mod vp9;

use crate::Codec;

/// Why a payload is not of its codec's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("the payload ends inside its descriptor; drop the packet")]
    Truncated,
    #[error("the payload's descriptor contradicts itself; drop the packet")]
    Malformed,
}

/// What one packet means to a layer selector, in any codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaInfo {
    /// The packet begins a key frame: decoding can start here. For packets within a key frame this is
    /// set only where the format tells (VP9).
    pub keyframe: bool,
    /// The packet begins a frame, of its own spatial layer.
    pub frame_start: bool,
    /// The packet ends a frame, of its own spatial layer. The marker bit ends the whole picture.
    pub frame_end: bool,
    /// Spatial layer within this stream (SVC), 0 when there is but one.
    pub spatial: u8,
    /// Temporal layer, 0 when there is but one.
    pub temporal: u8,
    /// A receiver of lower temporal layers may begin with this one here.
    pub switching_up: bool,
    /// The frame refers to no earlier picture; with `spatial > 0` a receiver of the layer below may
    /// begin with this layer here.
    pub intra: bool,
    /// No other frame refers to this one.
    pub discardable: bool,
    /// Frame width and height in pixels, where the packet tells.
    pub size: Option<(u16, u16)>,
}

/// A payload, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadInfo {
    pub media: MediaInfo,
    pub descriptor: Descriptor,
}

/// The codec's own descriptor, for those codecs where forwarding needs more than [`MediaInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptor {
    None,
    Vp8(vp8::Vp8Descriptor),
    Vp9(vp9::Vp9Descriptor),
}

impl PayloadInfo {
    /// Parses a decrypted, unpadded, non-empty payload; `marker` is the RTP marker bit.
    pub fn parse(codec: Codec, payload: &[u8], marker: bool) -> Result<PayloadInfo, CodecError> {
        let plain = |media| PayloadInfo { media, descriptor: Descriptor::None };
        Ok(match codec {
            Codec::Vp8 => {
                let vp8 = vp8::Vp8Descriptor::parse(payload)?;
                PayloadInfo { media: vp8.media_info(marker), descriptor: Descriptor::Vp8(vp8) }
            }
            Codec::Vp9 => {
                let vp9 = vp9::Vp9Descriptor::parse(payload)?;
                PayloadInfo { media: vp9.media_info(), descriptor: Descriptor::Vp9(vp9) }
            }
            Codec::H264 => plain(h264::media_info(payload, marker)?),
            Codec::H265 => plain(h265::media_info(payload, marker)?),
            Codec::Av1 => plain(av1::media_info(payload, marker)?),
            Codec::Opus | Codec::Red | Codec::Pcmu | Codec::Pcma => plain(MediaInfo {
                keyframe: true,
                frame_start: true,
                frame_end: true,
                switching_up: true,
                intra: true,
                ..MediaInfo::default()
            }),
        })
    }
}

/// Takes bytes from the front of a payload.
#[derive(Debug, Clone)]
struct Bytes<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn new(payload: &'a [u8]) -> Bytes<'a> {
        Bytes { payload, at: 0 }
    }

    fn u8(&mut self) -> Result<u8, CodecError> {
        let byte = *self.payload.get(self.at).ok_or(CodecError::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    fn u16(&mut self) -> Result<u16, CodecError> {
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn skip(&mut self, len: usize) -> Result<(), CodecError> {
        self.at += len;
        if self.at > self.payload.len() { Err(CodecError::Truncated) } else { Ok(()) }
    }
}

/// A picture id in its short or long form, as VP8 and VP9 have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureId {
    /// Seven or fifteen bits.
    pub value: u16,
    /// Fifteen bits, on two bytes.
    pub long: bool,
}

impl PictureId {
    fn parse(bytes: &mut Bytes<'_>) -> Result<PictureId, CodecError> {
        let first = bytes.u8()?;
        let long = first & 0x80 != 0;
        let high = u16::from(first & 0x7F);
        let value = if long { high << 8 | u16::from(bytes.u8()?) } else { high };
        Ok(PictureId { value, long })
    }
}

#[cfg(test)]
mod tests;
