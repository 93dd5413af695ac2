//! Finds capacity that media does not use: when to probe, what to send, and what the answer means.
//!
//! A probe is a short cluster of packets at a target rate; how fast they arrive tells what the path carries.
//! Two clusters go out when the peer connects. After that a probe goes out only while the allocator wants
//! more than the estimate, at growing distance while probes are in vain. No wish, no timer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Acked;
use crate::twcc::ClusterId;

/// Distance of two probes for the same wish, growing by [`BACKOFF`] with each in vain.
pub const BASE_INTERVAL: Duration = Duration::from_secs(3);
/// Longest distance of two probes.
pub const MAX_INTERVAL: Duration = Duration::from_secs(120);
/// Largest padding asked for at once, in bytes: what fits a datagram.
pub const MAX_CHUNK: usize = 1200;

const BACKOFF: f64 = 1.5;
/// Rates of the first clusters, in multiples of the initial estimate.
const INITIAL_FACTORS: [f64; 2] = [3.0, 6.0];
/// Length of the first clusters, which have nothing to disturb…
const INITIAL_LENGTH: Duration = Duration::from_millis(15);
/// …and the pause between them, in which the queue of the first drains.
const INITIAL_GAP: Duration = Duration::from_millis(50);
/// Length of later ones, long enough for jitter to average out.
const LENGTH: Duration = Duration::from_millis(25);
/// A probe aims this far beyond the missing rate, and at least this far beyond the estimate.
const OVERAGE: f64 = 1.2;
const MIN_INCREASE_BPS: f64 = 200_000.0;
/// A single probe never exceeds the estimate by more than this factor, which keeps the queue it builds
/// shorter than itself; further ones follow its success.
const MAX_FACTOR: f64 = 2.0;
/// A burst of media within a cluster may show more than the target; it is believed so far.
const MAX_BEYOND_TARGET: f64 = 1.5;
const MIN_PACKETS: u32 = 5;
const MIN_CHUNK: usize = 200;
/// Time between two chunks of a cluster.
const STEP: Duration = Duration::from_millis(3);
/// A cluster that takes so much longer than planned was starved by its sender and is worthless.
const MAX_STRETCH: Duration = Duration::from_millis(200);
/// Clusters whose answer is awaited.
const MAX_AWAITED: usize = 4;
/// An answer later than this is none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Share of a cluster that must arrive.
const MIN_ARRIVED: f64 = 0.8;
/// Arriving much faster than sent means that the clocks or the feedback are wrong.
const MAX_RATIO: f64 = 2.0;
/// Arriving slower than this share of the rate sent means that the path is saturated; then a little less
/// than the rate of arrival is what it carries.
const UNSATURATED_RATIO: f64 = 0.9;
const SATURATED_SHARE: f64 = 0.95;
/// A result above this share of the target (which media in the cluster may blur) invites a further probe.
const MORE_TO_FIND: f64 = 0.7;
/// Intervals above this tell of something else than the path's capacity.
const MAX_SPAN_US: i64 = 1_000_000;

/// Padding that a probe wants sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// Bytes in all, at most [`MAX_CHUNK`]; may be split over several packets.
    pub bytes: usize,
    /// Remember it with each of them in [`crate::twcc::SentPackets::push`].
    pub cluster: ClusterId,
}

#[derive(Debug, Clone, Copy)]
struct Active {
    cluster: ClusterId,
    target_bps: f64,
    began: Instant,
    length: Duration,
    sent_bytes: usize,
    sent_packets: u32,
    goal_bytes: usize,
    chunk_bytes: usize,
}

/// A cluster being sent or awaited.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    cluster: ClusterId,
    target_bps: f64,
    began: Instant,
    /// Bytes sent in all, once it is complete.
    sent_bytes: Option<usize>,
    packets: u32,
    bytes: usize,
    first_sent: (i64, u16),
    last_sent: (i64, u16),
    first_arrival: (i64, u16),
    last_arrival: (i64, u16),
}

#[derive(Debug)]
pub(super) struct Prober {
    initial_bps: f64,
    max_bps: f64,
    estimate_bps: f64,
    congested: bool,
    needed_bps: Option<f64>,
    /// Targets of the first clusters, still to be sent.
    initial: VecDeque<f64>,
    started: bool,
    active: Option<Active>,
    awaited: VecDeque<Awaited>,
    next_cluster: u16,
    /// Earliest time of the next probe for a wish.
    next_at: Option<Instant>,
    interval: Duration,
    result_bps: Option<f64>,
}

