//! The receiving half of a peer's media: which SSRC is which stream, what is missing from it, and what the
//! sender is to be told about it.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::ext::{ExtMap, ExtValues};
use crate::nack::NackGenerator;
use crate::rtcp::{MAX_REPORT_BLOCKS, ReportBlock, RtcpWriter};
use crate::rtp::RtpHeader;
use crate::stats::{Arrival, ReceiverStats, SeqTracker};
use crate::{Codec, ExtSeq, Mid, Pt, Rid, Ssrc};

/// Streams of one peer, repair streams included: what 64 simulcast tracks need. More are ignored.
const MAX_STREAMS: usize = 512;

/// Receiver reports go out this often while media arrives.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A stream that has been silent for this long is left out of reports.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// Index of a received stream in its peer; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct StreamKey(pub u16);

/// What a payload type means on a section that we receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Media {
        codec: Codec,
        nack: bool,
    },
    /// RFC 4588: the payload repairs packets of this payload type.
    Rtx {
        primary: Pt,
    },
}

/// What an SSRC of the SDP is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Media,
    RepairOf(Ssrc),
}

/// One section on which the peer sends, as negotiated.
#[derive(Clone, Debug)]
pub(crate) struct ReceiveSection {
    pub(crate) mid: Mid,
    pub(crate) formats: Vec<(Pt, Format)>,
    pub(crate) ssrcs: Vec<(Ssrc, Role)>,
}

impl ReceiveSection {
    fn format(&self, pt: Pt) -> Option<Format> {
        self.formats.iter().find(|(known, _)| *known == pt).map(|(_, format)| *format)
    }
}

/// A stream that the peer sends.
#[derive(Debug)]
pub struct ReceiveStream {
    pub mid: Mid,
    /// The simulcast encoding, when the peer names its encodings.
    pub rid: Option<Rid>,
    pub ssrc: Ssrc,
    pub codec: Codec,
    pt: Pt,
    seq: SeqTracker,
    stats: ReceiverStats,
    nack: Option<NackGenerator>,
    last_packet: Instant,
    /// As last reported.
    loss: f32,
}

impl ReceiveStream {
    /// Interarrival jitter of the stream.
    pub fn jitter(&self) -> Duration {
        self.stats.jitter()
    }

    /// Packets that came on the stream's own SSRC.
    pub fn packets_received(&self) -> u64 {
        self.stats.received()
    }

    /// Packets that were lost on the way, before repair; negative when duplicates outnumber losses.
    pub fn packets_lost(&self) -> i32 {
        self.stats.cumulative_lost()
    }
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Media(StreamKey),
    /// Repairs the stream, whose payload type is `primary`.
    Repair(StreamKey),
}

/// A media packet, decrypted in place.
#[derive(Clone, Debug)]
pub struct MediaPacket {
    pub stream: StreamKey,
    pub seq: ExtSeq,
    pub timestamp: u32,
    pub marker: bool,
    pub codec: Codec,
    /// Where the payload lies in the datagram; empty for padding-only packets.
    pub payload: Range<usize>,
    pub ext: ExtValues,
    /// It came as a retransmission.
    pub repaired: bool,
    /// The sender began a new numbering with this packet.
    pub restarted: bool,
}

/// All streams of one peer.
#[derive(Default, Debug)]
pub(crate) struct Receiver {
    pub(crate) ext: ExtMap,
    sections: Vec<ReceiveSection>,
    /// Few enough that a scan beats a hash; the last hit is tried first.
    by_ssrc: Vec<(Ssrc, Entry)>,
    last_hit: usize,
    streams: Vec<ReceiveStream>,
    next_report: Option<Instant>,
    /// Earliest time at which some stream has something to ask for.
    next_nack: Option<Instant>,
    /// Streams that want a key frame, to be told in the next RTCP.
    keyframes: Vec<StreamKey>,
}

/// What [`Receiver::write_rtcp`] could not repair.
pub(crate) struct GivenUp(pub(crate) Vec<StreamKey>);

impl Receiver {
    /// Takes over what a negotiation settled. Streams that exist go on.
    pub(crate) fn configure(&mut self, ext: ExtMap, sections: Vec<ReceiveSection>) {
        self.ext = ext;
        self.sections = sections;
        // An SSRC stays what it was: packets of a track that ended must not pass for the next one of its
        // section. Only a crowd of them is thinned out.
        if self.by_ssrc.len() > MAX_STREAMS / 2 {
            let live = |mid: Mid| self.sections.iter().any(|section| section.mid == mid);
            let streams = &self.streams;
            self.by_ssrc.retain(|(_, entry)| {
                let (Entry::Media(key) | Entry::Repair(key)) = entry;
                live(streams[usize::from(key.0)].mid)
            });
            self.last_hit = 0;
        }
    }

