//! Counters behind sender and receiver reports (RFC 3550 §6.4, A.1, A.3, A.8).
//!
//! [`SeqTracker`] extends wire sequence numbers and recognises duplicates, late packets and restarts.
//! [`ReceiverStats`] fills a report block about a stream that we receive. [`SenderStats`] counts a stream
//! that we send and reads from the reports about it the round trip time and the loss.

use std::time::{Duration, Instant};

use crate::rtcp::ReportBlock;
use crate::{ExtSeq, Ssrc};

/// How far back a packet can be told to be new or a duplicate. A second of 10 Mbit/s video.
pub const HISTORY: usize = 1024;
/// Sender reports remembered to recognise the answer: at one each 3 s this covers 24 s.
pub const SENT_REPORTS: usize = 8;
/// A round trip time above this is a broken or hostile report.
pub const MAX_RTT: Duration = Duration::from_secs(30);

/// What a sequence number says about its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The first packet of the stream, or the newest so far.
    Newest,
    /// Older than the newest, and not received before.
    Late,
    /// Received before.
    Duplicate,
    /// Far from the newest: too old for anybody to wait for it, or the first of a new numbering.
    Stray,
    /// The sender began a new numbering; the extended number continues above the old one.
    Restart,
}

/// Extends the sixteen-bit sequence numbers of one stream.
#[derive(Debug, Clone)]
pub struct SeqTracker {
    highest: Option<ExtSeq>,
    /// One bit for each of the last [`HISTORY`] numbers, indexed by number modulo [`HISTORY`].
    received: [u64; HISTORY / 64],
    /// The number that, if it comes next, proves a restart (RFC 3550 A.1 `bad_seq`).
    restart_at: Option<u16>,
    duplicates: u64,
}

impl Default for SeqTracker {
    fn default() -> Self {
        SeqTracker { highest: None, received: [0; HISTORY / 64], restart_at: None, duplicates: 0 }
    }
}

impl SeqTracker {
    /// A stream of which nothing was received yet.
    pub fn new() -> SeqTracker {
        SeqTracker::default()
    }

    /// Extends `seq`. The first number gets one full cycle below it, so that packets which it overtook
    /// have room.
    pub fn on_packet(&mut self, seq: u16) -> (ExtSeq, Arrival) {
        let Some(highest) = self.highest else {
            let first = ExtSeq(1 << 16 | u64::from(seq));
            self.set_highest(first);
            return (first, Arrival::Newest);
        };
        let ext = highest.nearest(seq);
        let distance = ext.0.abs_diff(highest.0);
        if ext > highest && distance <= crate::nack::MAX_GAP {
            self.advance(highest, ext);
            return (ext, Arrival::Newest);
        }
        if ext <= highest && distance < HISTORY as u64 {
            let (word, bit) = slot(ext);
            if self.received[word] & bit != 0 {
                self.duplicates += 1;
                return (ext, Arrival::Duplicate);
            }
            self.received[word] |= bit;
            return (ext, Arrival::Late);
        }
        if self.restart_at == Some(seq) {
            let ahead = u64::from(seq.wrapping_sub(highest.wire()));
            let restarted = ExtSeq(highest.0 + ahead);
            self.received = [0; HISTORY / 64];
            self.set_highest(restarted);
            return (restarted, Arrival::Restart);
        }
        self.restart_at = Some(seq.wrapping_add(1));
        (ext, Arrival::Stray)
    }

    /// Highest extended number so far.
    pub fn highest(&self) -> Option<ExtSeq> {
        self.highest
    }

    /// Packets received more than once.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    fn advance(&mut self, from: ExtSeq, to: ExtSeq) {
        if to.0 - from.0 >= HISTORY as u64 {
            self.received = [0; HISTORY / 64];
        } else {
            for seq in from.0 + 1..to.0 {
                let (word, bit) = slot(ExtSeq(seq));
                self.received[word] &= !bit;
            }
        }
        self.set_highest(to);
    }

    fn set_highest(&mut self, seq: ExtSeq) {
        let (word, bit) = slot(seq);
        self.received[word] |= bit;
        self.highest = Some(seq);
        self.restart_at = None;
    }
}

