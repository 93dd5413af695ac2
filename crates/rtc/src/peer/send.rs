//! The sending half of a peer's media: writes headers, numbers and seals packets straight into the slot of
//! the sockets, and keeps what reports and retransmissions need.

use std::time::Instant;

use crate::bwe::{Estimator, Padding};
use crate::ext::{AbsCaptureTime, ExtKind, ExtMap, PlayoutDelay};
use crate::negotiate::SendFormat;
use crate::rtp::{ExtForm, HeaderFields, HeaderWriter};
use crate::srtp::{MAX_RTP_OVERHEAD, SrtpSender};
use crate::stats::SenderStats;
use crate::twcc::{ClusterId, SentPackets};
use crate::{Codec, Egress, ExtSeq, Mid, Path, Rid, Ssrc};

/// Header, extensions and their paddings at their longest.
const MAX_HEADER: usize = 12 + 4 + 256 + 32;

/// RTP header, an extension and the tag, as the estimator counts them.
const WIRE_OVERHEAD: usize = 36;

/// Bytes of one padding packet at most (RFC 3550 §5.1: the last byte counts them).
const MAX_PADDING: usize = 255;

/// Where the bandwidth estimate starts, in bit/s: enough for a call's first seconds; probes go on from there.
const INITIAL_BPS: u64 = 2_000_000;
/// The estimate's bounds: a voice and a thumbnail; more than a client ever receives.
const MIN_BPS: u64 = 100_000;
const MAX_BPS: u64 = 100_000_000;

/// Index of a sender in its peer; reused after [`crate::Peer::remove_sender`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct SenderKey(pub u16);

/// One stream that we send.
#[derive(Clone, Debug)]
pub struct SenderInfo {
    pub mid: Mid,
    pub ssrc: Ssrc,
    pub rtx_ssrc: Option<Ssrc>,
    pub cname: String,
    pub codec: Codec,
    /// The simulcast encoding; its packets then carry the names of section and encoding.
    pub rid: Option<Rid>,
}

/// What [`write`] needs besides the packet.
struct Line<'a> {
    now: Instant,
    ids: ExtIds,
    sent: &'a mut SentPackets,
    estimator: &'a mut Estimator,
    srtp: &'a mut SrtpSender,
    path: &'a Path,
}

/// A packet to forward: the numbers of the subscription and the pieces of the payload.
#[derive(Clone, Copy, Debug)]
pub struct OutPacket<'a> {
    /// A stream begins below 2¹⁵: the receiver takes its first rollover count for zero (RFC 3711 §3.3.1).
    pub seq: ExtSeq,
    pub timestamp: u32,
    pub marker: bool,
    /// The payload is redundant audio (RFC 2198).
    pub red: bool,
    /// Rewritten head of the payload (a payload descriptor), …
    pub head: &'a [u8],
    /// … and the rest as it came.
    pub body: &'a [u8],
    pub dependency_descriptor: Option<&'a [u8]>,
    pub abs_capture_time: Option<AbsCaptureTime>,
    pub playout_delay: Option<PlayoutDelay>,
}

#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) info: SenderInfo,
    /// `None` until the peer has agreed to receive the stream.
    pub(crate) format: Option<SendFormat>,
    pub(crate) stats: SenderStats,
    rtx_seq: ExtSeq,
    /// Rollovers before the SRTP session of now: the receiver counts from its beginning (RFC 3711 §3.3.1).
    rolled_before: Option<u32>,
}

/// Ids of the extensions that we write, looked up once for each negotiation. 0 = not negotiated.
#[derive(Clone, Copy, Default, Debug)]
struct ExtIds {
    transport_cc: u8,
    abs_capture_time: u8,
    dependency_descriptor: u8,
    playout_delay: u8,
    mid: u8,
    rid: u8,
    max_id: u8,
}

/// All streams that we send to one peer.
#[derive(Debug)]
pub(crate) struct SenderSet {
    ids: ExtIds,
    senders: Vec<Option<Sender>>,
    pub(crate) sent: SentPackets,
    pub(crate) estimator: Estimator,
}

impl SenderSet {
    pub(crate) fn new(now: Instant, first_seq: u16) -> SenderSet {
        SenderSet {
            ids: ExtIds::default(),
            senders: Vec::new(),
            sent: SentPackets::new(now, first_seq),
            estimator: Estimator::new(INITIAL_BPS, MIN_BPS, MAX_BPS),
        }
    }

    pub(crate) fn configure(&mut self, ext: &ExtMap) {
        let id = |kind| ext.id(kind).unwrap_or(0);
        self.ids = ExtIds {
            transport_cc: id(ExtKind::TransportCc),
            abs_capture_time: id(ExtKind::AbsCaptureTime),
            dependency_descriptor: id(ExtKind::DependencyDescriptor),
            playout_delay: id(ExtKind::PlayoutDelay),
            mid: id(ExtKind::Mid),
            rid: id(ExtKind::Rid),
            max_id: ext.max_id(),
        };
    }

