//! The sockets that packets are sent to. They are emptied between the timed parts.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::sys;

/// What we ask the kernel for; a frame fits even into its default.
const BUFFER: usize = 4 * 1024 * 1024;

/// How receivers take what comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reception {
    /// Datagram by datagram, so that the kernel splits runs on the way.
    Plain,
    /// Runs stay whole: the closest that loopback gets to a network card which segments.
    Gro,
}

pub(crate) struct Receivers {
    sockets: Vec<UdpSocket>,
    addresses: Vec<SocketAddr>,
    buffer: Box<[u8]>,
}

impl Receivers {
    pub(crate) fn new(count: usize, reception: Reception) -> io::Result<Receivers> {
        let mut receivers =
            Receivers { sockets: Vec::new(), addresses: Vec::new(), buffer: vec![0; 65_536].into() };
        for _ in 0..count {
            let socket = open()?;
            if reception == Reception::Gro {
                sys::enable_gro(&socket)?;
            }
            receivers.addresses.push(socket.local_addr()?);
            receivers.sockets.push(socket);
        }
        Ok(receivers)
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Empties all sockets. Returns the bytes that had arrived.
    pub(crate) fn drain(&mut self) -> io::Result<usize> {
        let mut bytes = 0;
        self.drain_each(|_, datagram| bytes += datagram.len())?;
        Ok(bytes)
    }

    /// Empties all sockets; runs that came whole are handed on as they came. The caller gets each
    /// with the place of its socket.
    pub(crate) fn drain_each(&mut self, mut take: impl FnMut(usize, &mut [u8])) -> io::Result<()> {
        for (place, socket) in self.sockets.iter().enumerate() {
            loop {
                match socket.recv(&mut self.buffer) {
                    Ok(len) => take(place, &mut self.buffer[..len]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Sends a datagram from one of the sockets.
    pub(crate) fn send(&self, place: usize, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.sockets[place].send_to(datagram, to).map(drop)
    }
}

/// The socket that sends.
pub(crate) fn sender() -> io::Result<UdpSocket> {
    open()
}

fn open() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_send_buffer_size(BUFFER)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    Ok(socket.into())
}
