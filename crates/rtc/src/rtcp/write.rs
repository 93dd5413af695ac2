//! Writing of RTCP packets, one after the other, into a slice.

use super::{REMB_NAME, ReportBlock, SdesItem, fmt, packet_type, transport_feedback};
use crate::Ssrc;

/// Most report blocks in one report, and most sources in a BYE (five bits of count).
pub const MAX_REPORT_BLOCKS: usize = 31;

/// Appends packets to a slice, which then holds a compound packet.
///
/// Every method either appends one whole packet and returns `true`, or appends nothing and returns
/// `false` because it does not fit: then send what is there and begin anew.
#[derive(Debug)]
pub struct RtcpWriter<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> RtcpWriter<'a> {
    /// An empty compound packet that grows to at most `buf.len()` bytes.
    pub fn new(buf: &'a mut [u8]) -> RtcpWriter<'a> {
        RtcpWriter { buf, len: 0 }
    }

    /// Bytes written so far, a multiple of four.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that can still be written.
    pub fn remaining(&self) -> usize {
        self.buf.len() - self.len
    }

    /// Sender report (RFC 3550 §6.4.1). `ntp` is 32.32 fixed point seconds since 1900. Blocks beyond
    /// [`MAX_REPORT_BLOCKS`] are left out.
    pub fn sender_report(
        &mut self,
        ssrc: Ssrc,
        ntp: u64,
        rtp_time: u32,
        packet_count: u32,
        octet_count: u32,
        blocks: &[ReportBlock],
    ) -> bool {
        let blocks = &blocks[..blocks.len().min(MAX_REPORT_BLOCKS)];
        self.packet(packet_type::SR, blocks.len() as u8, 24 + blocks.len() * ReportBlock::LEN, |body| {
            body.word(ssrc.0);
            body.word((ntp >> 32) as u32);
            body.word(ntp as u32);
            body.word(rtp_time);
            body.word(packet_count);
            body.word(octet_count);
            blocks.iter().for_each(|block| body.bytes(&block.write()));
        })
    }

    /// Receiver report (RFC 3550 §6.4.2). Blocks beyond [`MAX_REPORT_BLOCKS`] are left out.
    pub fn receiver_report(&mut self, ssrc: Ssrc, blocks: &[ReportBlock]) -> bool {
        let blocks = &blocks[..blocks.len().min(MAX_REPORT_BLOCKS)];
        self.packet(packet_type::RR, blocks.len() as u8, 4 + blocks.len() * ReportBlock::LEN, |body| {
            body.word(ssrc.0);
            blocks.iter().for_each(|block| body.bytes(&block.write()));
        })
    }

    /// Source description of one source with its canonical name and, if given, its media section
    /// (RFC 3550 §6.5, RFC 8843 §15.1). Values are cut after 255 bytes.
    pub fn sdes(&mut self, ssrc: Ssrc, cname: &str, mid: Option<&str>) -> bool {
        let cut = |value: &str| value.len().min(255);
        let items = 2 + cut(cname) + mid.map_or(0, |mid| 2 + cut(mid));
        // At least one zero byte ends the chunk.
        let len = (4 + items + 1).next_multiple_of(4);
        self.packet(packet_type::SDES, 1, len, |body| {
            body.word(ssrc.0);
            let items = [(SdesItem::CNAME, Some(cname)), (SdesItem::MID, mid)];
            for (kind, value) in items.into_iter().filter_map(|(kind, value)| Some((kind, value?))) {
                body.bytes(&[kind, cut(value) as u8]);
                body.bytes(&value.as_bytes()[..cut(value)]);
            }
        })
    }

    /// Sources that leave (RFC 3550 §6.6). Sources beyond [`MAX_REPORT_BLOCKS`] are left out.
    pub fn bye(&mut self, ssrcs: &[Ssrc]) -> bool {
        let ssrcs = &ssrcs[..ssrcs.len().min(MAX_REPORT_BLOCKS)];
        self.packet(packet_type::BYE, ssrcs.len() as u8, 4 * ssrcs.len(), |body| {
            ssrcs.iter().for_each(|ssrc| body.word(ssrc.0));
        })
    }

    /// Generic NACK (RFC 4585 §6.2.1). Sequence numbers in ascending order pack best: up to 17 in four
    /// bytes. `false` also when `seqs` is empty.
    pub fn nack(&mut self, sender: Ssrc, media: Ssrc, seqs: &[u16]) -> bool {
        let words = nack_words(seqs).count();
        words > 0
            && self.feedback(packet_type::RTPFB, fmt::NACK, sender, media, 4 * words, |body| {
                nack_words(seqs).for_each(|word| body.word(word));
            })
    }

    /// Picture loss indication (RFC 4585 §6.3.1).
    pub fn pli(&mut self, sender: Ssrc, media: Ssrc) -> bool {
        self.feedback(packet_type::PSFB, fmt::PLI, sender, media, 0, |_| {})
    }

    /// Full intra request for one stream (RFC 5104 §4.3.1); each new request counts `command` up.
    pub fn fir(&mut self, sender: Ssrc, media: Ssrc, command: u8) -> bool {
        self.feedback(packet_type::PSFB, fmt::FIR, sender, Ssrc(0), 8, |body| {
            body.word(media.0);
            body.word(u32::from(command) << 24);
        })
    }

    /// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb). The wire keeps 18 significant
    /// bits, rounded down. Streams beyond 255 are left out.
    pub fn remb(&mut self, sender: Ssrc, bitrate_bps: u64, ssrcs: &[Ssrc]) -> bool {
        let ssrcs = &ssrcs[..ssrcs.len().min(255)];
        let exponent = (64 - bitrate_bps.leading_zeros()).saturating_sub(18);
        let mantissa = (bitrate_bps >> exponent) as u32;
        self.feedback(packet_type::PSFB, fmt::APPLICATION, sender, Ssrc(0), 8 + 4 * ssrcs.len(), |body| {
            body.bytes(&REMB_NAME);
            body.word((ssrcs.len() as u32) << 24 | exponent << 18 | mantissa);
            ssrcs.iter().for_each(|ssrc| body.word(ssrc.0));
        })
    }

    /// Transport-wide feedback; returns how many of `arrivals` it tells, zero when nothing fits.
    ///
    /// `arrivals` are the arrival times, in ticks of 250 µs on our own clock, of the sequence numbers
    /// from `base_seq`; `None` is lost. Call again with the rest until all are told: a packet ends early
    /// when it is full or when two arrivals lie more than 8 s apart.
    pub fn transport_feedback(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        base_seq: u16,
        feedback_count: u8,
        arrivals: &[Option<i64>],
    ) -> usize {
        // Header and the two sources; the end is kept on a word boundary.
        let room = (self.remaining() & !3).saturating_sub(12);
        let at = self.len + 12;
        let fci = self.buf.get_mut(at..at + room).unwrap_or_default();
        let (told, fci_len) = transport_feedback::encode(fci, base_seq, feedback_count, arrivals);
        if told == 0 {
            return 0;
        }
        let end = at + fci_len;
        self.buf[end..end.next_multiple_of(4)].fill(0);
        let len = fci_len.next_multiple_of(4);
        self.feedback(packet_type::RTPFB, fmt::TRANSPORT_CC, sender, media, len, |body| body.len += len);
        told
    }

    fn feedback(
        &mut self,
        packet_type: u8,
        fmt: u8,
        sender: Ssrc,
        media: Ssrc,
        fci_len: usize,
        write_fci: impl FnOnce(&mut Body<'_>),
    ) -> bool {
        self.packet(packet_type, fmt, 8 + fci_len, |body| {
            body.word(sender.0);
            body.word(media.0);
            write_fci(body);
        })
    }

    /// Appends header and body, the latter filled up with zeros to `body_len`, a multiple of four.
    fn packet(
        &mut self,
        packet_type: u8,
        count: u8,
        body_len: usize,
        write_body: impl FnOnce(&mut Body<'_>),
    ) -> bool {
        debug_assert!(body_len.is_multiple_of(4), "RTCP packets are whole words");
        let Some(packet) = self.buf.get_mut(self.len..self.len + 4 + body_len) else { return false };
        let [words_high, words_low] = ((body_len / 4) as u16).to_be_bytes();
        packet[..4].copy_from_slice(&[0x80 | count, packet_type, words_high, words_low]);
        let mut body = Body { buf: &mut packet[4..], len: 0 };
        write_body(&mut body);
        let written = body.len;
        packet[4 + written..].fill(0);
        self.len += 4 + body_len;
        true
    }
}

struct Body<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl Body<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.buf[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_be_bytes());
    }
}

/// Packs sequence numbers into pairs of first number and bitmask of the sixteen that follow.
fn nack_words(seqs: &[u16]) -> impl Iterator<Item = u32> + '_ {
    let mut rest = seqs;
    std::iter::from_fn(move || {
        let (&pid, mut following) = rest.split_first()?;
        let mut mask = 0u16;
        while let Some((&seq, after)) = following.split_first() {
            match seq.wrapping_sub(pid) {
                0 => {}
                distance @ 1..=16 => mask |= 1 << (distance - 1),
                _ => break,
            }
            following = after;
        }
        rest = following;
        Some(u32::from(pid) << 16 | u32::from(mask))
    })
}
