//! The fence: whether this process may serve its rooms. In a cluster a node that can no longer prove that the
//! others count on it must fall silent by itself, because another may take its rooms over. Whoever keeps the
//! proofs answers; every shard asks in every pass of its loop, so that a process that was stopped for a while
//! finds the fence closed when it wakes, before it sends anything.

use std::fmt;
use std::time::Instant;

/// Says whether serving is allowed at a time. Must not block: an atomic that is read.
type Allowed = dyn Fn(Instant) -> bool + Send + Sync;

/// See the module.
pub struct Fence {
    allowed: Option<Box<Allowed>>,
}

impl Fence {
    /// A fence that never closes: for a server that stands alone.
    pub fn open() -> Fence {
        Fence { allowed: None }
    }

    /// A fence that is open while `allowed` says so.
    pub fn while_allowed(allowed: impl Fn(Instant) -> bool + Send + Sync + 'static) -> Fence {
        Fence { allowed: Some(Box::new(allowed)) }
    }

    /// Whether serving is allowed at `now`.
    #[inline]
    pub fn is_open(&self, now: Instant) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed(now))
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("closes", &self.allowed.is_some()).finish()
    }
}
