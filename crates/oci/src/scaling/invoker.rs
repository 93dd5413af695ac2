//! A master's turn at the function: once per cycle exactly one of the masters calls it.
//!
//! Cycles are counted by the store's clock, so all masters mean the same one. In each cycle a master tries to take
//! the lock. Whoever has it first writes into it that the function is being called for this cycle, and then calls;
//! who reads that has nothing to do until the next cycle. A holder that dies before it wrote that is replaced in the
//! same cycle, when its lock expires. One that dies between the write and the call leaves a cycle without a call:
//! never are there two, whatever is stopped, delayed or lost.

use std::time::{Duration, Instant};

use super::lock::race::{Lost, Progress, Race, Request};
use super::lock::{Held, Refusal, Seen, Terms, Written};

/// How often the pool is looked at. CPU is a mean of five minutes: sooner, the last removal would not show yet.
pub const CYCLE: Duration = Duration::from_secs(300);

/// Whether scaling is this software's matter, as the tags of the masters say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Elastic,
    /// So many nodes as Terraform made.
    Fixed,
}

/// What an invoker is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this master in the lock.
    pub me: String,
    pub terms: Terms,
    /// Whole seconds.
    pub cycle: Duration,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until then.
    Wait(Instant),
    /// Find out the mode: [`Invoker::mode`].
    ReadMode,
    /// Ask the store: [`Invoker::read`] or [`Invoker::written`].
    Ask(Request),
    /// Call the function, and give up at `until`: [`Invoker::called`].
    Call { cycle: u64, until: Instant },
    /// Look for orphans, and give up at `until`: [`Invoker::swept`].
    Sweep { until: Instant },
}

/// What became of a turn, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    Elsewhere(Refusal),
    Beaten,
    Unclear,
}

/// See the module.
#[derive(Debug)]
pub struct Invoker {
    settings: Settings,
    rng: fastrand::Rng,
    stage: Stage,
    /// The store's clock, when it was last read.
    clock: Option<(Instant, i64)>,
    /// End of the lease that this master has now.
    lease: Option<Instant>,
}

#[derive(Debug)]
enum Stage {
    Waiting(Instant),
    Mode,
    Taking(Race, Request),
    Marking(Race, Request),
    Calling(Held),
    Sweeping(Held),
}

impl Invoker {
    pub fn new(now: Instant, settings: Settings, seed: u64) -> Invoker {
        let mut rng = fastrand::Rng::with_seed(seed);
        let first = now + jitter(&mut rng, settings.cycle);
        Invoker { settings, rng, stage: Stage::Waiting(first), clock: None, lease: None }
    }

    /// Until when the lock is this master's.
    pub fn lease(&self) -> Option<Instant> {
        self.lease
    }

    /// What comes next. The same until an answer or the time changes it.
    pub fn step(&mut self, now: Instant) -> Step {
        if let Stage::Waiting(until) = self.stage {
            if now < until {
                return Step::Wait(until);
            }
            self.stage = Stage::Mode;
        }
        match &self.stage {
            Stage::Waiting(until) => Step::Wait(*until),
            Stage::Mode => Step::ReadMode,
            Stage::Taking(_, request) | Stage::Marking(_, request) => Step::Ask(request.clone()),
            Stage::Calling(held) => Step::Call { cycle: held.cycle().unwrap_or_default(), until: held.until },
            Stage::Sweeping(held) => Step::Sweep { until: held.until },
        }
    }

    /// The answer to [`Step::ReadMode`]; `None`: it could not be found out.
    pub fn mode(&mut self, now: Instant, mode: Option<Mode>) {
        match mode {
            Some(Mode::Elastic) => {
                let cycle_s = self.settings.cycle.as_secs();
                let race = Race::take(&self.settings.me, self.settings.terms, Some(cycle_s));
                self.progress(now, race, Stage::Taking);
            }
            Some(Mode::Fixed) => self.wait_for_next_cycle(now),
            None => self.retry(now),
        }
    }

