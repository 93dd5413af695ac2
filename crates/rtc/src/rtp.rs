//! The RTP header on the wire: parsing it once at ingress, writing it at egress, and telling RTP from
//! everything else that shares the port.
//!
//! [`RtpHeader`] is a small copyable summary with byte ranges into the packet; nothing is allocated and
//! nothing borrowed. The header stays in the clear under SRTP, so it is parsed *before* decryption;
//! what lies in the encrypted part (the padding count) is asked for afterwards through
//! [`RtpHeader::payload`]. [`HeaderWriter`] is the egress half, used once per forwarded packet.

use std::ops::Range;

use crate::{Pt, Ssrc};

/// Bytes of the fixed part of the header (RFC 3550 §5.1).
pub const FIXED_HEADER_LEN: usize = 12;

/// `defined by profile` value of one-byte header extensions (RFC 8285 §4.2).
pub const ONE_BYTE_PROFILE: u16 = 0xBEDE;

/// `defined by profile` value of two-byte header extensions, without its four `appbits` (RFC 8285 §4.3).
pub const TWO_BYTE_PROFILE: u16 = 0x1000;

/// Longest element in the one-byte form, in bytes.
pub const ONE_BYTE_MAX_LEN: usize = 16;

/// Largest id in the one-byte form.
pub const ONE_BYTE_MAX_ID: u8 = 14;

/// Why bytes are not an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    #[error("the packet ends inside its RTP header; drop it")]
    Truncated,
    #[error("the packet's RTP version is not 2; drop it, it is not RTP")]
    Version,
    #[error("the RTP padding is longer than the payload or zero; drop the packet")]
    Padding,
}

/// What shares a WebRTC port, told apart by the first bytes (RFC 7983, RFC 5761).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatagramKind {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    /// ZRTP, TURN channels, QUIC, keep-alives and noise.
    Unknown,
}

/// Tells what a datagram is from its first two bytes (RFC 7983 §7).
#[inline]
pub fn classify(datagram: &[u8]) -> DatagramKind {
    match datagram {
        [0..=3, ..] => DatagramKind::Stun,
        [20..=63, ..] => DatagramKind::Dtls,
        [first @ 128..=191, second, ..] if is_rtcp([*first, *second]) => DatagramKind::Rtcp,
        [128..=191, _, ..] => DatagramKind::Rtp,
        _ => DatagramKind::Unknown,
    }
}

/// Whether a packet of the RTP family is RTCP: packet types 192..=223 (RFC 5761 §4).
#[inline]
pub fn is_rtcp(first_two: [u8; 2]) -> bool {
    (192..=223).contains(&first_two[1])
}

/// An RTP header, parsed (RFC 3550 §5.1). Ranges and lengths are bytes from the start of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader {
    pub marker: bool,
    pub pt: Pt,
    pub seq: u16,
    /// In ticks of the payload type's clock.
    pub timestamp: u32,
    pub ssrc: Ssrc,
    /// Bytes before the payload: fixed part, CSRCs and the extension block.
    pub header_len: usize,
    /// The P bit: the payload ends in padding. Its length is known only after decryption.
    pub padding: bool,
    /// The extension block's profile; zero when there is none.
    pub ext_profile: u16,
    /// Where the extension elements lie; empty when there are none.
    ext_start: u16,
    ext_end: u16,
}

impl RtpHeader {
    /// Parses the header of an RTP or SRTP packet.
    pub fn parse(packet: &[u8]) -> Result<RtpHeader, RtpError> {
        let (fixed, _) = packet.split_first_chunk::<FIXED_HEADER_LEN>().ok_or(RtpError::Truncated)?;
        let [b0, b1, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if b0 >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let mut header_len = FIXED_HEADER_LEN + 4 * (b0 & 0x0F) as usize;
        let (mut ext_profile, mut ext_start, mut ext_end) = (0, 0, 0);
        if b0 & 0x10 != 0 {
            let block = packet.get(header_len..header_len + 4).ok_or(RtpError::Truncated)?;
            ext_profile = u16::from_be_bytes([block[0], block[1]]);
            let words = u16::from_be_bytes([block[2], block[3]]) as usize;
            let start = header_len + 4;
            header_len = start + 4 * words;
            ext_start = start as u16;
            ext_end = u16::try_from(header_len).map_err(|_| RtpError::Truncated)?;
        }
        if packet.len() < header_len {
            return Err(RtpError::Truncated);
        }
        Ok(RtpHeader {
            marker: b1 & 0x80 != 0,
            pt: Pt(b1 & 0x7F),
            seq: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: Ssrc(u32::from_be_bytes([c0, c1, c2, c3])),
            header_len,
            padding: b0 & 0x20 != 0,
            ext_profile,
            ext_start,
            ext_end,
        })
    }

    /// Where the extension elements lie in the packet; empty when there are none.
    pub fn ext_range(&self) -> Range<usize> {
        self.ext_start as usize..self.ext_end as usize
    }

    /// The extension elements of `packet`, which must be the packet this header was parsed from.
    #[inline]
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> ExtIter<'a> {
        let form = match self.ext_profile {
            ONE_BYTE_PROFILE => Some(ExtForm::OneByte),
            profile if profile & 0xFFF0 == TWO_BYTE_PROFILE => Some(ExtForm::TwoByte),
            _ => None,
        };
        let rest = form.and_then(|_| packet.get(self.ext_range())).unwrap_or_default();
        ExtIter { rest, offset: self.ext_start as usize, form: form.unwrap_or(ExtForm::OneByte) }
    }

