//! The fence as the engine sees it: one atomic that every shard reads before it sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Says whether this node may send media and signalling now. Clones are the same gate. It closes by time alone,
/// so a process that was stopped finds it closed before anything else runs.
#[derive(Clone, Debug)]
pub struct ServeGate(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    origin: Instant,
    /// Milliseconds after `origin` until which it is open; 0: closed.
    until_ms: AtomicU64,
}

impl ServeGate {
    pub(super) fn new(origin: Instant) -> ServeGate {
        ServeGate(Arc::new(Gate { origin, until_ms: AtomicU64::new(0) }))
    }

    /// Whether it is open at `now`.
    pub fn may_serve(&self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.0.origin).as_millis() as u64;
        passed < self.0.until_ms.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, until: Option<Instant>) {
        let until_ms =
            until.map_or(0, |until| until.saturating_duration_since(self.0.origin).as_millis() as u64);
        self.0.until_ms.store(until_ms, Ordering::Release);
    }
}
