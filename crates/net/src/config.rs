//! What an operator decides about sockets and threads, and why a process cannot have them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use sfu::EngineConfig;

use crate::fence::Fence;

/// A local address that media comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediaAddress {
    /// What the socket is bound to.
    pub bind: IpAddr,
    /// What clients are told: differs from `bind` behind a 1:1 NAT, as in most clouds.
    pub advertise: IpAddr,
}

impl From<IpAddr> for MediaAddress {
    fn from(ip: IpAddr) -> Self {
        MediaAddress { bind: ip, advertise: ip }
    }
}

/// What [`crate::Shards::start`] needs to know.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// Addresses that media is reachable at, the preferred first. Each shard opens one socket per distinct
    /// `bind`; several entries may share one.
    pub addresses: Vec<MediaAddress>,
    /// One port per shard, from the start of the range. `0..=0` lets the system choose (tests).
    pub udp_ports: RangeInclusive<u16>,
    /// ICE over TCP, one listener for all shards; `Some(0)` lets the system choose.
    pub tcp_port: Option<u16>,
    /// Threads that carry rooms. `None`: one per core, but no more than there are UDP ports.
    pub shards: Option<usize>,
    /// Until when rooms may be served here.
    pub fence: Arc<Fence>,
    /// What all rooms share. `candidates` and `ufrag_prefix` are filled in per shard.
    pub engine: EngineConfig,
}

/// Why the sockets or threads cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error(
        "no media address is configured; set rtc.node_ip or let the server use the interfaces' addresses"
    )]
    NoAddress,
    #[error(
        "{shards} shards need a UDP port each but the range has {ports}; widen the range or lower the number of shards"
    )]
    TooFewPorts { shards: usize, ports: usize },
    #[error("{0} shards are too many; configure between 1 and {max}", max = crate::shard::MAX_SHARDS)]
    ShardCount(usize),
    #[error(
        "UDP socket {address} cannot be opened: {source}; check that the address is local and the port free"
    )]
    Udp { address: SocketAddr, source: io::Error },
    #[error(
        "TCP listener {address} cannot be opened: {source}; check that the address is local and the port free"
    )]
    Tcp { address: SocketAddr, source: io::Error },
    #[error("a shard's event loop cannot be set up: {0}; check the limits on open files and threads")]
    Poll(io::Error),
    #[error(transparent)]
    Identity(#[from] rtc::transport::IdentityError),
}
