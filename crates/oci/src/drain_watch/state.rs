//! What a drain watcher does when. It goes on where it was after a restart, because everything that it goes by is
//! kept elsewhere: the mark is a tag, the membership is the pool's, the drain is in the cluster's store.

use std::time::{Duration, Instant};

/// How time is divided. All multiples of how often the tags are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How often the tags and the progress of a drain are looked at.
    pub look: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { look: Duration::from_secs(5) }
    }
}

impl Pace {
    /// How often the pool is asked although there is no mark: somebody may have detached the instance by hand.
    fn ask_unmarked(self) -> Duration {
        self.look * 60
    }

    /// How often the pool is asked while there is a mark, or a drain.
    fn ask_marked(self) -> Duration {
        self.look * 3
    }

    /// A node that the cluster does not know for so long has no process, or one that must not serve.
    fn unknown(self) -> Duration {
        self.look * 12
    }

    fn first_retry(self) -> Duration {
        self.look
    }

    fn longest_retry(self) -> Duration {
        self.look * 60
    }
}

/// What a drain is given until what has not moved is closed: rooms move within seconds, so what is left after a day
/// cannot move at all.
pub const DEADLINE: Duration = Duration::from_secs(24 * 3_600);

/// Without a mark the pool must say so often in a row that the instance is not its member: its list lags behind.
const UNMARKED_CHECKS: u32 = 3;

/// So often in a row the pool must say that the instance is back: its list lags behind.
const BACK_CHECKS: u32 = 2;

/// So often in a row a node must have been seen empty.
const EMPTY_LOOKS: u32 = 2;

/// Whether this instance is in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    Member,
    Out,
    /// The stack has no pool.
    NoPool,
}

/// The node on this instance, as a master sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is registered.
    Known { draining: bool, rooms: u32, participants: u32 },
    /// The store is there and does not have it.
    Unknown,
}

impl Look {
    fn is_empty(self) -> bool {
        matches!(self, Look::Known { draining: true, rooms: 0, participants: 0 })
    }
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Wait(Instant),
    /// [`DrainWatch::tags`].
    ReadTags,
    /// [`DrainWatch::membership`].
    AskPool,
    /// Begin to empty the node, and look at it: [`DrainWatch::looked`].
    StartDrain,
    /// [`DrainWatch::looked`].
    Look,
    /// Let the node serve again: [`DrainWatch::cancelled`].
    CancelDrain,
    /// [`DrainWatch::ended`].
    AskForEnd,
}

/// What the function said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This instance ends now.
    Comes,
    /// Not now, or nobody answered.
    Not,
}

/// See the module.
#[derive(Debug)]
pub struct DrainWatch {
    pace: Pace,
    rng: fastrand::Rng,
    stage: Stage,
    marked: bool,
    /// The pool had this instance once, in the time of this process.
    was_member: bool,
    /// Since when the node on this instance is unknown to the cluster.
    unknown_since: Option<Instant>,
    /// How often in a row the pool said that it is a member again.
    in_again: u32,
}

#[derive(Debug)]
enum Stage {
    /// It serves. `out`: how often in a row the pool did not list it.
    Serving { next: Instant, ask: Instant, out: u32, step: Serving },
    /// It is out of the pool.
    Draining { next: Instant, ask: Instant, empty: u32, step: Draining },
    /// Nothing is left on it.
    Ending { next: Instant, ask: Instant, tries: u32, step: Ending },
    /// It is a member again.
    Returning { next: Instant },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serving {
    ReadTags,
    AskPool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draining {
    AskPool,
    Look,
    Start,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    AskPool,
    Ask,
}

impl DrainWatch {
    pub fn new(now: Instant, pace: Pace, seed: u64) -> DrainWatch {
        let mut rng = fastrand::Rng::with_seed(seed);
        // Nodes that a pool made together do not ask together.
        let ask = now + pace.ask_unmarked().mul_f64(rng.f64());
        let stage = Stage::Serving { next: now, ask, out: 0, step: Serving::ReadTags };
        DrainWatch { pace, rng, stage, marked: false, was_member: false, unknown_since: None, in_again: 0 }
    }

    /// What comes next. The same until an answer or the time changes it.
    pub fn step(&mut self, now: Instant) -> Step {
        match &mut self.stage {
            Stage::Serving { next, .. }
            | Stage::Draining { next, .. }
            | Stage::Ending { next, .. }
            | Stage::Returning { next }
                if now < *next =>
            {
                Step::Wait(*next)
            }
            Stage::Serving { step: Serving::ReadTags, .. } => Step::ReadTags,
            Stage::Serving { step: Serving::AskPool, .. } => Step::AskPool,
            Stage::Draining { ask, step, .. } => match step {
                Draining::Look if now >= *ask => {
                    *step = Draining::AskPool;
                    Step::AskPool
                }
                Draining::AskPool => Step::AskPool,
                Draining::Look => Step::Look,
                Draining::Start => Step::StartDrain,
            },
            Stage::Ending { ask, step, .. } => match step {
                Ending::Ask if now >= *ask => {
                    *step = Ending::AskPool;
                    Step::AskPool
                }
                Ending::AskPool => Step::AskPool,
                Ending::Ask => Step::AskForEnd,
            },
            Stage::Returning { .. } => Step::CancelDrain,
        }
    }

    /// Whether this instance is being removed.
    pub fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Draining { .. } | Stage::Ending { .. })
    }

