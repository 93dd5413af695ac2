//! How much may be sent to one peer: send-side bandwidth estimation from transport-wide feedback.
//!
//! The shape is Google congestion control (draft-ietf-rmcat-gcc-02) with what libwebrtc's practice added:
//! a delay detector ([`delay`]) sees the bottleneck's queue grow long before packets drop, a rate controller
//! ([`rate`]) turns its verdict into bits per second, a loss controller ([`loss`]) covers bottlenecks without
//! a queue, and probes ([`probe`]) find capacity that media alone would not use. Two things are peculiar to a
//! forwarding server: media leaves unpaced, in the bursts in which it came, and media is often less than the
//! path could carry. So the detector looks at the fastest packet of each burst, not the last, and the
//! estimate is a statement about the path that does not sink to what happens to be sent.

mod acked;
mod delay;
mod loss;
mod probe;
mod rate;

use std::time::{Duration, Instant};

use crate::twcc::{ClusterId, PacketResult};
use acked::AckedRate;
use delay::{DelayDetector, Usage};
use loss::LossController;
use probe::Prober;
use rate::{Path, RateController};

pub use probe::{
    BASE_INTERVAL as PROBE_BASE_INTERVAL, MAX_CHUNK as PROBE_MAX_CHUNK, MAX_INTERVAL as PROBE_MAX_INTERVAL,
    Padding,
};

/// Longest burst of results kept while sorting; feedback beyond it is worked off in parts.
const MAX_BATCH: usize = 2048;
/// After so long without transport-wide feedback, receiver reports are believed instead.
const FEEDBACK_SILENCE: Duration = Duration::from_secs(1);
/// After so long without feedback its last verdict is void: whoever paused everything because of it must be
/// able to find out that the path has recovered.
const VERDICT_LIFETIME: Duration = Duration::from_secs(2);
/// The path counts as congested this long after the last cut: the queue still drains.
const COOL_DOWN: Duration = Duration::from_millis(500);
/// A standing queue above this is congestion, whether it grows or not.
const STANDING_QUEUE_MS: f64 = 100.0;
/// Assumed until measured.
const DEFAULT_RTT: Duration = Duration::from_millis(100);

/// What the estimator thinks of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathState {
    /// Nothing speaks against sending as much as the estimate.
    Clear,
    /// The queue at the bottleneck grows, stands, or was just cut down.
    Congested,
}

/// A packet that arrived.
#[derive(Debug, Clone, Copy)]
struct Acked {
    sent_us: i64,
    arrival_us: i64,
    size: u16,
    cluster: ClusterId,
}

/// Estimates the bandwidth towards one peer.
#[derive(Debug)]
pub struct Estimator {
    delay: DelayDetector,
    rate: RateController,
    loss: LossController,
    acked: AckedRate,
    prober: Prober,
    /// Scratch for sorting by arrival; at most [`MAX_BATCH`].
    batch: Vec<Acked>,
    rtt: Duration,
    last_feedback: Option<Instant>,
    last_rr_step: Option<Instant>,
    last_cut: Option<Instant>,
}

impl Estimator {
    /// Begins at `initial_bps`; the estimate always stays in `min_bps..=max_bps`.
    pub fn new(initial_bps: u64, min_bps: u64, max_bps: u64) -> Estimator {
        let min_bps = min_bps.max(1);
        let max_bps = max_bps.max(min_bps);
        let initial_bps = initial_bps.clamp(min_bps, max_bps);
        Estimator {
            delay: DelayDetector::new(),
            rate: RateController::new(initial_bps as f64, min_bps as f64, max_bps as f64),
            loss: LossController::new(),
            acked: AckedRate::new(),
            prober: Prober::new(initial_bps as f64, max_bps as f64),
            batch: Vec::new(),
            rtt: DEFAULT_RTT,
            last_feedback: None,
            last_rr_step: None,
            last_cut: None,
        }
    }

    /// The peer can receive and gives feedback: the initial probes may go out.
    pub fn start(&mut self, now: Instant) {
        self.prober.start(now);
    }

    /// Takes what [`crate::twcc::SentPackets::on_feedback`] yields. `rtt` as reported by RTCP, if known.
    pub fn on_feedback(
        &mut self,
        now: Instant,
        results: impl IntoIterator<Item = PacketResult>,
        rtt: Option<Duration>,
    ) {
        self.rtt = rtt.unwrap_or(self.rtt);
        self.last_feedback = Some(now);
        self.batch.clear();
        for result in results {
            self.loss.count(&result);
            if let Some(arrival_us) = result.arrival_us {
                self.batch.push(Acked {
                    sent_us: result.sent_us as i64,
                    arrival_us,
                    size: result.size,
                    cluster: result.cluster,
                });
            }
            if self.batch.len() == MAX_BATCH {
                self.take_batch(now);
            }
        }
        self.take_batch(now);
        self.update(now);
    }

