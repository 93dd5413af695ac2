//! Bytes between nodes, over mutual TLS on one port per node. ALPN decides what a connection is:
//!
//! - `sala-link/1`: a persistent [link](Links) that carries small opaque frames both ways. Each node dials the
//!   peers it is told of and redials for ever; what the frames mean is the owner's matter.
//! - `http/1.1`: requests to the router that the owner gives to [`serve`], made with an [`InternalClient`],
//!   WebSocket upgrades included.
//!
//! Every connection has a task of its own, every queue a bound and every wait a deadline, so that a slow or dead
//! peer costs the others nothing.

mod client;
mod connection;
mod dial;
mod frame;
mod links;
mod server;

pub use client::{InternalClient, RequestError};
pub use dial::{DialError, Probe, probe};
pub use frame::MAX_FRAME_BYTES;
pub use links::{LinkEvent, LinkId, Links, SendError, Side};
pub use server::{Peer, serve};

/// ALPN name of a link.
pub const LINK_ALPN: &[u8] = b"sala-link/1";

/// ALPN name of requests.
pub const HTTP_ALPN: &[u8] = b"http/1.1";

#[cfg(test)]
mod tests;