    /// Whether the tags have the mark; `None`: they could not be read.
    pub fn tags(&mut self, now: Instant, marked: Option<bool>) {
        let Stage::Serving { next, ask, step, .. } = &mut self.stage else { return };
        self.marked = marked.unwrap_or(self.marked);
        if self.marked || now >= *ask {
            *step = Serving::AskPool;
        } else {
            *next = now + self.pace.look;
        }
    }

    /// What the pool says; `None`: it did not answer.
    pub fn membership(&mut self, now: Instant, answer: Option<Membership>) {
        let pace = self.pace;
        let is_in = answer == Some(Membership::Member);
        self.was_member |= is_in;
        self.in_again = if is_in { self.in_again + 1 } else { 0 };
        let again = now + if is_in { pace.ask_marked() } else { pace.ask_unmarked() };
        match &mut self.stage {
            Stage::Serving { next, ask, out, step } => {
                *step = Serving::ReadTags;
                *next = now + if self.marked { pace.ask_marked() } else { pace.look };
                match answer {
                    Some(Membership::Out) => *out += 1,
                    // A pool that is gone ends its members itself.
                    Some(Membership::NoPool) if self.marked => *out += 1,
                    Some(Membership::NoPool | Membership::Member) => *out = 0,
                    None => {
                        // What was said before is not what is so now.
                        *ask = now + pace.ask_marked();
                        return;
                    }
                }
                let unmarked = now + pace.ask_unmarked().mul_f64(0.9 + 0.2 * self.rng.f64());
                *ask = if *out == 0 { unmarked } else { now + pace.ask_marked() };
                let certain = match self.marked {
                    true => *out >= 1,
                    // A pool may not list yet what it has just made.
                    false => *out >= UNMARKED_CHECKS && self.was_member,
                };
                if certain {
                    self.drain(now);
                }
            }
            Stage::Draining { ask, step, .. } => {
                (*ask, *step) = (again, Draining::Look);
                if self.in_again >= BACK_CHECKS {
                    self.stage = Stage::Returning { next: now };
                }
            }
            Stage::Ending { ask, step, .. } => {
                (*ask, *step) = (again, Ending::Ask);
                if self.in_again >= BACK_CHECKS {
                    self.stage = Stage::Returning { next: now };
                }
            }
            Stage::Returning { .. } => {}
        }
    }

    fn drain(&mut self, now: Instant) {
        let ask = now + self.pace.ask_unmarked();
        (self.unknown_since, self.in_again) = (None, 0);
        self.stage = Stage::Draining { next: now, ask, empty: 0, step: Draining::Look };
    }

    /// How the node is; `None`: no master could say.
    pub fn looked(&mut self, now: Instant, look: Option<Look>) {
        let pace = self.pace;
        let Stage::Draining { next, empty, step, .. } = &mut self.stage else { return };
        *next = now + pace.look;
        match look {
            None => {
                *empty = 0;
                self.unknown_since = None;
                *step = Draining::Look;
                return;
            }
            Some(Look::Unknown) => {
                *empty = 0;
                *step = Draining::Look;
                let since = *self.unknown_since.get_or_insert(now);
                if now.saturating_duration_since(since) < pace.unknown() {
                    return;
                }
            }
            Some(Look::Known { draining: false, .. }) => {
                *empty = 0;
                self.unknown_since = None;
                // At once, but for a start that has just been tried.
                if *step != Draining::Start {
                    *next = now;
                }
                *step = Draining::Start;
                return;
            }
            Some(look) => {
                self.unknown_since = None;
                *step = Draining::Look;
                *empty = if look.is_empty() { *empty + 1 } else { 0 };
                if *empty < EMPTY_LOOKS {
                    return;
                }
            }
        }
        let ask = now + pace.ask_unmarked();
        self.stage = Stage::Ending { next: now, ask, tries: 0, step: Ending::Ask };
    }

    /// What came of asking for this instance's end. That it comes is said once more later: until it is there.
    pub fn ended(&mut self, now: Instant, end: End) {
        let Stage::Ending { next, tries, .. } = &mut self.stage else { return };
        let wait = match end {
            End::Comes => self.pace.longest_retry(),
            End::Not => {
                let doubled = self.pace.first_retry().saturating_mul(1 << (*tries).min(10));
                *tries += 1;
                doubled.min(self.pace.longest_retry())
            }
        };
        *next = now + wait.mul_f64(0.75 + 0.5 * self.rng.f64());
    }

    /// Whether the node serves again.
    pub fn cancelled(&mut self, now: Instant, done: bool) {
        let Stage::Returning { next } = &mut self.stage else { return };
        if !done {
            *next = now + self.pace.look;
            return;
        }
        let ask = now + self.pace.ask_unmarked();
        self.stage = Stage::Serving { next: now + self.pace.look, ask, out: 0, step: Serving::ReadTags };
    }
}

#[cfg(test)]
mod tests;
