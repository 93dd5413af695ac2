//! Where a peer's datagrams go: the one seam between the protocols and the sockets. A peer asks for a
//! slot, writes the datagram straight into it and commits; whoever owns the sockets batches the slots.

use std::net::SocketAddr;

/// How a datagram travels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Proto {
    Udp,
    /// ICE over TCP, passive on the server's side, framed by RFC 4571.
    Tcp,
}

/// The two ends of a datagram's way as seen from here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Path {
    pub proto: Proto,
    /// Our own address, as advertised in the candidate it belongs to.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// A sink of datagrams. Consecutive datagrams of one path lie side by side, so that an implementation
/// over UDP can send a run of equal sizes as one GSO message.
pub trait Egress {
    /// Memory for one datagram of at most `max_len` bytes (≤ [`MAX_DATAGRAM`]) towards `path`.
    ///
    /// The slot's former content is arbitrary. A slot that is not committed is simply used again.
    fn slot(&mut self, path: &Path, max_len: usize) -> &mut [u8];

    /// Sends the first `len` bytes of the slot handed out last.
    fn commit(&mut self, len: usize);

    /// Sends a datagram that exists already.
    fn send(&mut self, path: &Path, datagram: &[u8]) {
        self.slot(path, datagram.len())[..datagram.len()].copy_from_slice(datagram);
        self.commit(datagram.len());
    }
}

/// Largest datagram that is sent or received, in bytes: what an Ethernet frame carries over IPv4, with
/// head-room for paths with jumbo frames cut away on purpose.
pub const MAX_DATAGRAM: usize = 1500;

/// Collects datagrams in memory: for tests, simulations and everything off the hot path.
#[derive(Default, Debug)]
pub struct DatagramQueue {
    slot: Vec<u8>,
    path: Option<Path>,
    /// What was committed, oldest first.
    pub datagrams: std::collections::VecDeque<(Path, Vec<u8>)>,
}

impl Egress for DatagramQueue {
    fn slot(&mut self, path: &Path, max_len: usize) -> &mut [u8] {
        self.path = Some(*path);
        self.slot.resize(max_len, 0);
        &mut self.slot
    }

    fn commit(&mut self, len: usize) {
        if let Some(path) = self.path {
            self.datagrams.push_back((path, self.slot[..len].to_vec()));
        }
    }
}
