//! The sending side: numbers packets, remembers when they left, and joins feedback with that.

use std::time::Instant;

use super::TICK_US;

/// Packets remembered. A second of 20 Mbit/s; feedback comes after a round trip and 100 ms. A power of two,
/// so that the slot is a mask away and the numbering may wrap.
pub const HISTORY: usize = 2048;

/// Units of 64 ms after which the reference time on the wire begins anew (24 bits).
const REFERENCE_WRAP: i64 = 1 << 24;
const TICKS_PER_REFERENCE: i64 = crate::rtcp::TICKS_PER_REFERENCE;

/// Names the probe that a packet belongs to; zero is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClusterId(pub u16);

impl ClusterId {
    /// Not part of a probe.
    pub const NONE: ClusterId = ClusterId(0);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Never used.
    Vacant,
    InFlight,
    ReportedLost,
    Acknowledged,
}

/// One sent packet, sixteen bytes.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at_us: u64,
    seq: u16,
    size: u16,
    cluster: ClusterId,
    state: State,
}

/// What became of one sent packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketResult {
    /// Transport-wide sequence number.
    pub seq: u16,
    /// When it was sent, in µs since the epoch of [`SentPackets`].
    pub sent_us: u64,
    /// When it arrived, in µs of the receiver's clock, whose origin is unknown; `None` is lost.
    pub arrival_us: Option<i64>,
    /// Bytes on the wire as given to [`SentPackets::push`].
    pub size: u16,
    /// The probe it was part of.
    pub cluster: ClusterId,
    /// An earlier feedback said that it was lost, and now it arrived.
    pub was_lost: bool,
}

/// The packets sent to one peer, as far back as feedback can reach.
#[derive(Debug)]
pub struct SentPackets {
    epoch: Instant,
    ring: Box<[Sent; HISTORY]>,
    next_seq: u16,
    /// Reference time of the newest feedback, unwrapped, in units of 64 ms.
    reference: Option<i64>,
}

impl SentPackets {
    /// Nothing sent yet. `epoch` is any instant not after the first packet; `first_seq` should be random.
    pub fn new(epoch: Instant, first_seq: u16) -> SentPackets {
        let vacant = Sent { at_us: 0, seq: 0, size: 0, cluster: ClusterId::NONE, state: State::Vacant };
        SentPackets { epoch, ring: Box::new([vacant; HISTORY]), next_seq: first_seq, reference: None }
    }

    /// Remembers a packet leaving now; returns the transport-wide number to write into it. One write to the
    /// ring, nothing else.
    pub fn push(&mut self, now: Instant, size: usize, cluster: ClusterId) -> u16 {
        let seq = self.next_seq;
        self.next_seq = seq.wrapping_add(1);
        self.ring[seq as usize % HISTORY] = Sent {
            at_us: self.us(now),
            seq,
            size: size.min(u16::MAX as usize) as u16,
            cluster,
            state: State::InFlight,
        };
        seq
    }

    /// The time scale of [`PacketResult::sent_us`].
    pub fn us(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch);
        since.as_secs() * 1_000_000 + u64::from(since.subsec_micros())
    }

    /// Joins a feedback packet with what was sent. `reference_ticks` is its 24-bit reference time in ticks of
    /// 250 µs, `statuses` the numbers with their delta in ticks if they arrived.
    ///
    /// Each packet is yielded at most once as lost and at most once as arrived, however often it is told.
    /// Numbers that were not sent, or too long ago, are passed over.
    pub fn on_feedback<'a>(
        &'a mut self,
        reference_ticks: i64,
        statuses: impl Iterator<Item = (u16, Option<i16>)> + 'a,
    ) -> impl Iterator<Item = PacketResult> + 'a {
        let mut arrival_ticks = self.unwrap_reference(reference_ticks);
        let ring = &mut self.ring;
        statuses.filter_map(move |(seq, delta)| {
            // A delta counts from the arrival before, also from one that is of no use here.
            if let Some(delta) = delta {
                arrival_ticks += i64::from(delta);
            }
            let sent = &mut ring[seq as usize % HISTORY];
            let state = match (sent.state, delta) {
                (State::InFlight, None) => State::ReportedLost,
                (State::InFlight | State::ReportedLost, Some(_)) => State::Acknowledged,
                _ => return None,
            };
            if sent.seq != seq {
                return None;
            }
            let was_lost = sent.state == State::ReportedLost;
            sent.state = state;
            Some(PacketResult {
                seq,
                sent_us: sent.at_us,
                arrival_us: delta.map(|_| arrival_ticks * TICK_US),
                size: sent.size,
                cluster: sent.cluster,
                was_lost,
            })
        })
    }

    fn unwrap_reference(&mut self, reference_ticks: i64) -> i64 {
        let wire = reference_ticks.div_euclid(TICKS_PER_REFERENCE);
        let reference = match self.reference {
            None => wire,
            Some(newest) => {
                let ahead = (wire - newest).rem_euclid(REFERENCE_WRAP);
                newest + if ahead < REFERENCE_WRAP / 2 { ahead } else { ahead - REFERENCE_WRAP }
            }
        };
        self.reference = Some(self.reference.map_or(reference, |newest| newest.max(reference)));
        reference * TICKS_PER_REFERENCE
    }
}
