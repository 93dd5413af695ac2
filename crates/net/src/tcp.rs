//! ICE over TCP, the passive side (RFC 6544): clients behind firewalls that let no UDP through connect to
//! one listener; whom they mean is told by the STUN request that each connection must begin with.

mod accept;
mod connections;
pub(crate) mod framing;

pub(crate) use accept::{Acceptor, Listener};
pub(crate) use connections::{Connections, ReadStatus};