impl Prober {
    pub(super) fn new(initial_bps: f64, max_bps: f64) -> Prober {
        Prober {
            initial_bps,
            max_bps,
            estimate_bps: initial_bps,
            congested: false,
            needed_bps: None,
            initial: VecDeque::new(),
            started: false,
            active: None,
            awaited: VecDeque::new(),
            next_cluster: 1,
            next_at: None,
            interval: BASE_INTERVAL,
            result_bps: None,
        }
    }

    pub(super) fn start(&mut self, now: Instant) {
        if self.started {
            return;
        }
        self.started = true;
        self.next_at = Some(now);
        let targets = INITIAL_FACTORS.into_iter().map(|factor| (factor * self.initial_bps).min(self.max_bps));
        let mut targets: Vec<f64> = targets.collect();
        // With a low maximum both are the same.
        targets.dedup();
        self.initial = targets.into();
    }

    pub(super) fn set_needed(&mut self, needed_bps: Option<f64>, now: Instant) {
        self.needed_bps = needed_bps;
        if self.wish().is_some() && self.next_at.is_none() {
            self.next_at = Some(now);
        }
    }

    /// The estimate after feedback; congestion ends a running probe.
    pub(super) fn on_estimate(&mut self, estimate_bps: f64, congested: bool, now: Instant) {
        self.estimate_bps = estimate_bps;
        self.congested = congested;
        if congested && self.active.take().is_some() {
            self.awaited.pop_back();
            self.initial.clear();
            self.in_vain(now);
        }
    }

    pub(super) fn on_media(&mut self, size: usize) -> ClusterId {
        let Some(active) = &mut self.active else { return ClusterId::NONE };
        active.sent_bytes += size;
        active.sent_packets += 1;
        active.cluster
    }

    pub(super) fn next_padding(&mut self, now: Instant) -> Option<Padding> {
        if self.active.is_none() {
            let (target_bps, length) = self.due_target(now)?;
            self.begin(target_bps, length, now);
        }
        let active = self.active.as_mut()?;
        if active.is_complete() {
            self.complete(now);
            return None;
        }
        if now.saturating_duration_since(active.began) > active.length + MAX_STRETCH {
            self.active = None;
            self.awaited.pop_back();
            self.in_vain(now);
            return None;
        }
        if active.due() > now {
            return None;
        }
        active.sent_bytes += active.chunk_bytes;
        active.sent_packets += 1;
        Some(Padding { bytes: active.chunk_bytes, cluster: active.cluster })
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match &self.active {
            Some(active) => Some(active.due()),
            None if !self.initial.is_empty() || self.wish().is_some() => self.next_at,
            None => None,
        }
    }

    /// A packet of a cluster arrived.
    pub(super) fn on_acked(&mut self, acked: &Acked, now: Instant) {
        let Some(at) = self.awaited.iter().position(|awaited| awaited.cluster == acked.cluster) else {
            return;
        };
        let awaited = &mut self.awaited[at];
        awaited.add(acked);
        let enough = awaited.sent_bytes.is_some_and(|sent| awaited.bytes as f64 >= sent as f64 * MIN_ARRIVED);
        if !enough || awaited.packets < MIN_PACKETS - 1 {
            return;
        }
        let (target_bps, rate) = (awaited.target_bps, awaited.rate());
        self.awaited.remove(at);
        let Some((bps, saturated)) = rate else {
            self.in_vain(now);
            return;
        };
        let bps = bps.min(target_bps * MAX_BEYOND_TARGET);
        self.result_bps = Some(self.result_bps.map_or(bps, |other| other.max(bps)).min(self.max_bps));
        let raised = bps > self.estimate_bps;
        if saturated {
            self.initial.clear();
        }
        if saturated && !raised {
            self.in_vain(now);
        } else {
            self.interval = BASE_INTERVAL;
            if raised && bps >= target_bps * MORE_TO_FIND {
                // The next one may follow at once.
                self.next_at = Some(now);
            }
        }
    }

    /// What probes showed since the last call.
    pub(super) fn take_result(&mut self, now: Instant) -> Option<f64> {
        self.expire(now);
        self.result_bps.take()
    }

    /// More than the estimate, if that is wanted and possible.
    fn wish(&self) -> Option<f64> {
        let needed = self.needed_bps?.min(self.max_bps);
        (self.started && needed > self.estimate_bps).then_some(needed)
    }

    fn due_target(&mut self, now: Instant) -> Option<(f64, Duration)> {
        self.next_at.filter(|at| *at <= now)?;
        self.expire(now);
        if self.congested {
            // A wish outlives the congestion: look again later.
            if !self.initial.is_empty() || self.wish().is_some() {
                self.in_vain(now);
            }
            self.initial.clear();
            return None;
        }
        if let Some(target_bps) = self.initial.pop_front() {
            return Some((target_bps, INITIAL_LENGTH));
        }
        let needed = self.wish()?;
        let increase = ((needed - self.estimate_bps) * OVERAGE).max(MIN_INCREASE_BPS);
        let target_bps = (self.estimate_bps + increase)
            .min((self.estimate_bps * MAX_FACTOR).max(self.estimate_bps + MIN_INCREASE_BPS));
        Some((target_bps.min(self.max_bps), LENGTH))
    }

