//! The receiving side: which transport-wide sequence numbers arrived, and when feedback is due.

use std::time::{Duration, Instant};

use super::{TICK_US, unwrap_seq};

/// Sequence numbers remembered, told or not. Half a second of 25 Mbit/s; also what one feedback may span.
pub const MAX_WINDOW: usize = 1024;
/// A jump further than this is no loss that feedback could usefully tell: recording begins anew.
pub const MAX_GAP: i64 = 1000;

/// Feedback goes out this often while packets arrive.
const INTERVAL: Duration = Duration::from_millis(100);
/// After the end of a frame feedback may go out this early, if it tells at least [`MARKER_PACKETS`].
const MARKER_INTERVAL: Duration = Duration::from_millis(50);
const MARKER_PACKETS: usize = 20;
/// More arrivals than this are told at once.
const MAX_UNTOLD: usize = 100;
/// An arrival told already is kept this long, so that a packet which it overtook can still be told.
const REORDERING_WINDOW_TICKS: i64 = 500 * 1000 / TICK_US;
/// So many packets in a row from far behind mean that the sender began a new numbering.
const STRAYS_BEFORE_RESTART: u8 = 16;

/// Records the arrivals of one peer across all its streams.
#[derive(Debug)]
pub struct TwccRecorder {
    epoch: Instant,
    /// Sequence number of `arrivals[0]`.
    base: i64,
    /// Arrival in ticks since `epoch`; `None` did not arrive yet.
    arrivals: Vec<Option<i64>>,
    /// Index of the first status that the next feedback tells.
    next_told: usize,
    /// Arrivals that were not told yet.
    untold: usize,
    due: Option<Instant>,
    last_feedback: Option<Instant>,
    feedback_count: u8,
    strays: u8,
}

/// What the next feedback packet tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feedback<'a> {
    /// Transport-wide sequence number of the first status.
    pub base_seq: u16,
    /// Counts feedback packets, wrapping.
    pub feedback_count: u8,
    /// For each number from `base_seq` the arrival in ticks of 250 µs, or `None`. The last one arrived.
    pub arrivals: &'a [Option<i64>],
}

impl TwccRecorder {
    /// Nothing recorded yet. Arrivals are told relative to `epoch`, any instant in the past.
    pub fn new(epoch: Instant) -> TwccRecorder {
        TwccRecorder {
            epoch,
            base: 0,
            arrivals: Vec::new(),
            next_told: 0,
            untold: 0,
            due: None,
            last_feedback: None,
            feedback_count: 0,
            strays: 0,
        }
    }

    /// Records a packet with transport-wide number `seq`. `marker` is its RTP marker bit.
    pub fn record(&mut self, seq: u16, marker: bool, now: Instant) {
        let ticks = (now.saturating_duration_since(self.epoch).as_micros() / TICK_US as u128) as i64;
        if self.place(seq, ticks) {
            self.untold += 1;
            self.schedule(marker, now);
        }
    }

    /// What to tell if feedback is due. Write it, then call [`Self::told`] with the number of statuses that
    /// fitted, and ask again until `None`.
    pub fn feedback(&self, now: Instant) -> Option<Feedback<'_>> {
        self.due.filter(|due| *due <= now)?;
        Some(Feedback {
            base_seq: (self.base + self.next_told as i64) as u16,
            feedback_count: self.feedback_count,
            arrivals: &self.arrivals[self.next_told..],
        })
    }

    /// The first `statuses` of the pending [`Feedback`] have been written. Zero (no room) changes nothing.
    pub fn told(&mut self, statuses: usize, now: Instant) {
        let statuses = statuses.min(self.arrivals.len() - self.next_told);
        if statuses == 0 {
            return;
        }
        self.feedback_count = self.feedback_count.wrapping_add(1);
        self.last_feedback = Some(now);
        self.next_told += statuses;
        if self.next_told == self.arrivals.len() {
            self.untold = 0;
            self.due = None;
        } else {
            self.untold = self.arrivals[self.next_told..].iter().flatten().count();
        }
        self.forget_old();
    }

    /// When feedback is due; `None` while there is nothing to tell.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    #[cfg(test)]
    pub(super) fn arrivals_len(&self) -> usize {
        self.arrivals.len()
    }

    /// Stores the arrival; `false` if it is of no use.
    fn place(&mut self, seq: u16, ticks: i64) -> bool {
        let Some(newest) = self.arrivals.len().checked_sub(1).map(|last| self.base + last as i64) else {
            self.restart(i64::from(seq), ticks);
            return true;
        };
        let seq = unwrap_seq(newest, seq);
        if seq > newest + MAX_GAP {
            self.restart(seq, ticks);
            return true;
        }
        if seq > newest {
            self.strays = 0;
            self.extend_to(seq, ticks);
            return true;
        }
        if seq <= newest - MAX_GAP {
            self.strays += 1;
            let restarted = self.strays >= STRAYS_BEFORE_RESTART;
            if restarted {
                self.restart(seq, ticks);
            }
            return restarted;
        }
        self.strays = 0;
        // Older than anything remembered: so old that its sender has counted it lost for good.
        let Ok(at) = usize::try_from(seq - self.base) else { return false };
        if self.arrivals[at].is_some() {
            return false;
        }
        self.arrivals[at] = Some(ticks);
        if at < self.next_told {
            // It was told to be missing. What follows is told again; a sender takes each arrival once.
            self.next_told = at;
        }
        true
    }

    fn restart(&mut self, seq: i64, ticks: i64) {
        self.base = seq;
        self.arrivals.clear();
        self.arrivals.push(Some(ticks));
        self.next_told = 0;
        self.untold = 0;
        self.strays = 0;
    }

    fn extend_to(&mut self, seq: i64, ticks: i64) {
        let len = (seq - self.base) as usize + 1;
        if len > MAX_WINDOW {
            let excess = len - MAX_WINDOW;
            self.forget(excess.min(self.arrivals.len()));
        }
        self.arrivals.resize((seq - self.base) as usize, None);
        self.arrivals.push(Some(ticks));
    }

    /// Drops what has been told and cannot be corrected any more.
    fn forget_old(&mut self) {
        let Some(&newest) = self.arrivals.iter().flatten().next_back() else { return };
        let told = &self.arrivals[..self.next_told];
        let kept =
            told.iter().position(|arrival| arrival.is_some_and(|at| at > newest - REORDERING_WINDOW_TICKS));
        // The last status stays: it tells where the numbering stands.
        self.forget(kept.unwrap_or(self.next_told).min(self.arrivals.len() - 1));
    }

    fn forget(&mut self, statuses: usize) {
        let untold = self.arrivals.get(self.next_told..statuses).unwrap_or_default();
        self.untold -= untold.iter().flatten().count().min(self.untold);
        self.arrivals.drain(..statuses);
        self.base += statuses as i64;
        self.next_told = self.next_told.saturating_sub(statuses);
    }

    fn schedule(&mut self, marker: bool, now: Instant) {
        let mut due = self.due.unwrap_or(now + INTERVAL);
        if self.untold > MAX_UNTOLD {
            due = now;
        } else if marker && self.untold >= MARKER_PACKETS {
            let early = self.last_feedback.map_or(now, |last| now.max(last + MARKER_INTERVAL));
            due = due.min(early);
        }
        self.due = Some(due);
    }
}
