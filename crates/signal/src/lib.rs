//! The front door: LiveKit's signalling endpoint (`/rtc`), its server API (Twirp), the meeting page and its
//! small API, over HTTP and WebSocket. It checks who is asking and what they may, turns requests into
//! commands for the rooms' shards and their outputs into responses. It knows no media.

mod client_info;
mod codec;
mod config;
mod connect;
mod http;
mod join_request;
pub mod meeting;
mod query;
mod session;
mod twirp;

use std::sync::atomic::{AtomicU64, Ordering};

pub use config::{AdminLogin, Config, Limits, RoomPolicy};
pub use http::{Page, Pages, Unrouted, router, serve};

/// What all connections share.
pub struct Server {
    config: Config,
    shards: net::Shards,
    pages: Pages,
    failed_logins: meeting::FailedLogins,
    sessions: AtomicU64,
}

impl Server {
    pub fn new(config: Config, shards: net::Shards, pages: Pages) -> Self {
        Self { config, shards, pages, failed_logins: Default::default(), sessions: AtomicU64::new(0) }
    }

    fn next_session_id(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }
}
