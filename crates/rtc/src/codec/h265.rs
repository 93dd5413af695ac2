//! H.265 (RFC 7798): NAL unit types of single, aggregated (AP) and fragmented (FU) packets.
//!
//! `sprop-max-don-diff` other than zero, which would add decoding order numbers to the packets, is not
//! negotiated.

use super::{CodecError, MediaInfo};

/// Temporal sub-layer access pictures: a receiver may switch up to their layer (H.265 §7.4.2.2).
const SUBLAYER_ACCESS: std::ops::RangeInclusive<u8> = 2..=5;
/// Intra random access pictures: BLA, IDR and CRA.
const RANDOM_ACCESS: std::ops::RangeInclusive<u8> = 16..=21;
const VPS: u8 = 32;
const SPS: u8 = 33;
const PREFIX_SEI: u8 = 39;
/// Slices of pictures of any kind.
const LAST_SLICE: u8 = 31;
const AGGREGATION: u8 = 48;
const FRAGMENTATION: u8 = 49;

/// What the NAL units of one payload say. As in H.264, parameter sets and the first slice of a random
/// access picture are both flagged as beginning a key frame.
pub fn media_info(payload: &[u8], marker: bool) -> Result<MediaInfo, CodecError> {
    let (&header, rest) = payload.split_first_chunk::<2>().ok_or(CodecError::Truncated)?;
    let mut info = MediaInfo {
        frame_end: marker,
        // The wire has the layer plus one; zero is forbidden.
        temporal: (header[1] & 0x07).checked_sub(1).ok_or(CodecError::Malformed)?,
        ..MediaInfo::default()
    };
    match kind_of(header[0]) {
        AGGREGATION => {
            let mut rest = rest;
            while !rest.is_empty() {
                let (len, after) = rest.split_first_chunk::<2>().ok_or(CodecError::Truncated)?;
                let len = u16::from_be_bytes(*len) as usize;
                let (unit, after) = after.split_at_checked(len).ok_or(CodecError::Truncated)?;
                let (header, body) = unit.split_first_chunk::<2>().ok_or(CodecError::Malformed)?;
                note_unit(&mut info, kind_of(header[0]), body);
                rest = after;
            }
        }
        FRAGMENTATION => {
            let (&fragment, body) = rest.split_first().ok_or(CodecError::Truncated)?;
            if fragment & 0x80 != 0 {
                note_unit(&mut info, fragment & 0x3F, body);
            }
        }
        kind => note_unit(&mut info, kind, rest),
    }
    info.intra = info.keyframe;
    info.switching_up |= info.keyframe;
    Ok(info)
}

fn kind_of(header: u8) -> u8 {
    header >> 1 & 0x3F
}

fn note_unit(info: &mut MediaInfo, kind: u8, body: &[u8]) {
    // `first_slice_segment_in_pic_flag` is the first bit (H.265 §7.3.6.1).
    let first_slice = kind <= LAST_SLICE && body.first().is_some_and(|byte| byte & 0x80 != 0);
    let parameters = (VPS..=SPS).contains(&kind);
    info.keyframe |= parameters || RANDOM_ACCESS.contains(&kind) && first_slice;
    info.frame_start |= first_slice || (VPS..=PREFIX_SEI).contains(&kind);
    info.switching_up |= SUBLAYER_ACCESS.contains(&kind);
}
