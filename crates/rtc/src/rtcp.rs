//! RTCP: control packets in, control packets out.
//!
//! [`parse_compound`] walks a decrypted datagram and yields borrowed views ([`RtcpPacket`]); nothing is
//! allocated. [`RtcpWriter`] appends packets to a slice. The crate `rtc-rtcp` was considered and left:
//! its packets are boxed trait objects with vectors inside, one allocation per packet and per list, and
//! it knows neither bounded writing into a datagram slot nor skipping of unknown types. What Sala needs
//! of RTCP is these few hundred lines.

mod report;
mod transport_feedback;
mod write;

pub use report::{Bye, ReceiverReport, ReportBlock, ReportBlocks, Sdes, SdesItem, SenderReport};
pub use transport_feedback::{MAX_STATUSES, StatusIter, TICKS_PER_REFERENCE, TransportFeedback};
pub use write::{MAX_REPORT_BLOCKS, RtcpWriter};

use crate::Ssrc;

/// Packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611).
pub(crate) mod packet_type {
    pub(crate) const SR: u8 = 200;
    pub(crate) const RR: u8 = 201;
    pub(crate) const SDES: u8 = 202;
    pub(crate) const BYE: u8 = 203;
    pub(crate) const RTPFB: u8 = 205;
    pub(crate) const PSFB: u8 = 206;
}

/// Feedback message types, the `FMT` field (RFC 4585 §6.2 and §6.3, RFC 5104, transport-cc draft).
pub(crate) mod fmt {
    pub(crate) const NACK: u8 = 1;
    pub(crate) const TRANSPORT_CC: u8 = 15;
    pub(crate) const PLI: u8 = 1;
    pub(crate) const FIR: u8 = 4;
    pub(crate) const APPLICATION: u8 = 15;
}

const REMB_NAME: [u8; 4] = *b"REMB";

/// Why bytes are not RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    #[error("the RTCP packet claims more bytes than there are; drop the rest of the datagram")]
    Truncated,
    #[error("the RTCP version is not 2; drop the rest of the datagram")]
    Version,
    #[error("the RTCP padding does not fit its packet; drop the rest of the datagram")]
    Padding,
    #[error("RTCP packet type {0} is shorter than its contents; skip it")]
    Inconsistent(u8),
    #[error("the transport-cc feedback uses a reserved symbol; skip it")]
    ReservedSymbol,
}

