//! When leases end. Deadlines are on the monotonic clock and live in memory only: after a restart every lease
//! begins anew with its full time, as in etcd after a change of leader.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::{Error, LeaseId};

/// The leases of a store.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    leases: HashMap<LeaseId, Lease>,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Alive {
        until: Instant,
    },
    /// Has ended for everybody; its keys are about to be deleted, or wait for a disk that works.
    Ending,
}

impl Leases {
    pub(crate) fn insert(&mut self, lease: LeaseId, ttl_s: u64, now: Instant) {
        let ttl = Duration::from_secs(ttl_s);
        self.leases.insert(lease, Lease { ttl, state: State::Alive { until: now + ttl } });
    }

    pub(crate) fn contains(&self, lease: LeaseId) -> bool {
        self.leases.contains_key(&lease)
    }

    /// An id that was never given out, even before a restart: keys of an older lease must not join it.
    pub(crate) fn free_id(&self) -> LeaseId {
        loop {
            // As with etcd's ids, the sign bit stays free.
            let lease = LeaseId(fastrand::u64(1..=i64::MAX as u64));
            if !self.leases.contains_key(&lease) {
                return lease;
            }
        }
    }

    /// Ends a lease before its time.
    pub(crate) fn end(&mut self, lease: LeaseId, now: Instant) -> Result<(), Error> {
        self.check(lease, now)?;
        let found = self.leases.get_mut(&lease).ok_or(Error::LeaseNotFound { lease })?;
        found.state = State::Ending;
        Ok(())
    }

    /// Fails if keys can no longer be put under the lease.
    pub(crate) fn check(&self, lease: LeaseId, now: Instant) -> Result<(), Error> {
        match self.leases.get(&lease) {
            Some(Lease { state: State::Alive { until }, .. }) if now < *until => Ok(()),
            _ => Err(Error::LeaseNotFound { lease }),
        }
    }

    pub(crate) fn keep_alive(&mut self, lease: LeaseId, now: Instant) -> Result<Duration, Error> {
        self.check(lease, now)?;
        let found = self.leases.get_mut(&lease).ok_or(Error::LeaseNotFound { lease })?;
        found.state = State::Alive { until: now + found.ttl };
        Ok(found.ttl)
    }

    /// Ends those whose time is over and returns all whose keys must be deleted. Those stay until
    /// [`Leases::remove`], so that a failed deletion is repeated.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<LeaseId> {
        let mut due = Vec::new();
        for (id, lease) in &mut self.leases {
            if matches!(lease.state, State::Alive { until } if until <= now) {
                lease.state = State::Ending;
            }
            if lease.state == State::Ending {
                due.push(*id);
            }
        }
        due
    }

    pub(crate) fn remove(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
    }
}
