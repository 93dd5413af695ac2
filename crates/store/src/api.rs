//! The trait and its plain types. Semantics are those of etcd, which the embedded store follows: one revision
//! counts all changes of the store, every transaction that changes something adds one, and an entry remembers
//! the revision that wrote it last.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::Error;

/// Longest key, in bytes. Room names and identities are limited to 256 bytes; this leaves room for prefixes.
pub const MAX_KEY_BYTES: usize = 2048;

/// Most bytes of keys and values in one transaction: etcd refuses requests over 1.5 MiB as delivered.
pub const MAX_TXN_BYTES: usize = 1024 * 1024;

/// Most compares and most operations in one transaction: etcd's default.
pub const MAX_TXN_OPS: usize = 128;

/// Most entries of one [`Store::range`] page, whatever `limit` asks for.
pub const MAX_RANGE: usize = 1000;

/// How long a call may take unless configured otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(2);

/// Batches of changes that wait for the reader of a watch before the store's side of it pauses.
pub(crate) const WATCH_QUEUE: usize = 64;

/// A future of a [`Store`] call.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A store. Every call ends within the store's deadline, with [`Error::Unavailable`] if need be.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// The entry under `key`. Linearizable: it sees every commit acknowledged before the call.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, Error>>;

    /// The entries whose keys begin with `prefix` (empty: all), in the order of their keys' bytes, beginning
    /// after `start_after`; at most `limit` (1 to [`MAX_RANGE`]) of them. See [`range_all`].
    fn range<'a>(
        &'a self,
        prefix: &'a str,
        limit: usize,
        start_after: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Range, Error>>;

    /// Does all of `txn.ops` if all of `txn.compares` hold, else nothing. Durable when it returns. After
    /// [`Error::Unavailable`] it may have happened or not.
    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Committed, Error>>;

    /// The changes to keys that begin with `prefix`, from `from_revision` on, that one included; 0 means from
    /// now on. After a range, pass its revision + 1: nothing is missed and nothing is seen twice. The watch
    /// survives lost connections by itself and ends with [`Error::Compacted`] when it missed too much.
    fn watch<'a>(&'a self, prefix: &'a str, from_revision: u64) -> BoxFuture<'a, Result<Watch, Error>>;

    /// A new lease. Keys put with it are deleted when it is not kept alive for `ttl`; that is rounded up to
    /// whole seconds, and etcd may lengthen it (it has a minimum of about 1.5 election timeouts).
    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, Error>>;

    /// Renews a lease. Returns how long it lives from now.
    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration, Error>>;

    /// Ends a lease and deletes its keys. [`Error::LeaseNotFound`] when it has ended already.
    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>>;
}

/// Id of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LeaseId(pub u64);

/// As etcd's own tools write it.
impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A key with its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Bytes,
    /// Revision of the commit that wrote it last.
    pub mod_revision: u64,
    pub lease: Option<LeaseId>,
}

/// Without the value: it may be a secret.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes, revision {}", self.key, self.value.len(), self.mod_revision)?;
        match self.lease {
            Some(lease) => write!(f, ", lease {lease})"),
            None => f.write_str(")"),
        }
    }
}

/// One page of a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    pub entries: Vec<Entry>,
    /// Revision of the store when the page was read.
    pub revision: u64,
    /// Whether there are entries after the last one of this page.
    pub more: bool,
}

/// What a transaction demands of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compare {
    pub key: String,
    pub is: Expect,
}

/// See [`Compare`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    Absent,
    Exists,
    /// Unchanged since it was read with this [`Entry::mod_revision`].
    ModRevision(u64),
}

/// One change.
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// A put without a lease takes the key off the lease it had.
    Put {
        key: String,
        value: Bytes,
        lease: Option<LeaseId>,
    },
    /// Deleting a key that is absent does nothing.
    Delete {
        key: String,
    },
    DeletePrefix {
        prefix: String,
    },
}

/// Without the value: it may be a secret.
impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Put { key, value, .. } => write!(f, "put {key} ({} bytes)", value.len()),
            Op::Delete { key } => write!(f, "delete {key}"),
            Op::DeletePrefix { prefix } => write!(f, "delete {prefix}*"),
        }
    }
}

