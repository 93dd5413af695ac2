//! The sink that rooms write to: UDP in batches, TCP into each connection's queue.

use rtc::{Egress, MAX_DATAGRAM, Path, Proto};

use crate::tcp::Connections;
use crate::udp::UdpEgress;

pub(super) struct ShardEgress {
    pub(super) udp: UdpEgress,
    pub(super) tcp: Connections,
    /// Set while the slot handed out last is for TCP.
    tcp_path: Option<Path>,
    tcp_slot: Box<[u8; MAX_DATAGRAM]>,
}

impl ShardEgress {
    pub(super) fn new(udp: UdpEgress, tcp: Connections) -> ShardEgress {
        ShardEgress { udp, tcp, tcp_path: None, tcp_slot: Box::new([0; MAX_DATAGRAM]) }
    }

    /// Sends everything that waits.
    pub(super) fn flush(&mut self) {
        self.udp.flush();
        self.tcp.flush();
    }
}

impl Egress for ShardEgress {
    #[inline]
    fn slot(&mut self, path: &Path, max_len: usize) -> &mut [u8] {
        match path.proto {
            Proto::Udp => {
                self.tcp_path = None;
                self.udp.slot(path, max_len)
            }
            Proto::Tcp => {
                self.tcp_path = Some(*path);
                &mut self.tcp_slot[..max_len]
            }
        }
    }

    #[inline]
    fn commit(&mut self, len: usize) {
        match &self.tcp_path {
            None => self.udp.commit(len),
            Some(path) => self.tcp.queue(path, &self.tcp_slot[..len]),
        }
    }
}