    pub(crate) fn add(&mut self, info: SenderInfo, rtx_seq: u16) -> SenderKey {
        let rtx_seq = ExtSeq(u64::from(rtx_seq));
        let sender = Sender { info, format: None, stats: SenderStats::new(), rtx_seq, rolled_before: None };
        let index = self.senders.iter().position(Option::is_none).unwrap_or_else(|| {
            self.senders.push(None);
            self.senders.len() - 1
        });
        self.senders[index] = Some(sender);
        SenderKey(index as u16)
    }

    pub(crate) fn remove(&mut self, key: SenderKey) {
        if let Some(slot) = self.senders.get_mut(usize::from(key.0)) {
            *slot = None;
        }
    }

    pub(crate) fn get(&self, key: SenderKey) -> Option<&Sender> {
        self.senders.get(usize::from(key.0))?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: SenderKey) -> Option<&mut Sender> {
        self.senders.get_mut(usize::from(key.0))?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Sender> {
        self.senders.iter().flatten()
    }

    /// New SRTP keys: the receiver counts rollovers from zero again.
    pub(crate) fn rekeyed(&mut self) {
        for sender in self.senders.iter_mut().flatten() {
            sender.rolled_before = None;
            sender.rtx_seq = ExtSeq(u64::from(sender.rtx_seq.wire()));
        }
    }

    pub(crate) fn keyed(&self) -> impl Iterator<Item = (SenderKey, &Sender)> {
        let numbered = self.senders.iter().enumerate();
        numbered.filter_map(|(index, slot)| Some((SenderKey(index as u16), slot.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (SenderKey, &mut Sender)> {
        let numbered = self.senders.iter_mut().enumerate();
        numbered.filter_map(|(index, slot)| Some((SenderKey(index as u16), slot.as_mut()?)))
    }

    /// The sender that an SSRC of the peer's feedback is about, as media or as repair.
    pub(crate) fn by_ssrc(&mut self, ssrc: Ssrc) -> Option<(SenderKey, &mut Sender)> {
        self.iter_mut().find(|(_, sender)| sender.info.ssrc == ssrc || sender.info.rtx_ssrc == Some(ssrc))
    }

    /// Any sender on which padding can travel.
    fn padding_sender(&mut self) -> Option<SenderKey> {
        let usable = |sender: &Sender| {
            sender.stats.packet_count() > 0 && sender.format.is_some_and(|f| f.rtx_pt.is_some())
        };
        self.iter_mut().find(|(_, sender)| usable(sender)).map(|(key, _)| key)
    }

    /// Writes, seals and hands over one packet. This is the hot path: one slot, one pass over the payload
    /// to copy it, one to seal it.
    #[inline]
    pub(crate) fn send(
        &mut self,
        now: Instant,
        key: SenderKey,
        packet: &OutPacket<'_>,
        srtp: &mut SrtpSender,
        path: &Path,
        out: &mut dyn Egress,
    ) -> Option<usize> {
        let ids = self.ids;
        let sender = self.senders.get_mut(usize::from(key.0))?.as_mut()?;
        let format = sender.format?;
        sender.stats.on_packet(packet.head.len() + packet.body.len());
        let fields = HeaderFields {
            marker: packet.marker,
            padding: false,
            pt: if packet.red { format.red_pt? } else { format.pt },
            seq: packet.seq.wire(),
            timestamp: packet.timestamp,
            ssrc: sender.info.ssrc,
        };
        let rolled = (packet.seq.0 >> 16) as u32;
        let roc = rolled.saturating_sub(*sender.rolled_before.get_or_insert(rolled));
        let line = Line { now, ids, sent: &mut self.sent, estimator: &mut self.estimator, srtp, path };
        write(line, &fields, roc, None, packet, &sender.info, out)
    }

    /// Sends a packet again: by RTX where that was negotiated, else as it was.
    pub(crate) fn resend(
        &mut self,
        now: Instant,
        key: SenderKey,
        packet: &OutPacket<'_>,
        srtp: &mut SrtpSender,
        path: &Path,
        out: &mut dyn Egress,
    ) -> Option<usize> {
        let ids = self.ids;
        let sender = self.senders.get_mut(usize::from(key.0))?.as_mut()?;
        let format = sender.format?;
        let (Some(rtx_pt), Some(rtx_ssrc)) = (format.rtx_pt, sender.info.rtx_ssrc) else {
            return self.send(now, key, packet, srtp, path, out);
        };
        sender.rtx_seq.0 += 1;
        let fields = HeaderFields {
            marker: packet.marker,
            padding: false,
            pt: rtx_pt,
            seq: sender.rtx_seq.wire(),
            timestamp: packet.timestamp,
            ssrc: rtx_ssrc,
        };
        let roc = (sender.rtx_seq.0 >> 16) as u32;
        let original = Some(packet.seq.wire());
        let line = Line { now, ids, sent: &mut self.sent, estimator: &mut self.estimator, srtp, path };
        write(line, &fields, roc, original, packet, &sender.info, out)
    }

    /// Sends what a probe asks for as padding on a repair stream; false when there is none.
    pub(crate) fn send_padding(
        &mut self,
        now: Instant,
        padding: Padding,
        srtp: &mut SrtpSender,
        path: &Path,
        out: &mut dyn Egress,
    ) -> bool {
        let Some(key) = self.padding_sender() else { return false };
        let mut left = padding.bytes;
        while left > 0 {
            let bytes = left.min(MAX_PADDING);
            left -= bytes;
            if self.send_padding_packet(now, key, bytes, padding.cluster, srtp, path, out).is_none() {
                return false;
            }
        }
        true
    }

    #[allow(clippy::too_many_arguments)]
    fn send_padding_packet(
        &mut self,
        now: Instant,
        key: SenderKey,
        padding: usize,
        cluster: ClusterId,
        srtp: &mut SrtpSender,
        path: &Path,
        out: &mut dyn Egress,
    ) -> Option<usize> {
        let ids = self.ids;
        let sender = self.senders.get_mut(usize::from(key.0))?.as_mut()?;
        let (rtx_pt, ssrc) = (sender.format?.rtx_pt?, sender.info.rtx_ssrc?);
        sender.rtx_seq.0 += 1;
        let fields = HeaderFields {
            marker: false,
            padding: true,
            pt: rtx_pt,
            seq: sender.rtx_seq.wire(),
            timestamp: 0,
            ssrc,
        };
        let slot = out.slot(path, MAX_HEADER + padding + MAX_RTP_OVERHEAD);
        let mut writer = HeaderWriter::new(slot, &fields, ExtForm::fitting(ids.max_id, 2));
        if ids.transport_cc != 0 {
            let seq = self.sent.push(now, WIRE_OVERHEAD + padding, cluster);
            writer.ext(ids.transport_cc, &seq.to_be_bytes());
        }
        let header_len = writer.finish();
        slot[header_len..header_len + padding].fill(0);
        slot[header_len + padding - 1] = padding as u8;
        let len = srtp.protect_rtp(slot, header_len, padding, (sender.rtx_seq.0 >> 16) as u32).ok()?;
        out.commit(len);
        Some(len)
    }
}

#[inline]
fn write(
    line: Line<'_>,
    fields: &HeaderFields,
    roc: u32,
    original: Option<u16>,
    packet: &OutPacket<'_>,
    info: &SenderInfo,
    out: &mut dyn Egress,
) -> Option<usize> {
    let Line { now, ids, sent, estimator, srtp, path } = line;
    let original = original.map(u16::to_be_bytes);
    let prefix: &[u8] = original.as_ref().map_or(&[], |bytes| bytes);
    let payload_len = prefix.len() + packet.head.len() + packet.body.len();
    let slot = out.slot(path, MAX_HEADER + payload_len + MAX_RTP_OVERHEAD);
    let longest = packet.dependency_descriptor.map_or(0, <[u8]>::len);
    let mut writer = HeaderWriter::new(slot, fields, ExtForm::fitting(ids.max_id, longest));
    if ids.transport_cc != 0 {
        let size = payload_len + WIRE_OVERHEAD;
        let seq = sent.push(now, size, estimator.on_media(size));
        writer.ext(ids.transport_cc, &seq.to_be_bytes());
    }
    if let Some(descriptor) = packet.dependency_descriptor
        && ids.dependency_descriptor != 0
    {
        writer.ext(ids.dependency_descriptor, descriptor);
    }
    if let Some(capture) = packet.abs_capture_time
        && ids.abs_capture_time != 0
    {
        let (data, len) = capture.write();
        writer.ext(ids.abs_capture_time, &data[..len]);
    }
    if let Some(delay) = packet.playout_delay
        && ids.playout_delay != 0
    {
        writer.ext(ids.playout_delay, &delay.write());
    }
    if let Some(rid) = &info.rid
        && ids.rid != 0
        && ids.mid != 0
    {
        writer.ext(ids.mid, info.mid.as_str().as_bytes());
        writer.ext(ids.rid, rid.as_str().as_bytes());
    } else if original.is_some() && ids.mid != 0 {
        // Repair streams are rarely announced by SSRC on the other side; the section's name settles it.
        writer.ext(ids.mid, info.mid.as_str().as_bytes());
    }
    let header_len = writer.finish();
    let mut at = header_len;
    for piece in [prefix, packet.head, packet.body] {
        slot[at..at + piece.len()].copy_from_slice(piece);
        at += piece.len();
    }
    let len = srtp.protect_rtp(slot, header_len, payload_len, roc).ok()?;
    out.commit(len);
    Some(len)
}
