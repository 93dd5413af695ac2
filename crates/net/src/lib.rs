//! The sockets and threads that carry the engine.
//!
//! What this crate is: the *shards* (one OS thread each, with a UDP port, an event loop and the rooms pinned
//! to it), ICE over TCP, and [`Shards`], the handle by which the asynchronous world (signalling, server API)
//! reaches a room by its name. What it is not: it knows nothing of HTTP, of tokens or of media; every
//! decision about a conference is made by [`sfu::Room`].
//!
//! A datagram's way: `udp::receive` → `shard::routes` (whose is it?) → [`sfu::Room::handle_datagram`] and
//! [`sfu::Room::flush`] → `udp::egress` → `udp::sendmmsg`. A signal's way: [`SessionSender::send`] → the
//! shard's mailbox → [`sfu::Room::handle_signal`] → [`SessionReceiver::recv`].

mod config;
mod directory;
mod fence;
mod front;
mod mailbox;
mod session;
mod shard;
mod stats;
mod tcp;
mod udp;

pub use config::{MediaAddress, NetConfig, NetError};
pub use fence::Fence;
pub use front::{InstallError, JoinFailure, Shards};
pub use session::{SendFailure, Session, SessionReceiver, SessionSender};
pub use shard::RelayEnd;
pub use stats::{Dropped, ShardStats};
pub use udp::{MAX_GSO_BYTES, MAX_GSO_SEGMENTS, UdpEgress, UdpPort, UdpReceiver, UdpStats};
