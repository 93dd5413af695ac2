//! One UDP socket of a shard and the addresses that it is known by.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use quinn_udp::{UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

/// What we ask the kernel for, in bytes: a key frame (100 kB) to each of 80 subscribers at once, and as
/// much in the other direction while the shard is busy with that.
const SOCKET_BUFFER: usize = 8 * 1024 * 1024;

/// With less than this, bursts are lost on the way to the network card.
const SMALL_BUFFER: usize = 1024 * 1024;

/// A bound, non-blocking UDP socket.
pub struct UdpPort {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Addresses that clients are told, the first of which received datagrams are ascribed to.
    advertised: Vec<SocketAddr>,
}

impl UdpPort {
    /// Binds to `bind`; `advertised` gets the port that was bound.
    pub fn bind(bind: SocketAddr, advertised: &[std::net::IpAddr]) -> io::Result<UdpPort> {
        let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
        if bind.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&bind.into())?;
        // Best effort: the kernel caps both at net.core.{r,w}mem_max.
        let sized =
            socket.set_send_buffer_size(SOCKET_BUFFER).and(socket.set_recv_buffer_size(SOCKET_BUFFER));
        let (send, receive) = (socket.send_buffer_size()?, socket.recv_buffer_size()?);
        if sized.is_err() || send.min(receive) < SMALL_BUFFER {
            tracing::warn!(
                send,
                receive,
                "UDP socket buffers are small and bursts may be lost; raise net.core.wmem_max and net.core.rmem_max to {SOCKET_BUFFER}"
            );
        }
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let socket: UdpSocket = socket.into();
        let port = socket.local_addr()?.port();
        let advertised = advertised.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        Ok(UdpPort { socket, state, advertised })
    }

    /// Addresses that clients are told.
    pub fn advertised(&self) -> &[SocketAddr] {
        &self.advertised
    }

    /// Whether a run of datagrams can go to the kernel as one message.
    pub fn supports_gso(&self) -> bool {
        self.state.max_gso_segments() > 1
    }

    pub(super) fn state(&self) -> &UdpSocketState {
        &self.state
    }
}

impl AsFd for UdpPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for UdpPort {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
