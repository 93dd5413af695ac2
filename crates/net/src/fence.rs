//! The fence: until when this process may serve its rooms. In a cluster a node that can no longer prove that
//! the others count on it must fall silent by itself, because another may take its rooms over. The time is
//! the process's monotonic clock, so a process that was stopped for a while finds the fence closed when it
//! wakes, before it sends anything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// See the module. Read by every shard in every pass of its loop.
#[derive(Debug)]
pub struct Fence {
    origin: Instant,
    /// Nanoseconds after `origin`; the largest number means for ever.
    until_ns: AtomicU64,
}

impl Fence {
    /// A fence that never closes: for a server that stands alone.
    pub fn open() -> Fence {
        Fence { origin: Instant::now(), until_ns: AtomicU64::new(u64::MAX) }
    }

    /// A fence that is closed until [`Self::allow_until`].
    pub fn closed() -> Fence {
        Fence { origin: Instant::now(), until_ns: AtomicU64::new(0) }
    }

    /// Serving is allowed until then. An earlier time than before closes the fence earlier.
    pub fn allow_until(&self, until: Instant) {
        let after = until.saturating_duration_since(self.origin);
        let ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX - 1);
        self.until_ns.store(ns, Ordering::Release);
    }

    /// Whether serving is allowed at `now`.
    #[inline]
    pub fn is_open(&self, now: Instant) -> bool {
        let until = self.until_ns.load(Ordering::Acquire);
        until == u64::MAX || now.saturating_duration_since(self.origin) < Duration::from_nanos(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_closes_by_itself_when_its_time_is_over() {
        let fence = Fence::closed();
        let now = Instant::now();
        assert!(!fence.is_open(now));
        fence.allow_until(now + Duration::from_secs(1));
        assert!(fence.is_open(now + Duration::from_millis(999)));
        assert!(!fence.is_open(now + Duration::from_millis(1_001)));
        assert!(Fence::open().is_open(now + Duration::from_secs(1 << 30)));
    }
}
