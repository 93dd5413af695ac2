//! Reports and descriptions of sources (RFC 3550 §6.4 to §6.6).

use crate::Ssrc;

/// Sender report (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy)]
pub struct SenderReport<'a> {
    pub ssrc: Ssrc,
    /// Wall clock in 32.32 fixed point seconds since 1900.
    pub ntp: u64,
    /// The same instant in ticks of the media clock.
    pub rtp_time: u32,
    pub packet_count: u32,
    /// Payload bytes sent, modulo 2³².
    pub octet_count: u32,
    pub reports: ReportBlocks<'a>,
}

/// Receiver report (RFC 3550 §6.4.2).
#[derive(Debug, Clone, Copy)]
pub struct ReceiverReport<'a> {
    pub ssrc: Ssrc,
    pub reports: ReportBlocks<'a>,
}

/// The report blocks of a report, still encoded.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReportBlocks<'a>(&'a [[u8; ReportBlock::LEN]]);

/// What a receiver tells of one stream (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportBlock {
    pub ssrc: Ssrc,
    /// Share of packets lost since the previous report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost in all, negative when duplicates outnumber losses; 24 bits on the wire.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the cycles in the upper half.
    pub highest_seq: u32,
    /// Interarrival jitter in ticks of the media clock.
    pub jitter: u32,
    /// Middle 32 bits of the NTP timestamp of the last sender report; zero when there was none.
    pub last_sr: u32,
    /// Time since that sender report arrived, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<SenderReport<'a>> {
        let (fixed, blocks) = body.split_first_chunk::<24>()?;
        let word = |at: usize| be32(&fixed[4 * at..]);
        Some(SenderReport {
            ssrc: Ssrc(word(0)),
            ntp: u64::from(word(1)) << 32 | u64::from(word(2)),
            rtp_time: word(3),
            packet_count: word(4),
            octet_count: word(5),
            reports: ReportBlocks::parse(count, blocks)?,
        })
    }
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<ReceiverReport<'a>> {
        let (ssrc, blocks) = body.split_first_chunk::<4>()?;
        Some(ReceiverReport { ssrc: Ssrc(be32(ssrc)), reports: ReportBlocks::parse(count, blocks)? })
    }
}

impl<'a> ReportBlocks<'a> {
    fn parse(count: u8, bytes: &'a [u8]) -> Option<ReportBlocks<'a>> {
        // Profile-specific extensions may follow the blocks.
        bytes.as_chunks().0.get(..count as usize).map(ReportBlocks)
    }

    /// The blocks in wire order, at most 31.
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> + 'a {
        self.0.iter().map(ReportBlock::read)
    }
}

impl ReportBlock {
    /// Bytes on the wire.
    pub const LEN: usize = 24;

    fn read(bytes: &[u8; Self::LEN]) -> ReportBlock {
        let word = |at: usize| be32(&bytes[4 * at..]);
        ReportBlock {
            ssrc: Ssrc(word(0)),
            fraction_lost: bytes[4],
            // Shifting up and back extends the sign of the 24 bits.
            cumulative_lost: ((word(1) << 8) as i32) >> 8,
            highest_seq: word(2),
            jitter: word(3),
            last_sr: word(4),
            delay_since_last_sr: word(5),
        }
    }

    pub(super) fn write(&self) -> [u8; Self::LEN] {
        let lost = self.cumulative_lost.clamp(-0x0080_0000, 0x007F_FFFF) as u32 & 0x00FF_FFFF;
        let words = [
            self.ssrc.0,
            u32::from(self.fraction_lost) << 24 | lost,
            self.highest_seq,
            self.jitter,
            self.last_sr,
            self.delay_since_last_sr,
        ];
        let mut bytes = [0; Self::LEN];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

/// Source description (RFC 3550 §6.5).
#[derive(Debug, Clone, Copy)]
pub struct Sdes<'a> {
    chunks: u8,
    body: &'a [u8],
}

/// One item of a source description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SdesItem<'a> {
    pub ssrc: Ssrc,
    /// For example [`SdesItem::CNAME`].
    pub kind: u8,
    pub value: &'a [u8],
}

impl SdesItem<'_> {
    /// Canonical name (RFC 3550 §6.5.1).
    pub const CNAME: u8 = 1;
    /// Media identification (RFC 8843 §15.1).
    pub const MID: u8 = 15;
}

impl<'a> Sdes<'a> {
    pub(super) fn parse(chunks: u8, body: &'a [u8]) -> Option<Sdes<'a>> {
        let sdes = Sdes { chunks, body };
        let mut walk = sdes.walk();
        walk.by_ref().for_each(drop);
        (!walk.failed).then_some(sdes)
    }

    /// All items in wire order.
    pub fn items(&self) -> impl Iterator<Item = SdesItem<'a>> + 'a {
        self.walk()
    }

    fn walk(&self) -> SdesWalk<'a> {
        SdesWalk { body: self.body, at: 0, chunks_left: self.chunks, ssrc: None, failed: false }
    }
}

struct SdesWalk<'a> {
    body: &'a [u8],
    at: usize,
    chunks_left: u8,
    /// The chunk being read.
    ssrc: Option<Ssrc>,
    failed: bool,
}

impl<'a> SdesWalk<'a> {
    fn step(&mut self) -> Option<Option<SdesItem<'a>>> {
        let Some(ssrc) = self.ssrc else {
            let ssrc = self.body.get(self.at..self.at + 4)?;
            self.ssrc = Some(Ssrc(be32(ssrc)));
            self.at += 4;
            return Some(None);
        };
        let kind = *self.body.get(self.at)?;
        if kind == 0 {
            // A chunk ends with one to four zero bytes, on a word boundary.
            self.at = (self.at / 4 + 1) * 4;
            self.ssrc = None;
            self.chunks_left -= 1;
            return (self.at <= self.body.len()).then_some(None);
        }
        let len = *self.body.get(self.at + 1)? as usize;
        let value = self.body.get(self.at + 2..self.at + 2 + len)?;
        self.at += 2 + len;
        Some(Some(SdesItem { ssrc, kind, value }))
    }
}

impl<'a> Iterator for SdesWalk<'a> {
    type Item = SdesItem<'a>;

    fn next(&mut self) -> Option<SdesItem<'a>> {
        while self.chunks_left > 0 && !self.failed {
            match self.step() {
                Some(Some(item)) => return Some(item),
                Some(None) => {}
                None => self.failed = true,
            }
        }
        None
    }
}

/// Sources that leave (RFC 3550 §6.6).
#[derive(Debug, Clone, Copy)]
pub struct Bye<'a>(&'a [[u8; 4]]);

impl<'a> Bye<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Bye<'a>> {
        // A reason in text may follow.
        body.as_chunks().0.get(..count as usize).map(Bye)
    }

    /// The leaving sources, at most 31.
    pub fn ssrcs(&self) -> impl Iterator<Item = Ssrc> + 'a {
        self.0.iter().map(|ssrc| Ssrc(u32::from_be_bytes(*ssrc)))
    }
}

/// The first four bytes; callers pass slices they have measured.
fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
