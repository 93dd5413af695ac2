//! Turns the delay detector's verdict into a rate: additive or multiplicative increase, multiplicative
//! decrease (draft-ietf-rmcat-gcc-02 §5.5).

use std::time::{Duration, Instant};

use super::acked::AckedRate;
use super::delay::{DelayDetector, Usage};

/// A decrease goes to this share of what the bottleneck delivers, so that its queue drains.
const DECREASE: f64 = 0.85;
/// Growth per second far from any known limit.
const INCREASE: f64 = 1.08;
/// Growth per second near a known limit, at least: the draft's one packet per response time would creep at
/// 20 Mbit/s. Near begins at this share of the limit; below it the gap that a decrease left is closed fast.
const NEAR_INCREASE: f64 = 1.02;
const NEAR: f64 = 0.95;
/// An estimate grows at most to this multiple of what arrives, plus the constant: more is unproven.
const MAX_OVER_ACKED: f64 = 1.5;
const OVER_ACKED_BPS: f64 = 10_000.0;
/// Arriving less than this share of the estimate means that media, not the path, sets the rate.
const APP_LIMITED: f64 = 0.7;
/// While media sets the rate, over-use is believed fully once it lasts this long or queues this much:
/// cross traffic and radio links cause shorter bouts.
const PATIENCE: Duration = Duration::from_millis(250);
const PATIENCE_QUEUE_MS: f64 = 100.0;
/// For so long after a probe's result the queue that the probe itself built is no over-use, unless it is
/// as long as above.
const PROBE_GRACE: Duration = Duration::from_millis(300);
/// Bouts of over-use closer than this are one.
const SAME_BOUT: Duration = Duration::from_secs(1);
/// Bounds of the time between two decreases: the first must have had a chance to show.
const MIN_DECREASE_INTERVAL: Duration = Duration::from_millis(100);
const MAX_DECREASE_INTERVAL: Duration = Duration::from_millis(300);
/// Feedback comes this much after the packets it tells of.
const FEEDBACK_DELAY: Duration = Duration::from_millis(100);
/// Assumed size of a packet in bits, for the additive increase.
const PACKET_BITS: f64 = 1200.0 * 8.0;
/// Smoothing of the link capacity, and of its variance.
const CAPACITY_WEIGHT: f64 = 0.05;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Increase,
    Hold,
}

/// What is known of the path.
pub(super) struct Path<'a> {
    pub(super) delay: &'a DelayDetector,
    pub(super) acked: &'a AckedRate,
    /// Share of packets that the path loses at any rate.
    pub(super) inherent_loss: f64,
    pub(super) rtt: Duration,
    /// Whether loss permits growth.
    pub(super) may_grow: bool,
}

impl Path<'_> {
    /// What passes the bottleneck: what arrives, and what is lost elsewhere.
    fn passed_bps(&self) -> Option<f64> {
        self.acked.bps().map(|bps| bps / (1.0 - self.inherent_loss.min(0.5)))
    }

    /// As [`Self::passed_bps`], of a path that is overloaded now.
    fn bottleneck_bps(&self) -> Option<f64> {
        self.acked.bottleneck_bps().map(|bps| bps / (1.0 - self.inherent_loss.min(0.5)))
    }
}

#[derive(Debug)]
pub(super) struct RateController {
    estimate_bps: f64,
    min_bps: f64,
    max_bps: f64,
    mode: Mode,
    capacity: Capacity,
    last_update: Option<Instant>,
    last_change: Option<Instant>,
    last_probe: Option<Instant>,
    /// Begin and latest sign of the current bout of over-use.
    bout: Option<(Instant, Instant)>,
    /// Whether this bout has had its lenient decrease.
    lenient_done: bool,
}

impl RateController {
    pub(super) fn new(initial_bps: f64, min_bps: f64, max_bps: f64) -> RateController {
        RateController {
            estimate_bps: initial_bps,
            min_bps,
            max_bps,
            mode: Mode::Increase,
            capacity: Capacity::default(),
            last_update: None,
            last_change: None,
            last_probe: None,
            bout: None,
            lenient_done: false,
        }
    }

    pub(super) fn estimate_bps(&self) -> f64 {
        self.estimate_bps
    }

    /// Overrides the estimate.
    pub(super) fn set(&mut self, bps: f64, now: Instant) {
        let bps = bps.clamp(self.min_bps, self.max_bps);
        if bps != self.estimate_bps {
            self.estimate_bps = bps;
            self.last_change = Some(now);
        }
    }

    /// A probe has shown that the path carries `bps`.
    pub(super) fn set_probed(&mut self, bps: f64, now: Instant) {
        self.set(bps, now);
        (self.last_update, self.last_probe) = (Some(now), Some(now));
        if self.capacity.upper_bps().is_some_and(|upper| bps > upper) {
            self.capacity = Capacity::default();
        }
    }

