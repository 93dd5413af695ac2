//! HTTP: the listener's loop, the middlewares every request passes, and the routes.

mod middleware;
mod pages;
mod routes;
mod serve;

pub use pages::{Page, Pages};
pub use serve::serve;

pub use routes::{Unrouted, router};
pub(crate) use serve::ConnectionGuard;
