//! What the writing thread and the callers of an embedded store have in common.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use redb::{Database, DatabaseError};

use super::file;
use super::history::History;
use super::leases::Leases;
use crate::Error;

/// Opens the database, anew after a failure of the disk.
pub(crate) type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

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
    opener: Opener,
    /// None between a failure of the disk and the next success in opening. Readers hold the lock while they
    /// read, so that none has the file open when it is opened anew.
    database: RwLock<Option<Database>>,
    /// The last failure of the disk, until it works again.
    failure: Mutex<Option<Error>>,
    leases: Mutex<Leases>,
    pub(crate) history: Arc<History>,
    pub(crate) clock: Clock,
}

impl Shared {
    /// Opens the file. Returns the revision too.
    pub(crate) fn open(opener: Opener, clock: Clock) -> Result<(Shared, u64), Error> {
        let database = opener().map_err(file::classify)?;
        let opened = file::prepare(&database)?;
        let (mut leases, now) = (Leases::default(), clock.now());
        for (lease, ttl_s) in opened.leases {
            leases.insert(lease, ttl_s, now);
        }
        let shared = Shared {
            opener,
            database: RwLock::new(Some(database)),
            failure: Mutex::new(None),
            leases: Mutex::new(leases),
            history: Arc::new(History::new(opened.revision)),
            clock,
        };
        Ok((shared, opened.revision))
    }

    pub(crate) fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something that reads or writes the file. Blocks.
    pub(crate) fn with_database<T>(
        &self,
        run: impl FnOnce(&Database) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            Some(database) => run(database),
            None => Err(self.failure()),
        }
    }

    /// Why the last write failed.
    pub(crate) fn failure(&self) -> Error {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or(Error::Closed)
    }

    /// Remembers a failure of the disk. The database refuses to go on after one, so it is opened anew.
    pub(crate) fn fail(&self, error: Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// After a failure, opens the file again. What was acknowledged is in it.
    pub(crate) fn reopen_if_failed(&self) -> Result<(), Error> {
        if self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return Ok(());
        }
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // The old one must go first: it has the file locked.
        *database = None;
        *database = Some((self.opener)().map_err(file::classify)?);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}
