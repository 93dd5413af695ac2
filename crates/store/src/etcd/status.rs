//! What an answer of etcd that is no success means: to whom it is an error, and whether the call may be sent
//! again.

use std::error::Error as _;

use tonic::{Code, ConnectError, Status};

use crate::{Error, LeaseId};

/// What to think of a store that asks for no password, when we have one.
const NO_USERS: &str = "it has no users yet: the masters are still forming it, or it was made without, and then \
                        cluster.store.username must be absent";

/// See the module.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It was not done, and another member, or the same one later, may do it.
    NotDone(String),
    /// It may have been done.
    Unknown(String),
    /// The token has expired, or the member that gave it was restarted. Not done.
    StaleToken(String),
    Final(Error),
}

/// etcd tells its errors apart by text: one gRPC code stands for many of them.
pub(super) fn verdict(status: &Status, lease: Option<LeaseId>) -> Verdict {
    let text = status.message();
    let has = |part: &str| text.contains(part);
    match status.code() {
        _ if was_never_sent(status) => Verdict::NotDone(with_causes(status)),
        _ if has("space exceeded") => Verdict::Final(Error::DiskFull { reason: text.into() }),
        _ if has("lease not found") => {
            Verdict::Final(Error::LeaseNotFound { lease: lease.unwrap_or(LeaseId(0)) })
        }
        _ if has("no leader") || has("not leader") || has("too many requests") || has("not capable") => {
            Verdict::NotDone(text.into())
        }
        _ if has("invalid auth token")
            || has("revision of auth store is old")
            || has("user name is empty") =>
        {
            Verdict::StaleToken(text.into())
        }
        _ if has("too large") || has("too many operations") => {
            Verdict::Final(Error::TooLarge { what: text.into() })
        }
        // Users are made while the masters form the store: who comes before waits.
        _ if has("authentication is not enabled") => Verdict::NotDone(NO_USERS.into()),
        _ if has("authentication failed") => Verdict::Final(Error::Denied { reason: text.into() }),
        Code::PermissionDenied | Code::Unauthenticated => {
            Verdict::Final(Error::Denied { reason: text.into() })
        }
        Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange => {
            Verdict::Final(Error::Invalid { what: text.into() })
        }
        Code::DataLoss => Verdict::Final(Error::Corrupt { reason: text.into() }),
        _ if has("corrupt") => Verdict::Final(Error::Corrupt { reason: text.into() }),
        _ => Verdict::Unknown(with_causes(status)),
    }
}

/// Whether there was no connection to send it on.
fn was_never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// The text with the deepest cause: "tcp connect error" alone does not say that it was refused.
fn with_causes(status: &Status) -> String {
    let mut deepest = status.source();
    while let Some(source) = deepest.and_then(|error| error.source()) {
        deepest = Some(source);
    }
    match deepest {
        Some(cause) => format!("{} ({cause})", status.message()),
        None => status.message().to_owned(),
    }
}
