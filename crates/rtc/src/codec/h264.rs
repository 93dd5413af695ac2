//! H.264 (RFC 6184): NAL unit types of single, aggregated (STAP-A) and fragmented (FU-A) packets.
//!
//! A plain H.264 stream carries no descriptor, so layers and frame starts come from the NAL units; with
//! temporal layers the dependency descriptor ([`super::dd`]) says more.

use super::{CodecError, MediaInfo};

const SLICE: u8 = 1;
const IDR: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;
const PPS: u8 = 8;
const ACCESS_UNIT_DELIMITER: u8 = 9;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// What the NAL units of one payload say. A key frame begins with its SPS or, where parameter sets are
/// sent apart, with the first slice of an IDR picture; so both may be flagged within one key frame.
pub fn media_info(payload: &[u8], marker: bool) -> Result<MediaInfo, CodecError> {
    let (&first, rest) = payload.split_first().ok_or(CodecError::Truncated)?;
    let mut frame = Frame { discardable: first & 0x60 == 0, ..Frame::default() };
    match first & 0x1F {
        STAP_A => {
            let mut rest = rest;
            while !rest.is_empty() {
                let (len, after) = rest.split_first_chunk::<2>().ok_or(CodecError::Truncated)?;
                let len = u16::from_be_bytes(*len) as usize;
                let (unit, after) = after.split_at_checked(len).ok_or(CodecError::Truncated)?;
                let (&header, body) = unit.split_first().ok_or(CodecError::Malformed)?;
                frame.unit(header & 0x1F, body);
                rest = after;
            }
        }
        FU_A => {
            let (&header, body) = rest.split_first().ok_or(CodecError::Truncated)?;
            if header & 0x80 != 0 {
                frame.unit(header & 0x1F, body);
            }
        }
        kind => frame.unit(kind, rest),
    }
    Ok(MediaInfo {
        keyframe: frame.keyframe,
        frame_start: frame.start,
        frame_end: marker,
        switching_up: frame.keyframe,
        intra: frame.keyframe,
        discardable: frame.discardable,
        ..MediaInfo::default()
    })
}

#[derive(Default)]
struct Frame {
    keyframe: bool,
    start: bool,
    discardable: bool,
}

impl Frame {
    /// Notes a NAL unit whose first bytes are `body`.
    fn unit(&mut self, kind: u8, body: &[u8]) {
        // `first_mb_in_slice` is zero, coded as a one bit, in a picture's first slice (H.264 §7.3.3).
        let first_slice = body.first().is_some_and(|byte| byte & 0x80 != 0);
        self.keyframe |= kind == SPS || kind == IDR && first_slice;
        self.start |= match kind {
            SEI | SPS | PPS | ACCESS_UNIT_DELIMITER => true,
            SLICE | IDR => first_slice,
            _ => false,
        };
    }
}
