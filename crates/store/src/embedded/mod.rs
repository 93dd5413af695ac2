//! The store of a single machine: one file, written by one thread, durable when a commit returns. It behaves
//! as etcd does, down to leases and watches, so that nothing else need know which of them is there.

mod file;
mod history;
mod leases;
mod mirror;
mod shared;
mod writer;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError};
use tokio::sync::{oneshot, watch};

use history::History;
use leases::Leases;
use mirror::Mirror;
pub use shared::Clock;
use shared::Shared;
use writer::{Command, Reply, Writer};

use crate::api::{BoxFuture, DEFAULT_DEADLINE, MAX_RANGE};
use crate::{Committed, Entry, Error, LeaseId, Range, Store, Txn, Watch, check};

/// Calls that wait for the writing thread. More than that means that the disk has stopped.
const MAX_QUEUE: usize = 1024;

/// Memory for pages of the file. Reads do not need it.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// How an embedded store works.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// How long a call may take.
    pub deadline: Duration,
    pub clock: Clock,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        EmbeddedOptions { deadline: DEFAULT_DEADLINE, clock: Clock::Real }
    }
}

/// See the module. Dropping it waits for the commit under way and closes the file.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    /// None only while dropping.
    commands: Option<SyncSender<Command>>,
    latest: watch::Receiver<u64>,
    thread: Option<JoinHandle<()>>,
    deadline: Duration,
}

impl EmbeddedStore {
    /// Opens the file, or creates it; its directory must exist. Blocks.
    pub fn open(path: impl Into<PathBuf>, options: EmbeddedOptions) -> Result<EmbeddedStore, Error> {
        let path = path.into();
        let opener = {
            let path = path.clone();
            move || open_file(&path)
        };
        Self::open_with(opener, options).map_err(|error| match error {
            Error::InUse { .. } => Error::InUse { path: path.display().to_string() },
            Error::Corrupt { reason } => Error::Corrupt { reason: format!("{}: {reason}", path.display()) },
            Error::Unavailable { reason } => {
                Error::Config { what: format!("cannot open {}: {reason}", path.display()) }
            }
            other => other,
        })
    }

    /// As [`EmbeddedStore::open`], with a database of any kind: tests bring disks that are slow or full. The
    /// opener is called again after each failure of the disk.
    pub fn open_with(
        opener: impl Fn() -> Result<Database, DatabaseError> + Send + 'static,
        options: EmbeddedOptions,
    ) -> Result<EmbeddedStore, Error> {
        let database = opener().map_err(file::classify)?;
        let opened = file::prepare(&database)?;
        let (mut leases, now) = (Leases::default(), options.clock.now());
        opened.leases.iter().for_each(|(lease, ttl_s)| leases.insert(*lease, *ttl_s, now));
        let mirror = Mirror::new(opened.entries, opened.revision);
        let history = History::new(opened.revision);
        let shared = Arc::new(Shared::new(mirror, leases, history, options.clock));
        let (latest_sender, latest) = watch::channel(opened.revision);
        let (commands, queue) = sync_channel(MAX_QUEUE);
        let writer = Writer {
            shared: Arc::clone(&shared),
            opener: Box::new(opener),
            database: Some(database),
            latest: latest_sender,
        };
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || writer.run(queue))
            .map_err(|error| Error::unavailable(format!("no thread for the store: {error}")))?;
        Ok(EmbeddedStore {
            shared,
            commands: Some(commands),
            latest,
            thread: Some(thread),
            deadline: options.deadline,
        })
    }

    /// Ends the leases that are due by a [`Clock::Manual`], and deletes their keys.
    pub async fn expire_leases(&self) -> Result<(), Error> {
        self.ask(Command::Expire).await
    }

    /// Forgets changes before `revision`: watches that still need them end with [`Error::Compacted`]. Happens
    /// by itself when there are many.
    pub fn compact(&self, revision: u64) {
        let newest = self.shared.mirror().revision();
        self.shared.history.forget_before(revision.min(newest));
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let Some(commands) = &self.commands else { return Err(Error::Closed) };
        commands.try_send(command(reply)).map_err(|error| match error {
            TrySendError::Full(_) => Error::unavailable(format!("{MAX_QUEUE} commits wait for the disk")),
            TrySendError::Disconnected(_) => Error::Closed,
        })?;
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => Err(self.shared.failure().unwrap_or(Error::Closed)),
            Err(_elapsed) => Err(self.too_slow()),
        }
    }

    fn too_slow(&self) -> Error {
        Error::unavailable(format!("the disk took longer than {:?}", self.deadline))
    }
}

/// Readable for its owner only: there are secrets in it.
fn open_file(path: &Path) -> Result<Database, DatabaseError> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let database =
        Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(FileBackend::new(file)?)?;
    // A new file is durable when its directory is.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()?;
    Ok(database)
}

impl Store for EmbeddedStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        Box::pin(async move {
            check::key(key)?;
            Ok(self.shared.mirror().get(key))
        })
    }

    fn range<'a>(
        &'a self,
        prefix: &'a str,
        limit: usize,
        start_after: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Range, Error>> {
        Box::pin(
            async move { Ok(self.shared.mirror().range(prefix, limit.clamp(1, MAX_RANGE), start_after)) },
        )
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Committed, Error>> {
        Box::pin(async move {
            check::txn(&txn)?;
            self.ask(|reply| Command::Commit(txn, reply)).await
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str, from_revision: u64) -> BoxFuture<'a, Result<Watch, Error>> {
        Box::pin(async move {
            Ok(self.shared.history.watch(prefix.to_owned(), from_revision, self.latest.clone()))
        })
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, Error>> {
        Box::pin(async move {
            let ttl_s = check::ttl_s(ttl)?;
            self.ask(|reply| Command::Grant { ttl_s, reply }).await
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration, Error>> {
        Box::pin(async move { self.shared.leases().keep_alive(lease, self.shared.clock.now()) })
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.ask(|reply| Command::Revoke(lease, reply)).await })
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("revision", &*self.latest.borrow()).finish_non_exhaustive()
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was printed when it happened.
            let _ = thread.join();
        }
    }
}