    /// A receiver report told the share of packets lost, 0.0..=1.0. Counts only for peers that give no
    /// transport-wide feedback.
    pub fn on_rr_loss(&mut self, now: Instant, loss: f32) {
        let quiet = |since: Option<Instant>| {
            since.is_none_or(|since| now.saturating_duration_since(since) >= FEEDBACK_SILENCE)
        };
        if !quiet(self.last_feedback) || !quiet(self.last_rr_step) || !loss.is_finite() {
            return;
        }
        self.last_rr_step = Some(now);
        // The loss-based controller of draft-ietf-rmcat-gcc-02 §6.
        let factor = match f64::from(loss.clamp(0.0, 1.0)) {
            loss if loss > 0.10 => {
                self.last_cut = Some(now);
                1.0 - 0.5 * loss
            }
            loss if loss < 0.02 => 1.05,
            _ => 1.0,
        };
        self.rate.set(self.rate.estimate_bps() * factor, now);
        self.inform_prober(now);
    }

    /// Bits per second that the path is thought to carry, headers included.
    pub fn estimate_bps(&self) -> u64 {
        self.rate.estimate_bps() as u64
    }

    /// Bits per second that arrived lately; `None` before there is enough feedback.
    pub fn acked_bps(&self) -> Option<u64> {
        self.acked.bps().map(|bps| bps as u64)
    }

    /// Growth of the queue at the bottleneck since its emptiest in the last 10 to 20 s.
    pub fn queue_delay(&self) -> Duration {
        Duration::from_secs_f64(self.delay.queue_ms() / 1000.0)
    }

    /// Whether the path shows signs of congestion.
    pub fn state(&self, now: Instant) -> PathState {
        let cooling = self.last_cut.is_some_and(|cut| now.saturating_duration_since(cut) < COOL_DOWN);
        let valid =
            self.last_feedback.is_some_and(|last| now.saturating_duration_since(last) < VERDICT_LIFETIME);
        let queueing = self.delay.usage() == Usage::Over || self.delay.queue_ms() > STANDING_QUEUE_MS;
        if cooling || valid && queueing { PathState::Congested } else { PathState::Clear }
    }

    /// As [`Self::state`].
    pub fn is_congested(&self, now: Instant) -> bool {
        self.state(now) == PathState::Congested
    }

    /// What the allocator would send in all if it could, in bits per second; `None` when it is content. While
    /// that is more than the estimate, probes look for it.
    pub fn set_needed_bps(&mut self, now: Instant, needed_bps: Option<u64>) {
        self.prober.set_needed(needed_bps.map(|bps| bps as f64), now);
    }

    /// To be asked for each media packet of `size` bytes before it is sent: names the probe that it belongs
    /// to, since media takes the place of padding. Remember it with the packet.
    pub fn on_media(&mut self, size: usize) -> ClusterId {
        self.prober.on_media(size)
    }

    /// Padding that a probe wants sent now; ask again until `None`. What is not sent is simply missing from
    /// the probe's result.
    pub fn next_padding(&mut self, now: Instant) -> Option<Padding> {
        self.inform_prober(now);
        self.prober.next_padding(now)
    }

    /// When to ask [`Self::next_padding`]; `None` unless a probe runs or is planned.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.prober.next_timeout()
    }

    fn take_batch(&mut self, now: Instant) {
        self.batch.sort_unstable_by_key(|acked| (acked.arrival_us, acked.sent_us));
        for acked in &self.batch {
            self.acked.add(acked.arrival_us, acked.size);
            self.delay.add(acked.sent_us, acked.arrival_us);
            if acked.cluster != ClusterId::NONE {
                self.prober.on_acked(acked, now);
            }
        }
        self.batch.clear();
    }

    fn update(&mut self, now: Instant) {
        let before = self.rate.estimate_bps();
        let probed = self.prober.take_result(now);
        let acked = self.acked.bps();
        let verdict = self.loss.update(now, self.rtt, acked, before, self.delay.usage());
        if let Some(probed) = probed.filter(|probed| *probed > before) {
            self.rate.set_probed(probed, now);
        } else {
            let path = Path {
                delay: &self.delay,
                acked: &self.acked,
                inherent_loss: self.loss.inherent(),
                rtt: self.rtt,
                may_grow: verdict.may_grow,
            };
            self.rate.update(now, &path);
        }
        if let Some(bps) = verdict.limit_bps {
            self.rate.set(self.rate.estimate_bps().min(bps), now);
        }
        if let Some(bps) = verdict.restore_bps {
            self.rate.set(self.rate.estimate_bps().max(bps), now);
        }
        if self.rate.estimate_bps() < before {
            self.last_cut = Some(now);
        }
        self.inform_prober(now);
    }

    fn inform_prober(&mut self, now: Instant) {
        let congested = self.is_congested(now);
        self.prober.on_estimate(self.rate.estimate_bps(), congested, now);
    }
}

#[cfg(test)]
mod link;
#[cfg(test)]
mod tests;
