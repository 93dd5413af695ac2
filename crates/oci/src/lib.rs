//! Oracle Cloud: a small client for just the services that Sala's deployment uses, and what is built on it.
//!
//! [`Cloud`] is the way in: it bundles the typed clients of [`services`], whose requests are signed ([`signing`]) for
//! a [`principal`], sent with deadlines and bounded retries, and fail with an [`Error`] that says what to do.
//! [`imds`] is what an instance knows of itself. On top of them: [`boot`] brings a machine into the cluster,
//! [`machine`] is that machine's files and units, [`scaling`] decides on media nodes, [`drain_watch`] ends one.
//!
//! What it is not: a general SDK. An operation that the deployment does not use is not here.

pub mod boot;
mod cloud;
pub mod drain_watch;
mod endpoints;
mod error;
pub mod imds;
pub mod machine;
mod ocid;
pub mod principal;
pub mod scaling;
pub mod services;
pub mod signing;
mod transport;
mod wire_time;

pub use cloud::{Cloud, Settings};
pub use endpoints::{Region, SettingsError};
pub use error::{Error, Failure};
pub use imds::Imds;
pub use ocid::Ocid;
pub use transport::{Patience, Policy};
pub use wire_time::{parse_rfc3339, to_rfc3339};
