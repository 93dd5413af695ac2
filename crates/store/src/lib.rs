//! The coordination store: what a cluster must agree on, and nothing else.
//!
//! One trait, [`Store`]: read, range, compare-and-set transactions, watches and leases over keys that are text
//! and values that are bytes. Whoever needs it takes an `Arc<dyn Store>` and does not know which of the two
//! implementations is behind it. Media and signalling of a room that exists never wait for it.

mod api;
mod check;
mod embedded;
mod error;
mod etcd;

pub use api::*;
pub use embedded::{Clock, EmbeddedOptions, EmbeddedStore};
pub use error::Error;
pub use etcd::{Credentials, EtcdConfig, EtcdStore};