    fn begin(&mut self, target_bps: f64, length: Duration, now: Instant) {
        let bytes = |time: Duration| (target_bps * time.as_secs_f64() / 8.0) as usize;
        let chunk_bytes = bytes(STEP).clamp(MIN_CHUNK, MAX_CHUNK);
        let cluster = ClusterId(self.next_cluster);
        self.next_cluster = self.next_cluster.checked_add(1).unwrap_or(1);
        let goal_bytes = bytes(length).max(chunk_bytes * MIN_PACKETS as usize);
        self.active = Some(Active {
            cluster,
            target_bps,
            began: now,
            length,
            sent_bytes: 0,
            sent_packets: 0,
            goal_bytes,
            chunk_bytes,
        });
        if self.awaited.len() == MAX_AWAITED {
            self.awaited.pop_front();
        }
        self.awaited.push_back(Awaited::new(cluster, target_bps, now));
        self.next_at = Some(now + self.interval);
    }

    fn complete(&mut self, now: Instant) {
        let Some(active) = self.active.take() else { return };
        if let Some(awaited) = self.awaited.back_mut() {
            awaited.sent_bytes = Some(active.sent_bytes);
        }
        if !self.initial.is_empty() {
            self.next_at = Some(now + INITIAL_GAP);
        }
    }

    /// Forgets clusters that nobody answered.
    fn expire(&mut self, now: Instant) {
        let before = self.awaited.len();
        self.awaited.retain(|awaited| now.saturating_duration_since(awaited.began) < ANSWER_TIMEOUT);
        if self.awaited.len() < before {
            self.lengthen();
        }
    }

    fn in_vain(&mut self, now: Instant) {
        self.lengthen();
        self.next_at = Some(now + self.interval);
    }

    fn lengthen(&mut self) {
        self.interval = self.interval.mul_f64(BACKOFF).min(MAX_INTERVAL);
    }
}

impl Active {
    fn is_complete(&self) -> bool {
        self.sent_bytes >= self.goal_bytes && self.sent_packets >= MIN_PACKETS
    }

    /// When the next chunk is due: the cluster keeps its target rate on average.
    fn due(&self) -> Instant {
        if self.is_complete() {
            return self.began;
        }
        self.began + Duration::from_secs_f64(self.sent_bytes as f64 * 8.0 / self.target_bps)
    }
}

impl Awaited {
    fn new(cluster: ClusterId, target_bps: f64, began: Instant) -> Awaited {
        let none = (0, 0);
        Awaited {
            cluster,
            target_bps,
            began,
            sent_bytes: None,
            packets: 0,
            bytes: 0,
            first_sent: none,
            last_sent: none,
            first_arrival: none,
            last_arrival: none,
        }
    }

    fn add(&mut self, acked: &Acked) {
        let (sent, arrival) = ((acked.sent_us, acked.size), (acked.arrival_us, acked.size));
        if self.packets == 0 {
            (self.first_sent, self.last_sent) = (sent, sent);
            (self.first_arrival, self.last_arrival) = (arrival, arrival);
        }
        self.first_sent = self.first_sent.min(sent);
        self.last_sent = if sent.0 >= self.last_sent.0 { sent } else { self.last_sent };
        self.first_arrival = if arrival.0 < self.first_arrival.0 { arrival } else { self.first_arrival };
        self.last_arrival = if arrival.0 >= self.last_arrival.0 { arrival } else { self.last_arrival };
        self.packets += 1;
        self.bytes += usize::from(acked.size);
    }

    /// Bits per second that the path carries and whether it was saturated; `None` if the cluster proves
    /// nothing.
    fn rate(&self) -> Option<(f64, bool)> {
        // Between the first and the last packet all but one were sent, and all but one arrived.
        let rate = |except: u16, from: i64, to: i64| {
            let span = to - from;
            (1..=MAX_SPAN_US)
                .contains(&span)
                .then(|| (self.bytes - usize::from(except)) as f64 * 8e6 / span as f64)
        };
        let sent = rate(self.last_sent.1, self.first_sent.0, self.last_sent.0)?;
        let arrived = rate(self.first_arrival.1, self.first_arrival.0, self.last_arrival.0)?;
        if arrived > sent * MAX_RATIO {
            return None;
        }
        let saturated = arrived < sent * UNSATURATED_RATIO;
        Some((if saturated { arrived * SATURATED_SHARE } else { arrived.min(sent) }, saturated))
    }
}
