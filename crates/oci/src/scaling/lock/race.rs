//! One attempt to get the lock, or to write into the one that is ours: which request comes next, and how it ended.

use std::time::Instant;

use super::{Attempt, Held, Refusal, Seen, Terms, Written, take};

/// What to ask of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Read,
    Write(Attempt),
}

/// Why the lock is not ours, or not for certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    Refused(Refusal),
    /// Another was faster.
    Beaten,
    /// The store did not answer. Should the lock be ours all the same, it expires unused.
    Unclear,
    /// Our lease was over.
    Late,
}

/// Where an attempt is.
#[derive(Debug)]
pub enum Progress {
    Ask(Race, Request),
    Won(Held),
    Lost(Lost),
}

/// An attempt that waits for an answer.
#[derive(Debug)]
pub struct Race(Stage);

#[derive(Debug)]
enum Stage {
    Reading {
        me: String,
        terms: Terms,
        cycle_s: Option<u64>,
    },
    Writing(Attempt),
    /// The write's answer did not say that it happened: the object does.
    Checking(Attempt),
}

impl Race {
    /// Begins to take the lock; with `cycle_s` for the cycle, of so many seconds, that it is by the store's clock.
    pub fn take(me: &str, terms: Terms, cycle_s: Option<u64>) -> Progress {
        let stage = Stage::Reading { me: me.to_owned(), terms, cycle_s };
        Progress::Ask(Race(stage), Request::Read)
    }

    /// Begins to write into the lock that the function is being called.
    pub fn mark_called(now: Instant, held: &Held) -> Progress {
        match held.mark_called(now) {
            Some(attempt) => write(attempt),
            None => Progress::Lost(Lost::Late),
        }
    }

    /// The answer to [`Request::Read`]; `None`: there is none.
    pub fn read(self, seen: Option<&Seen>) -> Progress {
        let Some(seen) = seen else { return Progress::Lost(Lost::Unclear) };
        match self.0 {
            Stage::Reading { me, terms, cycle_s } => {
                let cycle = cycle_s.map(|cycle_s| cycle_at(seen.store_now, cycle_s));
                match take(seen, &me, terms, cycle) {
                    Ok(attempt) => write(attempt),
                    Err(refusal) => Progress::Lost(Lost::Refused(refusal)),
                }
            }
            Stage::Checking(attempt) => match attempt.is_stored(seen) {
                Some(etag) => Progress::Won(attempt.won(etag)),
                None => Progress::Lost(Lost::Beaten),
            },
            Stage::Writing(_) => Progress::Lost(Lost::Unclear),
        }
    }

    /// The answer to [`Request::Write`].
    pub fn written(self, written: Written) -> Progress {
        let Stage::Writing(attempt) = self.0 else { return Progress::Lost(Lost::Unclear) };
        match written {
            Written::Yes(etag) => Progress::Won(attempt.won(etag)),
            // A repetition of the request may have met the first one's object.
            Written::No | Written::Unknown => Progress::Ask(Race(Stage::Checking(attempt)), Request::Read),
        }
    }
}

fn write(attempt: Attempt) -> Progress {
    Progress::Ask(Race(Stage::Writing(attempt.clone())), Request::Write(attempt))
}

/// Number of the cycle at a time of the store.
pub fn cycle_at(store_now: i64, cycle_s: u64) -> u64 {
    store_now.max(0) as u64 / cycle_s.max(1)
}
