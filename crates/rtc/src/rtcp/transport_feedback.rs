//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1):
//! which packets of a transport arrived, and when.
//!
//! The wire has two parallel lists: chunks, which say for each sequence number "lost", "small delta" or
//! "large delta", and the deltas themselves. Times count in ticks of 250 µs.

use super::RtcpError;
use crate::Ssrc;

/// Ticks of 250 µs in one unit of the reference time, which is 64 ms.
pub const TICKS_PER_REFERENCE: i64 = 256;

/// Most statuses that one feedback packet is built with. A full datagram of large deltas holds fewer;
/// the bound keeps the builder's scratch on the stack.
pub const MAX_STATUSES: usize = 2048;

/// Statuses in a vector chunk of one-bit and of two-bit symbols.
const ONE_BIT_LEN: usize = 14;
const TWO_BIT_LEN: usize = 7;
/// Longest run that a run-length chunk holds (13 bits).
const MAX_RUN: usize = 0x1FFF;
/// Fixed control information: base, count, reference time and feedback count.
const FIXED_LEN: usize = 8;

const LOST: u8 = 0;
const SMALL: u8 = 1;
const LARGE: u8 = 2;

/// A feedback packet whose chunks and deltas agree.
#[derive(Debug, Clone, Copy)]
pub struct TransportFeedback<'a> {
    pub sender: Ssrc,
    pub media: Ssrc,
    /// Transport-wide sequence number of the first status.
    pub base_seq: u16,
    /// Statuses in the packet.
    pub status_count: u16,
    /// Origin of the first delta in units of 64 ms, 24 bits signed.
    pub reference_time: i32,
    /// Counts feedback packets, to notice lost ones.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportFeedback<'a> {
    pub(super) fn parse(sender: Ssrc, media: Ssrc, fci: &'a [u8]) -> Result<Self, RtcpError> {
        let inconsistent = RtcpError::Inconsistent(super::packet_type::RTPFB);
        let (&[b0, b1, c0, c1, r0, r1, r2, feedback_count], rest) =
            fci.split_first_chunk::<FIXED_LEN>().ok_or(inconsistent)?;
        let status_count = u16::from_be_bytes([c0, c1]);
        let (mut covered, mut chunk_bytes, mut delta_bytes) = (0, 0, 0);
        while covered < status_count as usize {
            let chunk = rest.get(chunk_bytes..chunk_bytes + 2).ok_or(inconsistent)?;
            let chunk = Chunk(u16::from_be_bytes([chunk[0], chunk[1]]));
            let len = chunk.len().min(status_count as usize - covered);
            delta_bytes += chunk.delta_bytes(len).ok_or(RtcpError::ReservedSymbol)?;
            // An empty run makes no progress, but it consumes bytes.
            covered += len;
            chunk_bytes += 2;
        }
        let (chunks, deltas) = rest.split_at(chunk_bytes);
        Ok(TransportFeedback {
            sender,
            media,
            base_seq: u16::from_be_bytes([b0, b1]),
            status_count,
            reference_time: i32::from_be_bytes([r0, r1, r2, 0]) >> 8,
            feedback_count,
            chunks,
            deltas: deltas.get(..delta_bytes).ok_or(inconsistent)?,
        })
    }

    /// Origin of the first delta in ticks of 250 µs.
    pub fn reference_ticks(&self) -> i64 {
        i64::from(self.reference_time) * TICKS_PER_REFERENCE
    }

    /// Sequence number and, if the packet arrived, the ticks of 250 µs since the previous arrival in
    /// this feedback (since [`Self::reference_ticks`] for the first).
    pub fn statuses(&self) -> StatusIter<'a> {
        StatusIter {
            seq: self.base_seq,
            left: self.status_count as usize,
            chunk: Chunk(0),
            at: 0,
            chunk_len: 0,
            chunks: self.chunks,
            deltas: self.deltas,
        }
    }
}

