//! How a request gets to a service and its answer back: one [`Call`] describes it, [`Api`] signs and sends it, with
//! deadlines and bounded retries as [`retry`] decides, over the connections of [`HttpClient`].

mod api;
mod call;
mod client;
mod retry;

pub(crate) use api::{AGENT, Api, refusal, signed};
pub(crate) use call::{Call, path};
pub(crate) use client::{Answer, HttpClient};
pub(crate) use retry::{Budget, Safety, retrying};
pub use retry::{Patience, Policy};