    /// Steps once, after feedback.
    pub(super) fn update(&mut self, now: Instant, path: &Path<'_>) {
        let elapsed = self.last_update.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last_update = Some(now);
        match path.delay.usage() {
            Usage::Over => {
                self.mode = Mode::Hold;
                self.on_overuse(now, path);
            }
            Usage::Under => self.mode = Mode::Hold,
            Usage::Normal if self.mode == Mode::Hold => self.mode = Mode::Increase,
            Usage::Normal if path.may_grow && path.delay.queue_ms() <= PATIENCE_QUEUE_MS => {
                self.increase(elapsed, path);
            }
            Usage::Normal => {}
        }
    }

    fn on_overuse(&mut self, now: Instant, path: &Path<'_>) {
        let probed = self.last_probe.is_some_and(|last| now.saturating_duration_since(last) < PROBE_GRACE);
        if probed && path.delay.queue_ms() <= PATIENCE_QUEUE_MS {
            return;
        }
        let began = match self.bout {
            Some((began, latest)) if now.saturating_duration_since(latest) < SAME_BOUT => began,
            _ => {
                self.lenient_done = false;
                now
            }
        };
        self.bout = Some((began, now));
        let interval = (path.rtt + FEEDBACK_DELAY).clamp(MIN_DECREASE_INTERVAL, MAX_DECREASE_INTERVAL);
        if self.last_change.is_some_and(|last| now.saturating_duration_since(last) < interval)
            && self.lenient_done
        {
            return;
        }
        let Some(delivered) = path.bottleneck_bps() else {
            self.lenient_done = true;
            self.set(self.estimate_bps * DECREASE, now);
            return;
        };
        let app_limited = delivered < self.estimate_bps * APP_LIMITED;
        let believed =
            now.saturating_duration_since(began) >= PATIENCE || path.delay.queue_ms() > PATIENCE_QUEUE_MS;
        let target = if app_limited && !believed {
            if self.lenient_done {
                return;
            }
            self.estimate_bps * DECREASE
        } else {
            self.capacity.on_delivered(delivered);
            delivered * DECREASE
        };
        self.lenient_done = true;
        self.set(self.estimate_bps.min(target), now);
    }

    fn increase(&mut self, elapsed: Duration, path: &Path<'_>) {
        let Some(delivered) = path.passed_bps() else { return };
        if self.capacity.upper_bps().is_some_and(|upper| delivered > upper) {
            self.capacity = Capacity::default();
        }
        let seconds = elapsed.as_secs_f64().min(1.0);
        let near = self.capacity.kbps.is_some_and(|kbps| self.estimate_bps > kbps * 1000.0 * NEAR);
        let grown = if near {
            let response = 2.0 * (path.rtt + FEEDBACK_DELAY).as_secs_f64();
            let additive = self.estimate_bps + (PACKET_BITS / response).max(4000.0) * seconds;
            additive.max(self.estimate_bps * NEAR_INCREASE.powf(seconds))
        } else {
            (self.estimate_bps * INCREASE.powf(seconds)).max(self.estimate_bps + 1000.0 * seconds)
        };
        let proven = MAX_OVER_ACKED * delivered + OVER_ACKED_BPS;
        if grown.min(proven) > self.estimate_bps {
            // Steady growth is no change that a decrease would have to wait for.
            self.estimate_bps = grown.min(proven).clamp(self.min_bps, self.max_bps);
        }
    }
}

/// What the path delivered when it was overloaded, with its spread.
#[derive(Debug, Clone, Copy, Default)]
struct Capacity {
    kbps: Option<f64>,
    /// Variance divided by the mean, in kbit/s.
    variance: f64,
}

impl Capacity {
    fn on_delivered(&mut self, bps: f64) {
        let sample = bps / 1000.0;
        let outside = |capacity: &Capacity, mean: f64| (sample - mean).abs() > 3.0 * capacity.deviation(mean);
        match self.kbps {
            Some(mean) if !outside(self, mean) => {
                let mean = (1.0 - CAPACITY_WEIGHT) * mean + CAPACITY_WEIGHT * sample;
                self.kbps = Some(mean);
                let error = (mean - sample) * (mean - sample) / mean.max(1.0);
                self.variance =
                    ((1.0 - CAPACITY_WEIGHT) * self.variance + CAPACITY_WEIGHT * error).clamp(0.4, 2.5);
            }
            _ => *self = Capacity { kbps: Some(sample), variance: 0.4 },
        }
    }

    fn deviation(&self, mean: f64) -> f64 {
        (self.variance * mean).sqrt()
    }

    fn upper_bps(&self) -> Option<f64> {
        self.kbps.map(|mean| (mean + 3.0 * self.deviation(mean)) * 1000.0)
    }
}
