//! Batches of received datagrams: one system call fetches up to 32 messages, each of which may be a run of
//! datagrams of one sender that the kernel coalesced (GRO).

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef};

use super::UdpPort;

/// What a message may hold: the kernel coalesces at most 64 datagrams and at most this many bytes.
const MESSAGE: usize = 65_536;

/// The memory of one batch, shared by all sockets of a shard.
pub struct UdpReceiver {
    memory: Box<[u8]>,
    metas: [RecvMeta; BATCH_SIZE],
}

/// A run of datagrams of one sender: all `stride` bytes long, but the last may be shorter.
pub struct Received<'a> {
    pub remote: SocketAddr,
    pub bytes: &'a mut [u8],
    pub stride: usize,
}

impl Default for UdpReceiver {
    fn default() -> Self {
        UdpReceiver {
            memory: vec![0; MESSAGE * BATCH_SIZE].into_boxed_slice(),
            metas: [RecvMeta::default(); BATCH_SIZE],
        }
    }
}

impl UdpReceiver {
    /// Messages that one call fetches at most.
    pub const BATCH: usize = BATCH_SIZE;

    /// Fetches what waits at the socket. Returns the number of messages: fewer than [`Self::BATCH`] when
    /// nothing more waits.
    pub fn receive(&mut self, port: &UdpPort) -> io::Result<usize> {
        let mut chunks = self.memory.chunks_exact_mut(MESSAGE);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        loop {
            match port.state().recv(UdpSockRef::from(port), &mut slices, &mut self.metas) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                result => return result,
            }
        }
    }

    /// The first `count` messages of the last batch.
    pub fn messages(&mut self, count: usize) -> impl Iterator<Item = Received<'_>> {
        let chunks = self.memory.chunks_exact_mut(MESSAGE);
        self.metas[..count].iter().zip(chunks).map(|(meta, chunk)| {
            let len = meta.len.min(chunk.len());
            Received { remote: meta.addr, bytes: &mut chunk[..len], stride: meta.stride.max(1) }
        })
    }
}
