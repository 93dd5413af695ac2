//! Redundant audio (RFC 2198): splitting a payload into its blocks, and building one.
//!
//! ```text
//!  1 PT(7) timestamp offset(14) length(10)    each redundant block, oldest first
//!  0 PT(7)                                    the primary block, whose data is the rest
//! ```

use std::ops::Range;

use super::CodecError;
use crate::Pt;

/// Most blocks that are kept of one payload, primary included. Chrome sends two, at most nine can be
/// configured; LiveKit's clients send three.
pub const MAX_BLOCKS: usize = 16;

/// Longest redundant block in bytes: ten bits.
pub const MAX_REDUNDANT_LEN: usize = 0x3FF;
/// Furthest that a redundant block may lie back, in ticks: fourteen bits.
pub const MAX_TIMESTAMP_OFFSET: u16 = 0x3FFF;

/// One block of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedBlock {
    pub pt: Pt,
    /// How far before the packet's timestamp the block belongs, in ticks; zero for the primary.
    pub timestamp_offset: u16,
    start: u16,
    len: u16,
}

impl RedBlock {
    const NONE: RedBlock = RedBlock { pt: Pt(0), timestamp_offset: 0, start: 0, len: 0 };

    /// Where the block's data lies in the payload.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// The blocks of one payload.
#[derive(Debug, Clone, Copy)]
pub struct Red {
    blocks: [RedBlock; MAX_BLOCKS],
    count: usize,
}

impl Red {
    /// Splits a payload.
    pub fn parse(payload: &[u8]) -> Result<Red, CodecError> {
        let mut red = Red { blocks: [RedBlock::NONE; MAX_BLOCKS], count: 0 };
        let mut at = 0;
        loop {
            let &first = payload.get(at).ok_or(CodecError::Truncated)?;
            let block = red.blocks.get_mut(red.count).ok_or(CodecError::Malformed)?;
            block.pt = Pt(first & 0x7F);
            red.count += 1;
            at += 1;
            if first & 0x80 == 0 {
                break;
            }
            let &[a, b, c] =
                payload.get(at..at + 3).and_then(|b| b.first_chunk()).ok_or(CodecError::Truncated)?;
            block.timestamp_offset = u16::from(a) << 6 | u16::from(b >> 2);
            block.len = u16::from(b & 0x03) << 8 | u16::from(c);
            at += 3;
        }
        let (primary, redundant) = red.blocks[..red.count].split_last_mut().ok_or(CodecError::Malformed)?;
        for block in redundant {
            block.start = u16::try_from(at).map_err(|_| CodecError::Malformed)?;
            at += block.len as usize;
        }
        primary.start = u16::try_from(at).map_err(|_| CodecError::Malformed)?;
        let len = payload.len().checked_sub(at).ok_or(CodecError::Truncated)?;
        primary.len = u16::try_from(len).map_err(|_| CodecError::Malformed)?;
        Ok(red)
    }

    /// The block that belongs to the packet's own timestamp.
    pub fn primary(&self) -> RedBlock {
        self.blocks[self.count - 1]
    }

    /// The repeated blocks, oldest first.
    pub fn redundant(&self) -> &[RedBlock] {
        &self.blocks[..self.count - 1]
    }
}

/// Builds a payload from redundant blocks, oldest first, as (timestamp offset, data), and the primary
/// block, all of payload type `pt`. Redundant blocks that do not fit their fields are left out. Returns
/// the length; `None` when `out` is too short.
pub fn write(out: &mut [u8], pt: Pt, redundant: &[(u16, &[u8])], primary: &[u8]) -> Option<usize> {
    let fits = |block: &&(u16, &[u8])| block.0 <= MAX_TIMESTAMP_OFFSET && block.1.len() <= MAX_REDUNDANT_LEN;
    let mut len = 0;
    let mut put = |bytes: &[u8]| -> Option<()> {
        out.get_mut(len..len + bytes.len())?.copy_from_slice(bytes);
        len += bytes.len();
        Some(())
    };
    for (offset, data) in redundant.iter().filter(fits) {
        let word = 1 << 31 | u32::from(pt.0 & 0x7F) << 24 | u32::from(*offset) << 10 | data.len() as u32;
        put(&word.to_be_bytes())?;
    }
    put(&[pt.0 & 0x7F])?;
    for (_, data) in redundant.iter().filter(fits) {
        put(data)?;
    }
    put(primary)?;
    Some(len)
}