/// A transaction: all or nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub ops: Vec<Op>,
}

impl Txn {
    pub fn new() -> Txn {
        Txn::default()
    }

    /// Only if nothing is under `key`.
    #[must_use]
    pub fn if_absent(self, key: impl Into<String>) -> Txn {
        self.compare(key, Expect::Absent)
    }

    /// Only if something is under `key`.
    #[must_use]
    pub fn if_exists(self, key: impl Into<String>) -> Txn {
        self.compare(key, Expect::Exists)
    }

    /// Only if `key` was written last at `mod_revision`.
    #[must_use]
    pub fn if_unchanged(self, key: impl Into<String>, mod_revision: u64) -> Txn {
        self.compare(key, Expect::ModRevision(mod_revision))
    }

    fn compare(mut self, key: impl Into<String>, is: Expect) -> Txn {
        self.compares.push(Compare { key: key.into(), is });
        self
    }

    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Txn {
        self.ops.push(Op::Put { key: key.into(), value: value.into(), lease: None });
        self
    }

    #[must_use]
    pub fn put_leased(mut self, key: impl Into<String>, value: impl Into<Bytes>, lease: LeaseId) -> Txn {
        self.ops.push(Op::Put { key: key.into(), value: value.into(), lease: Some(lease) });
        self
    }

    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Txn {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    #[must_use]
    pub fn delete_prefix(mut self, prefix: impl Into<String>) -> Txn {
        self.ops.push(Op::DeletePrefix { prefix: prefix.into() });
        self
    }
}

/// How a transaction ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// Whether all compares held and the operations were done.
    pub succeeded: bool,
    /// Revision of the store: of this commit if it changed something.
    pub revision: u64,
    /// When it did not succeed, what is now under each compared key, in the order of the compares: the loser of
    /// a race need not ask who won. Empty on success.
    pub current: Vec<Option<Entry>>,
}

/// Changes that became visible together: whole commits, never a part of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Revision of the last of them. Everything of the watched prefix up to here has been delivered.
    pub revision: u64,
    pub events: Vec<Event>,
}

/// One change of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    Put(Entry),
    /// Deleted, or its lease ended, at `mod_revision`.
    Delete {
        key: String,
        mod_revision: u64,
    },
}

impl Event {
    pub fn key(&self) -> &str {
        match self {
            Event::Put(entry) => &entry.key,
            Event::Delete { key, .. } => key,
        }
    }

    pub fn mod_revision(&self) -> u64 {
        match self {
            Event::Put(entry) => entry.mod_revision,
            Event::Delete { mod_revision, .. } => *mod_revision,
        }
    }
}

/// A running watch. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    batches: mpsc::Receiver<Result<Batch, Error>>,
    task: tokio::task::AbortHandle,
}

impl Watch {
    pub(crate) fn new(
        batches: mpsc::Receiver<Result<Batch, Error>>,
        task: tokio::task::AbortHandle,
    ) -> Watch {
        Watch { batches, task }
    }

    /// The next changes; waits as long as there are none. Cancel-safe. An error is the end of the watch:
    /// [`Error::Compacted`] (range anew), [`Error::Denied`] or [`Error::Closed`].
    pub async fn next(&mut self) -> Result<Batch, Error> {
        self.batches.recv().await.unwrap_or(Err(Error::Closed))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All entries under `prefix`, page by page, with the revision of the *first* page. A watch from the revision
/// after that makes up for what changed between the pages; it may repeat changes that a later page already
/// shows, so apply an event only if its revision is greater than that of the entry held.
pub async fn range_all(store: &dyn Store, prefix: &str) -> Result<(Vec<Entry>, u64), Error> {
    let first = store.range(prefix, MAX_RANGE, None).await?;
    let revision = first.revision;
    let (mut entries, mut more) = (first.entries, first.more);
    while more {
        let after = entries.last().map(|entry| entry.key.clone());
        let page = store.range(prefix, MAX_RANGE, after.as_deref()).await?;
        entries.extend(page.entries);
        more = page.more;
    }
    Ok((entries, revision))
}
