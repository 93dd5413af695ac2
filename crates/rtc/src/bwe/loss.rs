//! The share of the estimate that loss decides.
//!
//! Loss has two causes. A full or policed bottleneck drops what is too much: sending less helps. A bad radio
//! link drops some packets at any rate: sending less only makes the picture worse. The controller tells them
//! apart by trying: heavy loss cuts the estimate, and if sending less made less arrive, the loss is taken as
//! inherent to the path and the cut undone. Its influence is bounded: it never cuts below
//! what arrives.

use std::time::{Duration, Instant};

use super::delay::Usage;
use crate::twcc::PacketResult;

/// A ratio is computed from at least so many packets, over at least this time.
const MIN_PACKETS: f64 = 20.0;
const MIN_OBSERVATION: Duration = Duration::from_millis(250);
/// Weight that observations keep with each newer one: about a second of memory.
const DECAY: f64 = 0.7;
/// Loss above this cuts the estimate (draft-ietf-rmcat-gcc-02 §6)…
const CUT_ABOVE: f64 = 0.10;
/// …unless it is not this much above what is inherent to the path.
const CUT_EXCESS: f64 = 0.05;
/// Loss this much above the inherent loss stops growth.
const GROW_EXCESS: f64 = 0.03;
/// Time constant with which steady loss is taken as inherent, and how far that goes.
const LEARN_TIME: Duration = Duration::from_secs(3);
const LEARN_MAX: f64 = 0.10;
/// Most that a trial can prove inherent. Beyond it a path is unusable whatever the cause.
const TRIAL_MAX: f64 = 0.30;
/// …and how slowly it is forgotten where it goes beyond [`LEARN_MAX`], so that trials repeat.
const FORGET_TIME: Duration = Duration::from_secs(20);
/// A trial proves something only if at most this share of the rate before was sent.
const TRIAL_LESS_SENT: f64 = 0.9;
/// Beyond the round trip, how long a cut takes to show in feedback, and how long is then measured.
const TRIAL_SETTLE: Duration = Duration::from_millis(250);
const TRIAL_TIME: Duration = Duration::from_millis(600);

/// What the controller wants done to the estimate.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Verdict {
    /// Not more than this.
    pub(super) limit_bps: Option<f64>,
    /// Undo a cut: not less than this.
    pub(super) restore_bps: Option<f64>,
    pub(super) may_grow: bool,
}

/// What was sent and what of it was lost.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    packets: f64,
    lost: f64,
    bytes: f64,
    lost_bytes: f64,
    seconds: f64,
}

impl Tally {
    fn loss(&self) -> f64 {
        if self.packets > 0.0 { self.lost.clamp(0.0, self.packets) / self.packets } else { 0.0 }
    }

    /// The ratio less the standard error of a count: few packets prove little.
    fn surely_lost(&self) -> f64 {
        let surely = (self.lost - self.lost.max(0.0).sqrt()).clamp(0.0, self.packets);
        if self.packets > 0.0 { surely / self.packets } else { 0.0 }
    }

    /// Rates of sending and of arriving.
    fn bps(&self) -> (f64, f64) {
        let rate = |bytes: f64| bytes.max(0.0) * 8.0 / self.seconds.max(0.001);
        (rate(self.bytes), rate(self.bytes - self.lost_bytes))
    }

    fn add(&mut self, newer: Tally) {
        self.packets = self.packets * DECAY + newer.packets;
        self.lost = self.lost * DECAY + newer.lost;
        self.bytes = self.bytes * DECAY + newer.bytes;
        self.lost_bytes = self.lost_bytes * DECAY + newer.lost_bytes;
        self.seconds = self.seconds * DECAY + newer.seconds;
    }
}

#[derive(Debug, Clone, Copy)]
struct Trial {
    settled: Instant,
    until: Instant,
    /// The estimate, and what was sent and arrived, before the cut.
    estimate_bps: f64,
    sent_bps: f64,
    arrived_bps: f64,
}

impl Trial {
    /// Whether sending less made less arrive: then it was not the bottleneck that dropped the rest.
    fn was_in_vain(&self, after: &Tally) -> bool {
        let (sent_bps, arrived_bps) = after.bps();
        let sent = sent_bps / self.sent_bps.max(1.0);
        let arrived = arrived_bps / self.arrived_bps.max(1.0);
        sent <= TRIAL_LESS_SENT && arrived < (1.0 + sent) / 2.0
    }
}

