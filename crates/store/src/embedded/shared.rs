//! What the writing thread and the callers of an embedded store have in common.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use super::file::Opened;
use super::history::History;
use super::leases::Leases;
use super::mirror::Mirror;
use crate::{Batch, Error};

/// Where the time of leases comes from.
#[derive(Clone)]
pub enum Clock {
    /// The monotonic clock; leases end by themselves.
    Real,
    /// A test's clock; leases end in [`crate::EmbeddedStore::expire_leases`].
    Manual(Arc<dyn Fn() -> Instant + Send + Sync>),
}

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        match self {
            Clock::Real => Instant::now(),
            Clock::Manual(now) => now(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Clock::Real => "Real",
            Clock::Manual(_) => "Manual",
        })
    }
}

pub(crate) struct Shared {
    mirror: RwLock<Mirror>,
    leases: Mutex<Leases>,
    /// The last failure of the disk, until it works again.
    failure: Mutex<Option<Error>>,
    pub(crate) history: Arc<History>,
    pub(crate) clock: Clock,
}

impl Shared {
    pub(crate) fn new(mirror: Mirror, leases: Leases, history: History, clock: Clock) -> Shared {
        Shared {
            mirror: RwLock::new(mirror),
            leases: Mutex::new(leases),
            failure: Mutex::new(None),
            history: Arc::new(history),
            clock,
        }
    }

    pub(crate) fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn mirror(&self) -> RwLockReadGuard<'_, Mirror> {
        self.mirror.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a durable commit to readers and watches.
    pub(crate) fn publish(&self, batch: Batch) {
        self.mirror.write().unwrap_or_else(PoisonError::into_inner).apply(batch.revision, &batch.events);
        self.history.push(batch);
    }

    /// Goes on with what a file that was opened anew says. Watches that would miss something end.
    pub(crate) fn resume(&self, opened: Opened, now: Instant) {
        for (lease, ttl_s) in opened.leases {
            if !self.leases().contains(lease) {
                self.leases().insert(lease, ttl_s, now);
            }
        }
        let mut mirror = self.mirror.write().unwrap_or_else(PoisonError::into_inner);
        if mirror.revision() != opened.revision {
            self.history.forget_before(opened.revision + 1);
            *mirror = Mirror::new(opened.entries, opened.revision);
        }
    }

    /// Why the last write failed.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers a failure of the disk, and gives it back.
    pub(crate) fn fail(&self, error: Error) -> Error {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        error
    }

    /// The disk works again.
    pub(crate) fn recover(&self) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
