//! Single bits, most significant first.

use super::DdError;

/// Reads bits from a slice.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// Begins after `at` bits.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> BitReader<'a> {
        BitReader { bytes, at }
    }

    /// Bits read so far, from the start of the slice.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn flag(&mut self) -> Result<bool, DdError> {
        let byte = *self.bytes.get(self.at / 8).ok_or(DdError::Truncated)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    /// A number of `width` bits, at most 32.
    pub(super) fn read(&mut self, width: usize) -> Result<u32, DdError> {
        let mut value = 0;
        for _ in 0..width {
            value = value << 1 | u32::from(self.flag()?);
        }
        Ok(value)
    }

    /// A number below `n`, coded in as few bits as its value allows: `ns(n)` of the specification.
    pub(super) fn read_below(&mut self, n: u32) -> Result<u32, DdError> {
        let width = u32::BITS - n.leading_zeros();
        let short = (1 << width) - n;
        let value = self.read(width.saturating_sub(1) as usize)?;
        if value < short {
            return Ok(value);
        }
        Ok((value << 1) - short + u32::from(self.flag()?))
    }

    /// Passes over bits without looking.
    pub(super) fn skip(&mut self, bits: usize) {
        self.at += bits;
    }
}

/// Writes bits into a slice.
#[derive(Debug)]
pub(super) struct BitWriter<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(bytes: &'a mut [u8]) -> BitWriter<'a> {
        BitWriter { bytes, at: 0 }
    }

    /// The lowest `width` bits of `value`; `None` when the slice is full.
    pub(super) fn write(&mut self, width: usize, value: u32) -> Option<()> {
        for shift in (0..width).rev() {
            let byte = self.bytes.get_mut(self.at / 8)?;
            let bit = (value >> shift & 1) as u8;
            let place = 7 - self.at % 8;
            // The first bit of a byte clears what was there.
            let kept = if place == 7 { 0 } else { *byte };
            *byte = kept | bit << place;
            self.at += 1;
        }
        Some(())
    }

    /// The next `bits` bits of `reader`.
    pub(super) fn copy(&mut self, reader: &mut BitReader<'_>, bits: usize) -> Option<()> {
        for _ in 0..bits {
            self.write(1, reader.flag().ok()?.into())?;
        }
        Some(())
    }

    /// Bytes written; the rest of the last one is zero.
    pub(super) fn finish(self) -> usize {
        self.at.div_ceil(8)
    }
}