fn slot(seq: ExtSeq) -> (usize, u64) {
    let at = seq.0 as usize % HISTORY;
    (at / 64, 1 << (at % 64))
}

/// Reception of one stream, for the report block about it.
#[derive(Debug, Clone)]
pub struct ReceiverStats {
    clock_rate_hz: u32,
    /// First and highest extended number; `None` before the first packet.
    span: Option<(ExtSeq, ExtSeq)>,
    received: u64,
    expected_before: u64,
    received_before: u64,
    /// Interarrival jitter in sixteenths of a clock tick (RFC 3550 A.8).
    jitter_16: u32,
    /// Arrival and RTP timestamp of the packet before.
    previous: Option<(Instant, u32)>,
    last_sr: Option<(u32, Instant)>,
}

impl ReceiverStats {
    /// A stream whose timestamps count `clock_rate_hz`.
    pub fn new(clock_rate_hz: u32) -> ReceiverStats {
        ReceiverStats {
            clock_rate_hz,
            span: None,
            received: 0,
            expected_before: 0,
            received_before: 0,
            jitter_16: 0,
            previous: None,
            last_sr: None,
        }
    }

    /// Counts a packet that arrived on the stream's own SSRC. Packets restored from RTX do not count: the
    /// report is about the path, not about the repair.
    pub fn on_packet(&mut self, seq: ExtSeq, rtp_time: u32, now: Instant) {
        self.received += 1;
        self.span = Some(match self.span {
            None => (seq, seq),
            Some((first, highest)) => (first.min(seq), highest.max(seq)),
        });
        if let Some((arrived, before)) = self.previous {
            let elapsed = now.saturating_duration_since(arrived).as_nanos();
            let elapsed_ticks = (elapsed * u128::from(self.clock_rate_hz) / 1_000_000_000) as u32;
            let variation = elapsed_ticks.wrapping_sub(rtp_time.wrapping_sub(before)) as i32;
            // Half a minute of variation is a new timeline, not jitter.
            if variation.unsigned_abs() < 30 * self.clock_rate_hz.max(1) {
                self.jitter_16 =
                    self.jitter_16.saturating_add(variation.unsigned_abs()) - ((self.jitter_16 + 8) >> 4);
            }
        }
        self.previous = Some((now, rtp_time));
    }

    /// The stream began a new numbering: counting starts over.
    pub fn restart(&mut self) {
        *self = ReceiverStats { last_sr: self.last_sr, ..ReceiverStats::new(self.clock_rate_hz) };
    }

    /// Takes note of a sender report about this stream, for the round trip time at the sender.
    pub fn on_sender_report(&mut self, ntp: u64, now: Instant) {
        self.last_sr = Some((ntp_mid(ntp), now));
    }

    /// The block for the next report, which begins a new interval of `fraction_lost`. `None` before the
    /// first packet.
    pub fn report_block(&mut self, ssrc: Ssrc, now: Instant) -> Option<ReportBlock> {
        let (first, highest) = self.span?;
        let expected = highest.0 - first.0 + 1;
        let expected_now = expected - self.expected_before.min(expected);
        let received_now = self.received - self.received_before;
        let lost_now = expected_now.saturating_sub(received_now);
        (self.expected_before, self.received_before) = (expected, self.received);
        let (last_sr, delay_since_last_sr) = self
            .last_sr
            .map_or((0, 0), |(last_sr, at)| (last_sr, to_65536ths(now.saturating_duration_since(at))));
        Some(ReportBlock {
            ssrc,
            fraction_lost: (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8,
            cumulative_lost: self.cumulative_lost(),
            // Cycles count from the cycle of the first packet.
            highest_seq: (highest.0 - (first.0 & !0xFFFF)) as u32,
            jitter: self.jitter_16 >> 4,
            last_sr,
            delay_since_last_sr,
        })
    }

    /// Packets received, duplicates included.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets expected minus received; negative when duplicates outnumber losses. Clamped to the 24 bits
    /// of the wire.
    pub fn cumulative_lost(&self) -> i32 {
        let expected = self.span.map_or(0, |(first, highest)| highest.0 - first.0 + 1);
        (expected as i64 - self.received as i64).clamp(-0x80_0000, 0x7F_FFFF) as i32
    }

    /// Interarrival jitter.
    pub fn jitter(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.jitter_16 >> 4) / f64::from(self.clock_rate_hz.max(1)))
    }
}