/// See [`TransportFeedback::statuses`].
#[derive(Debug, Clone)]
pub struct StatusIter<'a> {
    seq: u16,
    left: usize,
    chunk: Chunk,
    at: usize,
    chunk_len: usize,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl Iterator for StatusIter<'_> {
    type Item = (u16, Option<i16>);

    fn next(&mut self) -> Option<(u16, Option<i16>)> {
        if self.left == 0 {
            return None;
        }
        while self.at == self.chunk_len {
            let (&chunk, rest) = self.chunks.split_first_chunk::<2>()?;
            self.chunks = rest;
            self.chunk = Chunk(u16::from_be_bytes(chunk));
            self.chunk_len = self.chunk.len();
            self.at = 0;
        }
        let delta = match self.chunk.symbol(self.at) {
            SMALL => {
                let (&delta, rest) = self.deltas.split_first()?;
                self.deltas = rest;
                Some(i16::from(delta))
            }
            LARGE => {
                let (&delta, rest) = self.deltas.split_first_chunk::<2>()?;
                self.deltas = rest;
                Some(i16::from_be_bytes(delta))
            }
            _ => None,
        };
        let status = (self.seq, delta);
        self.seq = self.seq.wrapping_add(1);
        self.at += 1;
        self.left -= 1;
        Some(status)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

/// A packet status chunk (§3.1.3, §3.1.4).
#[derive(Debug, Clone, Copy)]
struct Chunk(u16);

impl Chunk {
    fn run(symbol: u8, len: usize) -> Chunk {
        Chunk(u16::from(symbol) << 13 | len as u16)
    }

    /// `symbols` has at most as many as the vector holds; what is missing reads as lost.
    fn vector(symbols: &[u8], two_bit: bool) -> Chunk {
        let (head, width, top) = if two_bit { (0xC000, 2, 12) } else { (0x8000, 1, 13) };
        let bits = symbols.iter().zip(0u16..).map(|(&symbol, at)| u16::from(symbol) << (top - width * at));
        Chunk(bits.fold(head, |chunk, bits| chunk | bits))
    }

    fn len(self) -> usize {
        match self.0 >> 14 {
            0b10 => ONE_BIT_LEN,
            0b11 => TWO_BIT_LEN,
            _ => (self.0 & 0x1FFF) as usize,
        }
    }

    /// `at` is less than [`Self::len`].
    fn symbol(self, at: usize) -> u8 {
        let symbol = match self.0 >> 14 {
            0b10 => self.0 >> (13 - at) & 1,
            0b11 => self.0 >> (12 - 2 * at) & 3,
            _ => self.0 >> 13 & 3,
        };
        symbol as u8
    }

    /// Bytes of deltas that the first `len` symbols ask for; `None` for the reserved symbol.
    fn delta_bytes(self, len: usize) -> Option<usize> {
        let bytes_of = |symbol: u8| (symbol <= LARGE).then_some(symbol as usize);
        if self.0 & 0x8000 == 0 {
            return Some(bytes_of(self.symbol(0))? * len);
        }
        (0..len).map(|at| bytes_of(self.symbol(at))).sum()
    }
}

/// Encodes the control information of a feedback packet into `out`, without padding.
///
/// `arrivals` are the arrival times, in ticks of 250 µs on the receiver's own clock, of the sequence
/// numbers from `base_seq`; `None` is lost. Returns how many statuses were taken and how many bytes were
/// written; the rest belongs in a further packet. Fewer are taken when `out` is full, when two arrivals
/// lie more than 8 s apart, or beyond [`MAX_STATUSES`].
pub(super) fn encode(
    out: &mut [u8],
    base_seq: u16,
    feedback_count: u8,
    arrivals: &[Option<i64>],
) -> (usize, usize) {
    let reference = arrivals.iter().flatten().next().map_or(0, |first| first.div_euclid(TICKS_PER_REFERENCE));
    let mut symbols = [LOST; MAX_STATUSES];
    let mut deltas = [0i16; MAX_STATUSES];
    let (mut count, mut delta_bytes, mut previous) = (0, 0, reference * TICKS_PER_REFERENCE);
    for arrival in arrivals.iter().take(MAX_STATUSES) {
        let (symbol, delta) = match arrival.map(|at| i16::try_from(at - previous)) {
            None => (LOST, 0),
            Some(Ok(delta @ 0..=255)) => (SMALL, delta),
            Some(Ok(delta)) => (LARGE, delta),
            Some(Err(_)) => break,
        };
        // Two-bit vectors are the longest encoding of the statuses.
        let chunk_bytes = 2 * (count / TWO_BIT_LEN + 1);
        if FIXED_LEN + chunk_bytes + delta_bytes + symbol as usize > out.len() {
            break;
        }
        (symbols[count], deltas[count]) = (symbol, delta);
        previous = arrival.unwrap_or(previous);
        delta_bytes += symbol as usize;
        count += 1;
    }
    if count == 0 {
        return (0, 0);
    }
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        out[len..len + bytes.len()].copy_from_slice(bytes);
        len += bytes.len();
        len
    };
    put(&base_seq.to_be_bytes());
    put(&(count as u16).to_be_bytes());
    put(&((reference as u32) << 8 | u32::from(feedback_count)).to_be_bytes());
    let mut rest = &symbols[..count];
    while !rest.is_empty() {
        let (chunk, taken) = next_chunk(rest);
        put(&chunk.0.to_be_bytes());
        rest = &rest[taken..];
    }
    for (symbol, delta) in symbols.into_iter().zip(deltas).take(count) {
        match symbol {
            SMALL => put(&[delta as u8]),
            LARGE => put(&delta.to_be_bytes()),
            _ => continue,
        };
    }
    (count, len)
}

/// The chunk that covers most of the coming statuses.
fn next_chunk(symbols: &[u8]) -> (Chunk, usize) {
    let first = symbols[0];
    let run = symbols.iter().take(MAX_RUN).take_while(|&&symbol| symbol == first).count();
    let one_bit = &symbols[..symbols.len().min(ONE_BIT_LEN)];
    let two_bit = &symbols[..symbols.len().min(TWO_BIT_LEN)];
    let fits_one_bit = !one_bit.contains(&LARGE);
    let vector = if fits_one_bit { one_bit } else { two_bit };
    if run >= vector.len() {
        (Chunk::run(first, run), run)
    } else {
        (Chunk::vector(vector, !fits_one_bit), vector.len())
    }
}