    pub(crate) fn stream(&self, key: StreamKey) -> Option<&ReceiveStream> {
        self.streams.get(usize::from(key.0))
    }

    /// Accounts for a decrypted packet and says what it is; `None` when it is of no use.
    pub(crate) fn on_packet(
        &mut self,
        now: Instant,
        header: &RtpHeader,
        ext: ExtValues,
        datagram: &[u8],
        payload: Range<usize>,
    ) -> Option<MediaPacket> {
        let entry = match self.entry(header.ssrc) {
            Some(entry) => entry,
            None => self.identify(now, header, &ext)?,
        };
        match entry {
            Entry::Media(key) => self.on_media(now, key, header, ext, payload),
            Entry::Repair(key) => self.on_repair(now, key, header, ext, datagram, payload),
        }
    }

    fn entry(&mut self, ssrc: Ssrc) -> Option<Entry> {
        if let Some((known, entry)) = self.by_ssrc.get(self.last_hit)
            && *known == ssrc
        {
            return Some(*entry);
        }
        let index = self.by_ssrc.iter().position(|(known, _)| *known == ssrc)?;
        self.last_hit = index;
        Some(self.by_ssrc[index].1)
    }

    fn on_media(
        &mut self,
        now: Instant,
        key: StreamKey,
        header: &RtpHeader,
        ext: ExtValues,
        payload: Range<usize>,
    ) -> Option<MediaPacket> {
        let stream = self.streams.get_mut(usize::from(key.0))?;
        if header.pt != stream.pt {
            let section = self.sections.iter().find(|section| section.mid == stream.mid)?;
            let Format::Media { codec, nack } = section.format(header.pt)? else { return None };
            stream.pt = header.pt;
            stream.codec = codec;
            if nack && stream.nack.is_none() {
                stream.nack = Some(NackGenerator::new());
            }
        }
        let (seq, arrival) = stream.seq.on_packet(header.seq);
        match arrival {
            Arrival::Duplicate | Arrival::Stray => return None,
            Arrival::Restart => {
                stream.stats.restart();
                if let Some(nack) = &mut stream.nack {
                    nack.clear();
                }
            }
            Arrival::Newest | Arrival::Late => {}
        }
        stream.stats.on_packet(seq, header.timestamp, now);
        stream.last_packet = now;
        if let Some(nack) = &mut stream.nack {
            nack.on_packet(seq, now);
            if let Some(due) = nack.next_timeout() {
                self.next_nack = Some(self.next_nack.map_or(due, |earliest| earliest.min(due)));
            }
        }
        if self.next_report.is_none() {
            self.next_report = Some(now + REPORT_INTERVAL);
        }
        Some(MediaPacket {
            stream: key,
            seq,
            timestamp: header.timestamp,
            marker: header.marker,
            codec: stream.codec,
            payload,
            ext,
            repaired: false,
            restarted: arrival == Arrival::Restart,
        })
    }

    fn on_repair(
        &mut self,
        now: Instant,
        key: StreamKey,
        header: &RtpHeader,
        ext: ExtValues,
        datagram: &[u8],
        payload: Range<usize>,
    ) -> Option<MediaPacket> {
        let stream = self.streams.get_mut(usize::from(key.0))?;
        // Padding for bandwidth probes comes on the repair stream too, without an original number.
        let original = datagram.get(payload.start..payload.start + 2).filter(|_| payload.len() > 2)?;
        let original = u16::from_be_bytes([original[0], original[1]]);
        stream.seq.highest()?;
        let (seq, arrival) = stream.seq.on_packet(original);
        if !matches!(arrival, Arrival::Newest | Arrival::Late) {
            return None;
        }
        if let Some(nack) = &mut stream.nack {
            nack.on_packet(seq, now);
        }
        Some(MediaPacket {
            stream: key,
            seq,
            timestamp: header.timestamp,
            marker: header.marker,
            codec: stream.codec,
            payload: payload.start + 2..payload.end,
            ext,
            repaired: true,
            restarted: false,
        })
    }