    /// The answer to a read; `None`: there is none.
    pub fn read(&mut self, now: Instant, seen: Option<&Seen>) -> Option<Turn> {
        self.clock = seen.map(|seen| (seen.asked_at, seen.store_now)).or(self.clock);
        self.answered(now, |race| race.read(seen))
    }

    /// The answer to a write.
    pub fn written(&mut self, now: Instant, written: Written) -> Option<Turn> {
        self.answered(now, |race| race.written(written))
    }

    /// The call is over, however it ended: it is never repeated in this cycle.
    pub fn called(&mut self, now: Instant) {
        match std::mem::replace(&mut self.stage, Stage::Mode) {
            Stage::Calling(held) if now < held.until => self.stage = Stage::Sweeping(held),
            _ => self.wait_for_next_cycle(now),
        }
    }

    /// The search for orphans is over.
    pub fn swept(&mut self, now: Instant) {
        self.wait_for_next_cycle(now);
    }

    fn answered(&mut self, now: Instant, answer: impl FnOnce(Race) -> Progress) -> Option<Turn> {
        match std::mem::replace(&mut self.stage, Stage::Mode) {
            Stage::Taking(race, _) => self.progress(now, answer(race), Stage::Taking),
            Stage::Marking(race, _) => self.progress(now, answer(race), Stage::Marking),
            stage => {
                self.stage = stage;
                None
            }
        }
    }

    fn progress(
        &mut self,
        now: Instant,
        progress: Progress,
        same: fn(Race, Request) -> Stage,
    ) -> Option<Turn> {
        match progress {
            Progress::Ask(race, request) => {
                self.stage = same(race, request);
                None
            }
            Progress::Won(held) if held.is_called() => {
                self.stage = Stage::Calling(held);
                None
            }
            Progress::Won(held) => {
                self.lease = Some(held.until);
                self.progress(now, Race::mark_called(now, &held), Stage::Marking)
            }
            Progress::Lost(lost) => Some(self.lost(now, lost)),
        }
    }

    fn lost(&mut self, now: Instant, lost: Lost) -> Turn {
        match lost {
            Lost::Refused(refusal) => {
                match &refusal {
                    Refusal::Called { .. } => self.wait_for_next_cycle(now),
                    // Should the holder die before it calls, somebody must be there when the lock expires.
                    Refusal::HeldBy { left, .. } => {
                        let until = now + *left + Duration::from_secs(1) + self.short_jitter();
                        self.wait(until);
                    }
                }
                Turn::Elsewhere(refusal)
            }
            Lost::Beaten => {
                self.retry(now);
                Turn::Beaten
            }
            Lost::Unclear | Lost::Late => {
                self.retry(now);
                Turn::Unclear
            }
        }
    }

    fn retry(&mut self, now: Instant) {
        let until = now + self.settings.cycle / 30 + self.short_jitter();
        self.wait(until);
    }

    fn wait(&mut self, until: Instant) {
        self.lease = None;
        self.stage = Stage::Waiting(until);
    }

    fn wait_for_next_cycle(&mut self, now: Instant) {
        let cycle_s = self.settings.cycle.as_secs().max(1) as i64;
        let begins = match self.clock {
            Some((at, store_now)) => {
                let passed = now.saturating_duration_since(at).as_secs() as i64;
                let into = store_now.saturating_add(passed).rem_euclid(cycle_s);
                Duration::from_secs((cycle_s - into) as u64)
            }
            None => self.settings.cycle,
        };
        let jitter = jitter(&mut self.rng, self.settings.cycle);
        self.wait(now + begins + jitter);
    }

    fn short_jitter(&mut self) -> Duration {
        jitter(&mut self.rng, self.settings.cycle) / 4
    }
}

/// Masters do not all come at the same instant: within a fifteenth of the cycle.
fn jitter(rng: &mut fastrand::Rng, cycle: Duration) -> Duration {
    cycle.mul_f64(rng.f64() / 15.0)
}

#[cfg(test)]
mod tests;