/// One stream that we send, and what its receiver reports about it.
#[derive(Debug, Clone, Default)]
pub struct SenderStats {
    packets: u64,
    payload_bytes: u64,
    /// Middle NTP bits of the latest sender reports and when each left, a ring.
    sent_reports: [Option<(u32, Instant)>; SENT_REPORTS],
    next_report: usize,
    rtt: Option<Duration>,
    remote: Option<ReportBlock>,
}

impl SenderStats {
    /// A stream of which nothing was sent yet.
    pub fn new() -> SenderStats {
        SenderStats::default()
    }

    /// Counts a packet; `payload_bytes` without header and padding.
    pub fn on_packet(&mut self, payload_bytes: usize) {
        self.packets += 1;
        self.payload_bytes += payload_bytes as u64;
    }

    /// Takes note of a sender report leaving now. Its NTP time may be anybody's (a forwarded report carries
    /// the publisher's): only its middle bits are compared.
    pub fn on_sender_report_sent(&mut self, ntp: u64, now: Instant) {
        self.sent_reports[self.next_report % SENT_REPORTS] = Some((ntp_mid(ntp), now));
        self.next_report = (self.next_report + 1) % SENT_REPORTS;
    }

    /// Takes note of the receiver's report; returns the round trip time if it can be told from it.
    pub fn on_report_block(&mut self, block: &ReportBlock, now: Instant) -> Option<Duration> {
        self.remote = Some(*block);
        if block.last_sr == 0 {
            return None;
        }
        // Newest first: a paused publisher's report may have been forwarded twice.
        let sent = (1..=SENT_REPORTS)
            .filter_map(|back| self.sent_reports[(self.next_report + SENT_REPORTS - back) % SENT_REPORTS])
            .find(|(mid, _)| *mid == block.last_sr)?
            .1;
        let held = Duration::from_nanos((u64::from(block.delay_since_last_sr) * 1_000_000_000) >> 16);
        let rtt = now.checked_duration_since(sent)?.checked_sub(held)?;
        if rtt > MAX_RTT {
            return None;
        }
        self.rtt = Some(self.rtt.map_or(rtt, |smoothed| (smoothed * 7 + rtt) / 8));
        Some(rtt)
    }

    /// Packets sent, as a sender report counts them (modulo 2³²).
    pub fn packet_count(&self) -> u32 {
        self.packets as u32
    }

    /// Payload bytes sent, as a sender report counts them (modulo 2³²).
    pub fn octet_count(&self) -> u32 {
        self.payload_bytes as u32
    }

    /// Smoothed round trip time (RFC 6298 weights).
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Share of packets that the receiver lost in its latest interval, 0.0..=1.0.
    pub fn remote_loss(&self) -> f32 {
        self.remote.map_or(0.0, |block| f32::from(block.fraction_lost) / 256.0)
    }

    /// The receiver's latest report.
    pub fn remote(&self) -> Option<&ReportBlock> {
        self.remote.as_ref()
    }
}

/// The middle 32 of the 64 bits of an NTP time (RFC 3550 §4): 1/65536 s.
pub fn ntp_mid(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

fn to_65536ths(duration: Duration) -> u32 {
    ((duration.as_nanos() << 16) / 1_000_000_000).min(u128::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests;
