//! When a node must stop: it may serve only for a short while after the cluster last confirmed it. A
//! confirmation counts from the moment at which the node *asked*, by its own monotonic clock, so that neither a
//! slow answer nor a wrong wall clock lengthens it; and once a node was without confirmation for too long it
//! stays fenced, whatever arrives later, until it registers as a new incarnation.

use std::time::{Duration, Instant};

/// How long a node serves after it sent the last heartbeat that a master answered.
pub const FENCE_AFTER: Duration = Duration::from_millis(1500);

/// How long it serves after it sent the last renewal of its lease that the store answered. Shorter, because
/// masters can end a lease only after they found the node silent, and their wait begins there.
pub const LEASE_FENCE_AFTER: Duration = Duration::from_millis(1000);

/// What masters wait beyond that before they give a node's rooms away: clocks run at slightly different rates.
pub const FENCE_MARGIN: Duration = Duration::from_millis(200);

/// Bookkeeping of one incarnation.
#[derive(Debug, Clone)]
pub struct Fence {
    /// `None` before the first confirmation.
    until: Option<Instant>,
    latched: bool,
}

impl Default for Fence {
    fn default() -> Self {
        Fence::new()
    }
}

impl Fence {
    /// Of an incarnation that was not confirmed yet: it may not serve.
    pub fn new() -> Fence {
        Fence { until: None, latched: false }
    }

    /// A master answered the heartbeat that was sent at `sent`.
    pub fn confirm_by_master(&mut self, now: Instant, sent: Instant) {
        self.confirm(now, sent + FENCE_AFTER);
    }

    /// The store answered the registration or renewal that was sent at `sent`.
    pub fn confirm_by_lease(&mut self, now: Instant, sent: Instant) {
        self.confirm(now, sent + LEASE_FENCE_AFTER);
    }

    fn confirm(&mut self, now: Instant, until: Instant) {
        // Order matters: what comes after the fence fell must not lift it.
        if self.fell(now) || until <= now {
            return;
        }
        self.until = Some(self.until.map_or(until, |held| held.max(until)));
    }

    /// Ends it at once, for good.
    pub fn drop_now(&mut self) {
        self.latched = true;
    }

    /// Whether this incarnation was confirmed once and is no longer. For good: remembers it.
    pub fn fell(&mut self, now: Instant) -> bool {
        self.latched |= self.until.is_some_and(|until| now > until);
        self.latched
    }

    /// Whether anything may be sent now.
    pub fn may_serve(&self, now: Instant) -> bool {
        !self.latched && self.until.is_some_and(|until| now <= until)
    }

    /// Until when it may serve if nothing more comes; `None`: it may not.
    pub fn deadline(&self) -> Option<Instant> {
        self.until.filter(|_| !self.latched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_late_answer_confirms_only_from_when_it_was_asked() {
        let start = Instant::now();
        let mut fence = Fence::new();
        assert!(!fence.may_serve(start));
        fence.confirm_by_master(start + 1400 * MS, start);
        assert!(fence.may_serve(start + 1500 * MS));
        assert!(!fence.may_serve(start + 1501 * MS));
    }

    #[test]
    fn an_answer_after_the_fence_fell_does_not_lift_it() {
        let start = Instant::now();
        let mut fence = Fence::new();
        fence.confirm_by_lease(start, start);
        // Stopped for two seconds; the answer to a heartbeat sent before waits in the socket.
        fence.confirm_by_master(start + 2000 * MS, start + 900 * MS);
        assert!(!fence.may_serve(start + 2000 * MS));
        fence.confirm_by_master(start + 2010 * MS, start + 2005 * MS);
        assert!(!fence.may_serve(start + 2010 * MS));
    }
}
