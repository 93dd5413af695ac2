//! What can go wrong with the store, as its users need to tell it apart.

use crate::LeaseId;

/// A call to the store that failed. Cheap to clone: one failure may have several waiters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No quorum, no connection, or no answer within the deadline. A commit that ends so may have been applied
    /// or not: read to find out.
    #[error(
        "the store did not answer: {reason}; it is tried again, check that a majority of its members runs and can be reached"
    )]
    Unavailable { reason: String },

    /// The lease has expired, was revoked or never existed: all keys bound to it are gone.
    #[error("lease {lease} has expired or was revoked; register anew under a new lease")]
    LeaseNotFound { lease: LeaseId },

    /// The history that a watch needs is gone. The oldest revision that can still be watched is `oldest`.
    #[error("the store keeps changes from revision {oldest} on only; range anew and watch from there")]
    Compacted { oldest: u64 },

    /// A key, a value or a transaction over the limits of [`crate::api`].
    #[error("too large for the store: {what}; split it")]
    TooLarge { what: String },

    /// A call that no store could serve, such as one transaction that puts a key twice.
    #[error("not a valid call: {what}; this is a fault in the caller")]
    Invalid { what: String },

    /// The store refuses this client.
    #[error("the store refuses access: {reason}; check its user, password and client certificate")]
    Denied { reason: String },

    /// The disk, or the quota of etcd, is full. Reads still work.
    #[error(
        "the store has no space left: {reason}; free disk space (etcd: compact, defragment, `etcdctl alarm disarm`)"
    )]
    DiskFull { reason: String },

    /// The file is damaged, or is no store.
    #[error(
        "the store is damaged: {reason}; restore it from a backup, or move it away to begin with an empty one"
    )]
    Corrupt { reason: String },

    /// The file was written by a newer Sala.
    #[error("the store has schema {found}, this binary knows {known} at most; run the newer version of Sala")]
    NewerSchema { found: u64, known: u64 },

    /// Another process holds the file.
    #[error(
        "{path} is in use by another process; stop the other one, or give this one a directory of its own"
    )]
    InUse { path: String },

    /// The configuration of the store cannot work.
    #[error("the store's configuration is wrong: {what}")]
    Config { what: String },

    /// The store was closed in this process.
    #[error("the store was closed; this process is shutting down")]
    Closed,
}

impl Error {
    /// Whether the same call may succeed later without anyone's help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Unavailable { .. } | Error::DiskFull { .. })
    }

    pub(crate) fn unavailable(reason: impl ToString) -> Error {
        Error::Unavailable { reason: reason.to_string() }
    }
}
