//! Which lost packets of a received stream to ask for again, and when (generic NACK, RFC 4585 §6.2.1).
//!
//! A gap in the sequence numbers is either reordering or loss. Each missing number waits a moment for the
//! first, is then asked for, and asked for again with growing distance until it comes, until it was asked
//! for often enough, or until newer losses push it out. A number that was given up leaves a hole that only
//! a key frame closes, so giving up is reported. Nothing pending means no timer.

use std::collections::VecDeque;
use std::ops::Deref;
use std::time::{Duration, Instant};

use crate::ExtSeq;

/// Missing packets remembered per stream. A stream that misses more is better served by a key frame; the
/// bound also keeps a batch on the stack.
pub const MAX_PENDING: usize = 100;
/// Requests per packet. After five with growing distance its frame is past any playout deadline.
pub const MAX_TRIES: u8 = 5;
/// How long a missing packet may just be late: reordering on the path rarely exceeds it.
pub const REORDERING_TOLERANCE: Duration = Duration::from_millis(20);
/// Longest distance of two requests for one packet, whatever the round trip time.
pub const MAX_SPACING: Duration = Duration::from_millis(400);
/// Round trip time assumed until one is measured.
pub const DEFAULT_RTT: Duration = Duration::from_millis(70);
/// A jump further than this is a new beginning, not loss: nothing of the old stream can be repaired
/// (`MAX_DROPOUT` of RFC 3550 A.1).
pub const MAX_GAP: u64 = 3000;

/// Each request for one packet waits this much longer than the one before, in percent.
const SPACING_GROWTH_PERCENT: u32 = 125;

/// Keeps the missing packets of one received stream.
#[derive(Debug, Default)]
pub struct NackGenerator {
    highest: Option<ExtSeq>,
    /// Ascending by sequence number.
    pending: VecDeque<Missing>,
    /// Packets given up since the last poll.
    given_up: u32,
    /// Earliest `due` of `pending`, or earlier (a packet that arrived may leave it early).
    earliest_due: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    seq: ExtSeq,
    tries: u8,
    /// When to ask (again), or to give up after the last try.
    due: Instant,
}

/// What [`NackGenerator::poll`] found: dereferences to the ascending wire sequence numbers to ask for.
#[derive(Debug, Clone, Copy)]
pub struct NackBatch {
    seqs: [u16; MAX_PENDING],
    len: usize,
    /// Packets that will not be asked for any more, since the previous poll. If not zero, the stream has
    /// a hole: ask for a key frame.
    pub given_up: u32,
}

impl Deref for NackBatch {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        &self.seqs[..self.len]
    }
}

impl NackGenerator {
    /// A stream of which nothing was received yet.
    pub fn new() -> NackGenerator {
        NackGenerator::default()
    }

    /// Takes note of a received packet, restored from RTX or not, in any order.
    pub fn on_packet(&mut self, seq: ExtSeq, now: Instant) {
        let Some(highest) = self.highest else {
            self.highest = Some(seq);
            return;
        };
        if seq <= highest {
            if let Ok(at) = self.pending.binary_search_by_key(&seq, |missing| missing.seq) {
                self.pending.remove(at);
                if self.pending.is_empty() && self.given_up == 0 {
                    self.earliest_due = None;
                }
            }
            return;
        }
        self.highest = Some(seq);
        let missing = seq.0 - highest.0 - 1;
        if missing > MAX_GAP {
            self.given_up += self.pending.len() as u32 + 1;
            self.pending.clear();
            // Nothing to ask for, but the hole is to be reported.
            self.earliest_due = Some(now);
            return;
        }
        let kept = missing.min(MAX_PENDING as u64);
        self.given_up += (missing - kept) as u32;
        let due = now + REORDERING_TOLERANCE;
        for seq in seq.0 - kept..seq.0 {
            if self.pending.len() == MAX_PENDING {
                self.pending.pop_front();
                self.given_up += 1;
            }
            self.pending.push_back(Missing { seq: ExtSeq(seq), tries: 0, due });
        }
        if kept > 0 {
            self.earliest_due = Some(self.earliest_due.map_or(due, |earliest| earliest.min(due)));
        }
    }

    /// The packets to ask for now. `rtt` is `None` until measured.
    pub fn poll(&mut self, now: Instant, rtt: Option<Duration>) -> NackBatch {
        let mut batch = NackBatch { seqs: [0; MAX_PENDING], len: 0, given_up: 0 };
        if self.earliest_due.is_some_and(|due| due <= now) {
            let rtt = rtt.unwrap_or(DEFAULT_RTT);
            let mut exhausted = 0;
            self.pending.retain_mut(|missing| {
                if missing.due > now {
                    return true;
                }
                if missing.tries == MAX_TRIES {
                    exhausted += 1;
                    return false;
                }
                batch.seqs[batch.len] = missing.seq.wire();
                batch.len += 1;
                missing.tries += 1;
                missing.due = now + spacing(rtt, missing.tries);
                true
            });
            self.given_up += exhausted;
            self.earliest_due = self.pending.iter().map(|missing| missing.due).min();
        }
        batch.given_up = std::mem::take(&mut self.given_up);
        batch
    }

    /// When to poll next; `None` while nothing is missing or to be reported.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.earliest_due
    }

    /// Highest sequence number received.
    pub fn highest(&self) -> Option<ExtSeq> {
        self.highest
    }

    /// Packets missing and not given up, at most [`MAX_PENDING`].
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Forgets what is missing, for example because a key frame made it irrelevant.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.given_up = 0;
        self.earliest_due = None;
    }
}

/// How long to wait after the request number `tries`, counted from one.
fn spacing(rtt: Duration, tries: u8) -> Duration {
    // Also keeps the multiplications far from overflow.
    let mut spacing = rtt.clamp(REORDERING_TOLERANCE, MAX_SPACING);
    for _ in 1..tries {
        spacing = spacing * SPACING_GROWTH_PERCENT / 100;
    }
    spacing.min(MAX_SPACING)
}

#[cfg(test)]
mod tests;