    /// Where the payload lies in a *decrypted* packet, without its padding.
    ///
    /// `packet` ends where the plaintext ends. An empty range means padding only.
    pub fn payload(&self, packet: &[u8]) -> Result<Range<usize>, RtpError> {
        let body = packet.len().checked_sub(self.header_len).ok_or(RtpError::Truncated)?;
        let padding_len = match (self.padding, packet.last()) {
            (true, Some(&len)) if len > 0 && len as usize <= body => len as usize,
            (true, _) => return Err(RtpError::Padding),
            (false, _) => 0,
        };
        Ok(self.header_len..packet.len() - padding_len)
    }
}

/// The two element forms of an extension block (RFC 8285 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtForm {
    /// Ids 1..=14, elements of 1..=16 bytes.
    OneByte,
    /// Ids 1..=255, elements of 0..=255 bytes.
    TwoByte,
}

impl ExtForm {
    /// The smallest form for elements of ids up to `max_id` and lengths within `1..=max_len`.
    pub fn fitting(max_id: u8, max_len: usize) -> ExtForm {
        if max_id <= ONE_BYTE_MAX_ID && max_len <= ONE_BYTE_MAX_LEN {
            ExtForm::OneByte
        } else {
            ExtForm::TwoByte
        }
    }
}

/// One header extension element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtElement<'a> {
    pub id: u8,
    pub data: &'a [u8],
    /// Where `data` begins, in bytes from the start of the packet.
    pub offset: usize,
}

/// The elements of an extension block, in wire order. Ends at the first malformed element, as
/// RFC 8285 §4.2 asks.
#[derive(Debug, Clone)]
pub struct ExtIter<'a> {
    rest: &'a [u8],
    offset: usize,
    form: ExtForm,
}

impl<'a> Iterator for ExtIter<'a> {
    type Item = ExtElement<'a>;

    #[inline]
    fn next(&mut self) -> Option<ExtElement<'a>> {
        let zeros = self.rest.iter().take_while(|&&byte| byte == 0).count();
        let (id, len, head) = match (self.form, &self.rest[zeros..]) {
            (_, []) => return None,
            // Id 15 is reserved and ends the block.
            (ExtForm::OneByte, [0xF0..=0xFF, ..]) => return None,
            // Id 0 with a length is padding of an unknown kind: nothing after it can be trusted.
            (ExtForm::OneByte, [0x01..=0x0F, ..]) => return None,
            (ExtForm::OneByte, [head, ..]) => (head >> 4, (head & 0x0F) as usize + 1, 1),
            (ExtForm::TwoByte, [id, len, ..]) => (*id, *len as usize, 2),
            (ExtForm::TwoByte, [_]) => return None,
        };
        let start = zeros + head;
        let Some(data) = self.rest.get(start..start + len) else {
            self.rest = &[];
            return None;
        };
        let element = ExtElement { id, data, offset: self.offset + start };
        self.rest = &self.rest[start + len..];
        self.offset += start + len;
        Some(element)
    }
}

/// The fields of an outgoing header; CSRCs are never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderFields {
    pub marker: bool,
    /// Sets the P bit; the caller writes the padding itself.
    pub padding: bool,
    pub pt: Pt,
    pub seq: u16,
    pub timestamp: u32,
    pub ssrc: Ssrc,
}

impl From<&RtpHeader> for HeaderFields {
    fn from(header: &RtpHeader) -> HeaderFields {
        HeaderFields {
            marker: header.marker,
            padding: header.padding,
            pt: header.pt,
            seq: header.seq,
            timestamp: header.timestamp,
            ssrc: header.ssrc,
        }
    }
}

/// Writes one RTP header straight into a datagram slot: fields first, then extension elements one by
/// one, then [`HeaderWriter::finish`].
///
/// The form is chosen by the caller, once, because only the caller knows its longest element:
/// [`ExtForm::fitting`]. Writing past the end of the slot is a caller's bug and panics; a slot of
/// [`crate::MAX_DATAGRAM`] bytes holds every header that Sala writes.
#[derive(Debug)]
pub struct HeaderWriter<'a> {
    buf: &'a mut [u8],
    len: usize,
    form: ExtForm,
}

