//! Oracle Cloud's APIs answered truthfully on one host, for tests; part of the testkit, never a dependency of a product
//! crate, and independent of `crates/oci`, whose requests it checks.
pub mod config;
pub mod machine;

mod admin;
mod api;
mod auth;
mod calls;
mod cloud;
mod faults;
mod iam;
mod ocid;
mod runtime;

pub use auth::KeyError;
pub use cloud::{CreateError, StartError};
pub use iam::IamError;
pub use runtime::{ServeError, serve};
