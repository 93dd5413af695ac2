//! The services, as HTTP: one file each, which names its operations and what permissions they need.
//!
//! A request goes: route → injected fault → signature → handler (which authorises, then acts) → log.

mod answer;
pub(crate) mod compute;
mod context;
pub(crate) mod federation;
pub(crate) mod functions;
pub(crate) mod imds;
pub(crate) mod kms;
pub(crate) mod monitoring;
pub(crate) mod network;
pub(crate) mod object_storage;
mod page;
pub(crate) mod pools;
mod request;
mod route;
pub(crate) mod secret_bundles;
pub(crate) mod secrets;

pub(crate) use answer::{Answer, Invocation, Outcome, Refusal, Reply};
pub(crate) use context::Context;
pub(crate) use request::Request;
pub(crate) use route::{Match, Route, find};

/// All operations that are answered.
pub(crate) fn routes() -> impl Iterator<Item = &'static Route> {
    let services: [&'static [Route]; 9] = [
        object_storage::ROUTES,
        kms::ROUTES,
        secrets::ROUTES,
        secret_bundles::ROUTES,
        compute::ROUTES,
        pools::ROUTES,
        network::ROUTES,
        monitoring::ROUTES,
        functions::ROUTES,
    ];
    services.into_iter().flatten()
}
