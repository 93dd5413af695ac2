//! Opus (RFC 6716, RFC 7587): the table-of-contents byte, and silence to send in a muted track's name.

/// One frame of 20 ms of stereo silence: what libopus encodes from zeros. Decoders that get it fade out
/// cleanly instead of concealing a loss.
pub const SILENCE_FRAME: [u8; 3] = [0xF8, 0xFF, 0xFE];

/// Samples of [`SILENCE_FRAME`] at the RTP clock of 48 kHz.
pub const SILENCE_FRAME_SAMPLES: u32 = 960;

/// The table-of-contents byte (RFC 6716 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Toc {
    /// Mode, bandwidth and frame size, 0..=31.
    pub config: u8,
    pub stereo: bool,
    /// Frame packing: one, two equal, two, or any number of frames.
    pub code: u8,
}

impl Toc {
    /// `None` for an empty payload.
    pub fn parse(payload: &[u8]) -> Option<Toc> {
        let &byte = payload.first()?;
        Some(Toc { config: byte >> 3, stereo: byte & 0x04 != 0, code: byte & 0x03 })
    }

    /// Samples of one frame at 48 kHz, 120..=2880.
    pub fn frame_samples(self) -> u32 {
        match (self.config, self.config & 3) {
            // SILK: 10, 20, 40, 60 ms.
            (0..=11, size) => [480, 960, 1920, 2880][size as usize],
            // Hybrid: 10, 20 ms.
            (12..=15, size) => [480, 960][(size & 1) as usize],
            // CELT: 2.5, 5, 10, 20 ms.
            (_, size) => [120, 240, 480, 960][size as usize],
        }
    }
}

/// Samples of a whole payload at 48 kHz; `None` when it is malformed. RFC 6716 §3.4 allows 120 ms.
pub fn payload_samples(payload: &[u8]) -> Option<u32> {
    let toc = Toc::parse(payload)?;
    let frames = match toc.code {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(payload.get(1)? & 0x3F),
    };
    Some(frames * toc.frame_samples()).filter(|samples| (1..=5760).contains(samples))
}

/// Whether the payload is discontinuous transmission: a frame of at most one byte beside its TOC.
pub fn is_dtx(payload: &[u8]) -> bool {
    payload.len() <= 2
}
