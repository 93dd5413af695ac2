//! AV1 (RTP payload format for AV1, §4.4): the aggregation header and the OBUs that a packet begins with.
//!
//! Layers of AV1 travel in the dependency descriptor ([`super::dd`]); the OBU extension is read only for
//! senders without one.

use super::{Bytes, CodecError, MediaInfo};

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

/// The one byte aggregation header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AggregationHeader {
    /// Z: the first element continues an OBU of the previous packet.
    pub continues: bool,
    /// Y: the last element continues in the next packet.
    pub continued: bool,
    /// W: elements in the packet, 1..=3; zero when each has a length instead.
    pub elements: u8,
    /// N: the packet begins a coded video sequence, hence a key frame.
    pub new_sequence: bool,
}

impl AggregationHeader {
    /// Parses the first byte of a payload.
    pub fn parse(payload: &[u8]) -> Result<AggregationHeader, CodecError> {
        let &byte = payload.first().ok_or(CodecError::Truncated)?;
        let header = AggregationHeader {
            continues: byte & 0x80 != 0,
            continued: byte & 0x40 != 0,
            elements: byte >> 4 & 0x03,
            new_sequence: byte & 0x08 != 0,
        };
        if header.continues && header.new_sequence {
            return Err(CodecError::Malformed);
        }
        Ok(header)
    }
}

/// What the payload says by itself. Frame starts are those that can be told: a packet whose first OBU is
/// a delimiter, a sequence header, a frame header or a frame.
pub fn media_info(payload: &[u8], marker: bool) -> Result<MediaInfo, CodecError> {
    let header = AggregationHeader::parse(payload)?;
    let mut info = MediaInfo { frame_end: marker, ..MediaInfo::default() };
    let mut bytes = Bytes::new(payload);
    bytes.skip(1)?;
    if header.elements != 1 {
        leb128(&mut bytes)?;
    }
    if header.continues {
        return Ok(info);
    }
    let obu = bytes.u8()?;
    let kind = obu >> 3 & 0x0F;
    if obu & 0x04 != 0 {
        let extension = bytes.u8()?;
        (info.temporal, info.spatial) = (extension >> 5, extension >> 3 & 0x03);
    }
    info.keyframe = header.new_sequence || kind == SEQUENCE_HEADER;
    info.frame_start = info.keyframe || matches!(kind, TEMPORAL_DELIMITER | FRAME_HEADER | FRAME);
    info.switching_up = info.keyframe;
    info.intra = info.keyframe;
    Ok(info)
}

/// Little endian base 128 number of at most eight bytes (AV1 §4.10.5).
fn leb128(bytes: &mut Bytes<'_>) -> Result<u64, CodecError> {
    let mut value = 0;
    for at in 0..8 {
        let byte = bytes.u8()?;
        value |= u64::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(CodecError::Malformed)
}