/// One packet of a compound datagram.
#[derive(Debug, Clone, Copy)]
pub enum RtcpPacket<'a> {
    SenderReport(SenderReport<'a>),
    ReceiverReport(ReceiverReport<'a>),
    Sdes(Sdes<'a>),
    Bye(Bye<'a>),
    /// Generic NACK (RFC 4585 §6.2.1).
    Nack(Nack<'a>),
    /// Picture loss indication (RFC 4585 §6.3.1).
    Pli {
        sender: Ssrc,
        media: Ssrc,
    },
    /// Full intra request (RFC 5104 §4.3.1).
    Fir(Fir<'a>),
    /// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb).
    Remb(Remb<'a>),
    TransportFeedback(TransportFeedback<'a>),
    /// APP, XR, and whatever else is well framed but of no use here.
    Other {
        packet_type: u8,
        /// The five bits that count reports or tell the feedback message type.
        count: u8,
    },
}

/// Walks the packets of a decrypted RTCP datagram, compound or reduced-size (RFC 5506).
///
/// A packet whose contents contradict its length yields an error and is skipped; broken framing yields
/// an error and ends the walk.
pub fn parse_compound(datagram: &[u8]) -> CompoundIter<'_> {
    CompoundIter { rest: datagram }
}

/// See [`parse_compound`].
#[derive(Debug, Clone)]
pub struct CompoundIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for CompoundIter<'a> {
    type Item = Result<RtcpPacket<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        Some(split_packet(rest).and_then(|(frame, rest)| {
            self.rest = rest;
            RtcpPacket::parse(frame)
        }))
    }
}

/// One packet without its four byte header and its padding.
struct Frame<'a> {
    packet_type: u8,
    count: u8,
    body: &'a [u8],
}

fn split_packet(bytes: &[u8]) -> Result<(Frame<'_>, &[u8]), RtcpError> {
    let &[b0, packet_type, l0, l1, ..] = bytes else { return Err(RtcpError::Truncated) };
    if b0 >> 6 != 2 {
        return Err(RtcpError::Version);
    }
    let len = 4 * (u16::from_be_bytes([l0, l1]) as usize + 1);
    let (packet, rest) = bytes.split_at_checked(len).ok_or(RtcpError::Truncated)?;
    let mut body = &packet[4..];
    if b0 & 0x20 != 0 {
        let padding = *body.last().ok_or(RtcpError::Padding)? as usize;
        if padding == 0 || padding > body.len() {
            return Err(RtcpError::Padding);
        }
        body = &body[..body.len() - padding];
    }
    Ok((Frame { packet_type, count: b0 & 0x1F, body }, rest))
}

impl<'a> RtcpPacket<'a> {
    fn parse(frame: Frame<'a>) -> Result<RtcpPacket<'a>, RtcpError> {
        let Frame { packet_type, count, body } = frame;
        let inconsistent = RtcpError::Inconsistent(packet_type);
        let packet = match (packet_type, count) {
            (packet_type::SR, _) => SenderReport::parse(count, body).map(RtcpPacket::SenderReport),
            (packet_type::RR, _) => ReceiverReport::parse(count, body).map(RtcpPacket::ReceiverReport),
            (packet_type::SDES, _) => Sdes::parse(count, body).map(RtcpPacket::Sdes),
            (packet_type::BYE, _) => Bye::parse(count, body).map(RtcpPacket::Bye),
            (packet_type::RTPFB, fmt::NACK) => {
                feedback(body).map(|(sender, media, fci)| RtcpPacket::Nack(Nack { sender, media, fci }))
            }
            (packet_type::RTPFB, fmt::TRANSPORT_CC) => {
                let (sender, media, fci) = feedback(body).ok_or(inconsistent)?;
                Some(RtcpPacket::TransportFeedback(TransportFeedback::parse(sender, media, fci)?))
            }
            (packet_type::PSFB, fmt::PLI) => {
                feedback(body).map(|(sender, media, _)| RtcpPacket::Pli { sender, media })
            }
            (packet_type::PSFB, fmt::FIR) => {
                feedback(body).map(|(sender, _, fci)| RtcpPacket::Fir(Fir { sender, fci }))
            }
            (packet_type::PSFB, fmt::APPLICATION) => match feedback(body) {
                Some((sender, _, [b'R', b'E', b'M', b'B', fci @ ..])) => {
                    Remb::parse(sender, fci).map(RtcpPacket::Remb)
                }
                Some(_) => Some(RtcpPacket::Other { packet_type, count }),
                None => None,
            },
            _ => Some(RtcpPacket::Other { packet_type, count }),
        };
        packet.ok_or(inconsistent)
    }
}

/// Splits a feedback message (RFC 4585 §6.1) into sender, media source and control information.
fn feedback(body: &[u8]) -> Option<(Ssrc, Ssrc, &[u8])> {
    let (sender, body) = body.split_first_chunk::<4>()?;
    let (media, fci) = body.split_first_chunk::<4>()?;
    Some((Ssrc(u32::from_be_bytes(*sender)), Ssrc(u32::from_be_bytes(*media)), fci))
}

/// Generic NACK: sequence numbers that were not received.
#[derive(Debug, Clone, Copy)]
pub struct Nack<'a> {
    pub sender: Ssrc,
    pub media: Ssrc,
    fci: &'a [u8],
}

impl<'a> Nack<'a> {
    /// The missing sequence numbers in wire order; at most 17 for each four bytes.
    pub fn seqs(&self) -> impl Iterator<Item = u16> + 'a {
        self.fci.as_chunks::<4>().0.iter().flat_map(|&[p0, p1, b0, b1]| {
            let pid = u16::from_be_bytes([p0, p1]);
            let blp = u32::from(u16::from_be_bytes([b0, b1])) << 1 | 1;
            (0..17).filter(move |bit| blp >> bit & 1 != 0).map(move |bit| pid.wrapping_add(bit))
        })
    }
}

/// Full intra request: streams that must begin anew.
#[derive(Debug, Clone, Copy)]
pub struct Fir<'a> {
    pub sender: Ssrc,
    fci: &'a [u8],
}

impl<'a> Fir<'a> {
    /// Stream and command sequence number; a repeated number is a repeated request.
    pub fn entries(&self) -> impl Iterator<Item = (Ssrc, u8)> + 'a {
        let entries = self.fci.as_chunks::<8>().0.iter();
        entries.map(|&[s0, s1, s2, s3, seq, ..]| (Ssrc(u32::from_be_bytes([s0, s1, s2, s3])), seq))
    }
}

/// Receiver estimated maximum bitrate.
#[derive(Debug, Clone, Copy)]
pub struct Remb<'a> {
    pub sender: Ssrc,
    pub bitrate_bps: u64,
    ssrcs: &'a [u8],
}

impl<'a> Remb<'a> {
    fn parse(sender: Ssrc, fci: &'a [u8]) -> Option<Remb<'a>> {
        let (&[count, a, b, c], ssrcs) = fci.split_first_chunk::<4>()?;
        let mantissa = u64::from(a & 0x03) << 16 | u64::from(b) << 8 | u64::from(c);
        let exponent = u32::from(a >> 2);
        // Exponents beyond 46 overflow 64 bits: an absurd estimate reads as the largest number.
        let bitrate_bps = if mantissa.leading_zeros() < exponent { u64::MAX } else { mantissa << exponent };
        Some(Remb { sender, bitrate_bps, ssrcs: ssrcs.get(..4 * count as usize)? })
    }

    /// The streams that share the estimate.
    pub fn ssrcs(&self) -> impl Iterator<Item = Ssrc> + 'a {
        self.ssrcs.as_chunks::<4>().0.iter().map(|ssrc| Ssrc(u32::from_be_bytes(*ssrc)))
    }
}

#[cfg(test)]
mod tests;