/// Where the first extension element begins.
const EXT_ELEMENTS_AT: usize = FIXED_HEADER_LEN + 4;

impl<'a> HeaderWriter<'a> {
    /// Writes the fixed part.
    #[inline]
    pub fn new(buf: &'a mut [u8], fields: &HeaderFields, form: ExtForm) -> HeaderWriter<'a> {
        let fixed = buf.first_chunk_mut::<FIXED_HEADER_LEN>().expect("a slot holds an RTP header");
        let word = 0x8000_0000
            | u32::from(fields.padding) << 29
            | u32::from(fields.marker) << 23
            | u32::from(fields.pt.0 & 0x7F) << 16
            | u32::from(fields.seq);
        fixed[0..4].copy_from_slice(&word.to_be_bytes());
        fixed[4..8].copy_from_slice(&fields.timestamp.to_be_bytes());
        fixed[8..12].copy_from_slice(&fields.ssrc.0.to_be_bytes());
        HeaderWriter { buf, len: EXT_ELEMENTS_AT, form }
    }

    /// Appends an element and returns where its data begins, so that it can be patched later.
    ///
    /// In the one-byte form `id` is 1..=14 and `data` 1..=16 bytes; in the two-byte form 1..=255 and
    /// 0..=255.
    #[inline]
    pub fn ext(&mut self, id: u8, data: &[u8]) -> usize {
        let at = match self.form {
            ExtForm::OneByte => {
                debug_assert!((1..=ONE_BYTE_MAX_ID).contains(&id), "id {id} needs the two-byte form");
                debug_assert!((1..=ONE_BYTE_MAX_LEN).contains(&data.len()), "needs the two-byte form");
                self.buf[self.len] = id << 4 | (data.len().wrapping_sub(1) & 0x0F) as u8;
                self.len + 1
            }
            ExtForm::TwoByte => {
                debug_assert!(id != 0 && data.len() <= 255, "no such element");
                self.buf[self.len..self.len + 2].copy_from_slice(&[id, data.len() as u8]);
                self.len + 2
            }
        };
        self.len = at + data.len();
        self.buf[at..self.len].copy_from_slice(data);
        at
    }

    /// Pads and seals the extension block, if any element was written, and returns the header's length
    /// in bytes. The payload goes there.
    #[inline]
    pub fn finish(self) -> usize {
        if self.len == EXT_ELEMENTS_AT {
            return FIXED_HEADER_LEN;
        }
        let end = self.len.next_multiple_of(4);
        self.buf[self.len..end].fill(0);
        self.buf[0] |= 0x10;
        let profile = match self.form {
            ExtForm::OneByte => ONE_BYTE_PROFILE,
            ExtForm::TwoByte => TWO_BYTE_PROFILE,
        };
        let words = ((end - EXT_ELEMENTS_AT) / 4) as u32;
        self.buf[FIXED_HEADER_LEN..EXT_ELEMENTS_AT]
            .copy_from_slice(&(u32::from(profile) << 16 | words).to_be_bytes());
        end
    }
}

/// Most elements that [`write_header`] takes: all kinds that Sala knows, and as many unknown ones as a
/// one-byte block can name.
pub const MAX_EXT_ELEMENTS: usize = 16;

/// Collects extension elements for [`write_header`], which chooses the form. For everything off the hot
/// path; the hot path drives [`HeaderWriter`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ExtWriter<'a> {
    elements: [(u8, &'a [u8]); MAX_EXT_ELEMENTS],
    count: usize,
}

impl<'a> ExtWriter<'a> {
    /// No elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an element; `false` when it cannot be written (id zero, more than 255 bytes, or more than
    /// [`MAX_EXT_ELEMENTS`]).
    pub fn push(&mut self, id: u8, data: &'a [u8]) -> bool {
        let fits = id != 0 && data.len() <= 255 && self.count < MAX_EXT_ELEMENTS;
        if fits {
            self.elements[self.count] = (id, data);
            self.count += 1;
        }
        fits
    }

    fn form(&self) -> ExtForm {
        let one_byte = self.elements[..self.count].iter().all(|(id, data)| {
            (1..=ONE_BYTE_MAX_ID).contains(id) && (1..=ONE_BYTE_MAX_LEN).contains(&data.len())
        });
        if one_byte { ExtForm::OneByte } else { ExtForm::TwoByte }
    }
}

/// Writes a whole header in the smallest form that holds `exts`; returns its length in bytes.
///
/// Panics when `buf` is too short, like [`HeaderWriter`].
pub fn write_header(buf: &mut [u8], fields: &HeaderFields, exts: &ExtWriter<'_>) -> usize {
    let mut writer = HeaderWriter::new(buf, fields, exts.form());
    for (id, data) in &exts.elements[..exts.count] {
        writer.ext(*id, data);
    }
    writer.finish()
}

#[cfg(test)]
mod tests;