    /// Finds out what an SSRC is that was not seen before: by the SDP, by the names in the header
    /// extensions, or, for peers that give neither, by a payload type that only one section has.
    fn identify(&mut self, now: Instant, header: &RtpHeader, ext: &ExtValues) -> Option<Entry> {
        if self.by_ssrc.len() >= MAX_STREAMS || self.streams.len() >= usize::from(u16::MAX) {
            return None;
        }
        let declared = self.sections.iter().find_map(|section| {
            let role = section.ssrcs.iter().find(|(ssrc, _)| *ssrc == header.ssrc)?.1;
            Some((section, Some(role)))
        });
        // A section that lists its SSRCs has no others: this one is of a track that was there before.
        let unlisted = || self.sections.iter().filter(|section| section.ssrcs.is_empty());
        let named =
            || ext.mid.and_then(|mid| unlisted().find(|section| section.mid == mid)).map(|s| (s, None));
        let guessed = || {
            let mut fitting = self.sections.iter().filter(|section| section.format(header.pt).is_some());
            let only = fitting.next().filter(|section| section.ssrcs.is_empty())?;
            fitting.next().is_none().then_some((only, None))
        };
        let (section, role) = declared.or_else(named).or_else(guessed)?;
        let mid = section.mid;
        let format = section.format(header.pt)?;
        let entry = match format {
            Format::Rtx { .. } => {
                let primary = self.streams.iter().rposition(|stream| {
                    stream.mid == mid
                        && match (role, ext.repaired_rid) {
                            (Some(Role::RepairOf(ssrc)), _) => stream.ssrc == ssrc,
                            (_, Some(rid)) => stream.rid == Some(rid),
                            // Without any name there can be only one stream to repair.
                            (_, None) => stream.rid.is_none(),
                        }
                })?;
                Entry::Repair(StreamKey(primary as u16))
            }
            Format::Media { codec, nack } => {
                let key = StreamKey(self.streams.len() as u16);
                self.streams.push(ReceiveStream {
                    mid,
                    rid: ext.rid,
                    ssrc: header.ssrc,
                    codec,
                    pt: header.pt,
                    seq: SeqTracker::new(),
                    stats: ReceiverStats::new(codec.clock_rate_hz()),
                    nack: nack.then(NackGenerator::new),
                    last_packet: now,
                    loss: 0.0,
                });
                Entry::Media(key)
            }
        };
        self.by_ssrc.push((header.ssrc, entry));
        Some(entry)
    }

    /// The peer's sender report about one of its streams.
    pub(crate) fn on_sender_report(&mut self, now: Instant, ssrc: Ssrc, ntp: u64) -> Option<StreamKey> {
        let Entry::Media(key) = self.entry(ssrc)? else { return None };
        self.streams.get_mut(usize::from(key.0))?.stats.on_sender_report(ntp, now);
        Some(key)
    }

    /// Asks for a key frame of a stream with the next RTCP.
    pub(crate) fn request_keyframe(&mut self, key: StreamKey) {
        if !self.keyframes.contains(&key) {
            self.keyframes.push(key);
        }
    }

    /// Some stream's SSRC, for feedback that must name one.
    pub(crate) fn any_ssrc(&self) -> Option<Ssrc> {
        self.streams.last().map(|stream| stream.ssrc)
    }

    /// The worst stream's share of lost packets as last reported.
    pub(crate) fn loss(&self) -> f32 {
        self.streams.iter().map(|stream| stream.loss).fold(0.0, f32::max)
    }

    pub(crate) fn has_keyframe_requests(&self) -> bool {
        !self.keyframes.is_empty()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [self.next_report, self.next_nack].into_iter().flatten().min()
    }

    /// Appends what is due: reports, NACKs and key frame requests. Returns streams with a hole that only a
    /// key frame can close.
    pub(crate) fn write_rtcp(
        &mut self,
        now: Instant,
        local: Ssrc,
        rtt: Option<Duration>,
        writer: &mut RtcpWriter<'_>,
    ) -> GivenUp {
        if self.next_report.is_some_and(|due| due <= now) {
            let alive = |stream: &&mut ReceiveStream| now.duration_since(stream.last_packet) < SILENT_AFTER;
            let blocks: Vec<ReportBlock> = self
                .streams
                .iter_mut()
                .filter(alive)
                .filter_map(|stream| {
                    let block = stream.stats.report_block(stream.ssrc, now)?;
                    stream.loss = f32::from(block.fraction_lost) / 256.0;
                    Some(block)
                })
                .collect();
            for blocks in blocks.chunks(MAX_REPORT_BLOCKS) {
                writer.receiver_report(local, blocks);
            }
            // The next packet starts the clock again.
            self.next_report = (!blocks.is_empty()).then(|| now + REPORT_INTERVAL);
        }
        let mut given_up = GivenUp(Vec::new());
        if self.next_nack.is_some_and(|due| due <= now) {
            self.next_nack = None;
            for (index, stream) in self.streams.iter_mut().enumerate() {
                let Some(nack) = &mut stream.nack else { continue };
                let batch = nack.poll(now, rtt);
                if !batch.is_empty() {
                    writer.nack(local, stream.ssrc, &batch);
                }
                if batch.given_up > 0 {
                    given_up.0.push(StreamKey(index as u16));
                }
                if let Some(due) = nack.next_timeout() {
                    self.next_nack = Some(self.next_nack.map_or(due, |earliest| earliest.min(due)));
                }
            }
        }
        for key in std::mem::take(&mut self.keyframes) {
            if let Some(stream) = self.streams.get(usize::from(key.0)) {
                writer.pli(local, stream.ssrc);
            }
        }
        given_up
    }
}