#[derive(Debug)]
pub(super) struct LossController {
    /// The observation in progress, and the past with decay.
    fresh: Tally,
    past: Tally,
    inherent: f64,
    observed_at: Option<Instant>,
    trial: Option<Trial>,
}

impl LossController {
    pub(super) fn new() -> LossController {
        LossController {
            fresh: Tally::default(),
            past: Tally::default(),
            inherent: 0.0,
            observed_at: None,
            trial: None,
        }
    }

    pub(super) fn count(&mut self, result: &PacketResult) {
        let size = f64::from(result.size);
        if result.was_lost {
            // Reordered by more than one feedback, and already counted.
            self.fresh.lost -= 1.0;
            self.fresh.lost_bytes -= size;
            return;
        }
        self.fresh.packets += 1.0;
        self.fresh.bytes += size;
        if result.arrival_us.is_none() {
            self.fresh.lost += 1.0;
            self.fresh.lost_bytes += size;
        }
    }

    /// Steps once, after feedback. `acked_bps` is what arrives.
    pub(super) fn update(
        &mut self,
        now: Instant,
        rtt: Duration,
        acked_bps: Option<f64>,
        estimate_bps: f64,
        usage: Usage,
    ) -> Verdict {
        let elapsed = self.observed_at.map(|since| now.saturating_duration_since(since)).unwrap_or_default();
        // Of what came before the first feedback the time is not known.
        if self.observed_at.is_none() || self.trial.is_some_and(|trial| now < trial.settled) {
            (self.fresh, self.observed_at) = (Tally::default(), Some(now));
        } else if elapsed >= MIN_OBSERVATION && self.fresh.packets >= MIN_PACKETS {
            self.observed_at = Some(now);
            self.fresh.seconds = elapsed.as_secs_f64();
            self.past.add(std::mem::take(&mut self.fresh));
            return self.judge(now, elapsed, rtt, acked_bps, estimate_bps, usage);
        }
        Verdict { may_grow: self.may_grow(), ..Verdict::default() }
    }

    fn judge(
        &mut self,
        now: Instant,
        elapsed: Duration,
        rtt: Duration,
        acked_bps: Option<f64>,
        estimate_bps: f64,
        usage: Usage,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        let loss = self.past.loss();
        self.learn(loss, elapsed, usage);
        let done = self.trial.take_if(|trial| now >= trial.until);
        if let Some(trial) = done.filter(|trial| trial.was_in_vain(&self.past)) {
            self.inherent = self.inherent.max(loss.min(TRIAL_MAX));
            verdict.restore_bps = Some(trial.estimate_bps);
        }
        let excess = self.past.surely_lost() > CUT_ABOVE.max(self.inherent + CUT_EXCESS);
        if let Some(acked) = acked_bps.filter(|_| excess && self.trial.is_none()) {
            verdict.limit_bps = Some((estimate_bps * (1.0 - loss)).max(acked));
            let settled = now + rtt + TRIAL_SETTLE;
            let (sent_bps, arrived_bps) = self.past.bps();
            self.trial =
                Some(Trial { settled, until: settled + TRIAL_TIME, estimate_bps, sent_bps, arrived_bps });
            // The trial is judged by what is sent after the cut.
            self.past = Tally::default();
        }
        verdict.may_grow = self.may_grow() && verdict.limit_bps.is_none();
        verdict
    }

    fn learn(&mut self, loss: f64, elapsed: Duration, usage: Usage) {
        let step = |time: Duration| (elapsed.as_secs_f64() / time.as_secs_f64()).min(1.0);
        if loss < self.inherent {
            self.inherent = loss;
        } else if self.inherent > LEARN_MAX {
            self.inherent -= (self.inherent - LEARN_MAX) * step(FORGET_TIME);
        } else if usage != Usage::Over {
            self.inherent += (loss.min(LEARN_MAX) - self.inherent) * step(LEARN_TIME);
        }
    }

    /// The share that the path loses at any rate.
    pub(super) fn inherent(&self) -> f64 {
        self.inherent
    }

    fn may_grow(&self) -> bool {
        self.trial.is_none() && self.past.surely_lost() <= self.inherent + GROW_EXCESS
    }
}
