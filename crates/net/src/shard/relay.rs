//! The bridge for clients whose room has moved to another node, until they have found their own way there.
//!
//! A client that resumes keeps sending by the way that works, and that way ends here: browsers are slow to
//! change over while the old way lives. So for each transport of a room that moves there is a socket towards
//! the new node. From the client's first handshake message on (it begins DTLS anew with the new node's
//! certificate) everything but STUN goes through it, and what comes back goes to the client. When the client
//! is silent here it has changed over.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use rtc::{MAX_DATAGRAM, Path};

use super::rooms::RoomKey;
use super::routes::Owner;

/// Transports that are bridged at the same time: some hundred rooms under way.
const MAX_RELAYS: usize = 4_096;

/// A client that has sent nothing here for so long has changed over. Media and its feedback come far more
/// often.
const IDLE: Duration = Duration::from_secs(2);

/// The same for a client that never used the bridge: it may have changed over directly, or it only listens to audio.
/// Even then it checks the way that it uses more often than this.
const UNUSED_IDLE: Duration = Duration::from_secs(6);

/// Content type of DTLS handshake messages (RFC 6347 §4.1).
const HANDSHAKE: u8 = 22;

struct Relay {
    socket: UdpSocket,
    token: usize,
    /// How the client reaches us, as last seen.
    client: Option<Path>,
    switched: bool,
    last: Instant,
}

/// What became of a datagram of a bridged transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Relayed {
    /// It is for the room here still.
    No,
    /// It went to the new node; with it the client changed over to that.
    First,
    Yes,
}

pub(super) struct Relays {
    registry: Registry,
    first_token: usize,
    by_owner: HashMap<Owner, Relay>,
    by_token: HashMap<usize, Owner>,
    next_token: usize,
}

impl Relays {
    pub(super) fn new(registry: Registry, first_token: usize) -> Relays {
        Relays { registry, first_token, by_owner: HashMap::new(), by_token: HashMap::new(), next_token: 0 }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.by_owner.is_empty()
    }

    /// Opens a bridge to `target`; returns the address that the new node sees.
    /// `client` is the way to the client, as far as it is known.
    pub(super) fn open(
        &mut self,
        now: Instant,
        owner: Owner,
        client: Option<Path>,
        target: SocketAddr,
    ) -> io::Result<SocketAddr> {
        if self.by_owner.len() >= MAX_RELAYS {
            return Err(io::Error::other("too many transports are bridged already"));
        }
        let any = match target {
            SocketAddr::V4(_) => IpAddr::from([0; 4]),
            SocketAddr::V6(_) => IpAddr::from([0; 16]),
        };
        let mut socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(target)?;
        let local = socket.local_addr()?;
        let token = self.next_token;
        self.next_token += 1;
        self.registry.register(&mut socket, Token(self.first_token + token), Interest::READABLE)?;
        self.by_token.insert(token, owner);
        let relay = Relay { socket, token, client, switched: false, last: now };
        if let Some(old) = self.by_owner.insert(owner, relay) {
            self.by_token.remove(&old.token);
        }
        Ok(local)
    }

    /// The bridge whose socket has something to read.
    pub(super) fn owner_of(&self, token: Token) -> Option<Owner> {
        self.by_token.get(&token.0.checked_sub(self.first_token)?).copied()
    }

    /// Takes a datagram (not STUN) that the client sent here. Its room has `left`, or is only about to.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        owner: Owner,
        path: &Path,
        datagram: &[u8],
        left: bool,
    ) -> Relayed {
        let Some(relay) = self.by_owner.get_mut(&owner) else { return Relayed::No };
        relay.last = now;
        relay.client = Some(*path);
        let first = left && !relay.switched && datagram.first() == Some(&HANDSHAKE);
        if !relay.switched && !first {
            return Relayed::No;
        }
        relay.switched = true;
        if let Err(error) = relay.socket.send(datagram)
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::debug!(%error, "a datagram did not reach the new node");
        }
        if first { Relayed::First } else { Relayed::Yes }
    }

    /// The client has checked the way here.
    pub(super) fn checked(&mut self, now: Instant, owner: Owner) {
        if let Some(relay) = self.by_owner.get_mut(&owner).filter(|relay| !relay.switched) {
            relay.last = now;
        }
    }

    /// The next datagram from the new node, with the way to the client.
    pub(super) fn receive(&mut self, owner: Owner, buffer: &mut [u8]) -> Option<(Path, usize)> {
        let relay = self.by_owner.get_mut(&owner)?;
        loop {
            match relay.socket.recv(buffer) {
                Ok(len) if len <= MAX_DATAGRAM => {
                    if let Some(path) = relay.client {
                        return Some((path, len));
                    }
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// Whether every client of the room has gone its own way.
    pub(super) fn is_idle(&self, now: Instant, room: RoomKey) -> bool {
        let mut relays = self.by_owner.iter().filter(|(owner, _)| owner.room == room);
        relays.all(|(_, relay)| {
            now.duration_since(relay.last) > if relay.switched { IDLE } else { UNUSED_IDLE }
        })
    }

    pub(super) fn rooms(&self) -> Vec<RoomKey> {
        let mut rooms: Vec<_> = self.by_owner.keys().map(|owner| owner.room).collect();
        rooms.sort_unstable();
        rooms.dedup();
        rooms
    }

    pub(super) fn close_room(&mut self, room: RoomKey) {
        self.by_owner.retain(|owner, relay| {
            let stays = owner.room != room;
            if !stays {
                self.by_token.remove(&relay.token);
                // A socket that cannot be taken off the poll is closed a moment later anyway.
                let _ = self.registry.deregister(&mut relay.socket);
            }
            stays
        });
    }
}

/// One transport's end of the bridge, as the new node is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct RelayEnd {
    /// The participant's number in the room.
    pub participant: u32,
    /// Its second connection, on which it receives.
    pub subscriber: bool,
    /// Where its datagrams will come from.
    pub from: SocketAddr,
}

#[cfg(test)]
mod tests {
    use rtc::Proto;
    use sfu::TransportId;

    use super::*;

    fn bridged() -> (mio::Poll, Relays, Owner, Path) {
        let poll = mio::Poll::new().unwrap();
        let mut relays = Relays::new(poll.registry().try_clone().unwrap(), 10);
        let owner = Owner { room: RoomKey::test(1), transport: TransportId(1) };
        let address = "127.0.0.1:9".parse().unwrap();
        let path = Path { proto: Proto::Udp, local: address, remote: address };
        relays.open(Instant::now(), owner, Some(path), address).unwrap();
        (poll, relays, owner, path)
    }

    #[test]
    fn a_bridge_that_was_used_ends_when_the_client_is_silent() {
        let (_poll, mut relays, owner, path) = bridged();
        let now = Instant::now();
        assert_eq!(relays.forward(now, owner, &path, &[HANDSHAKE], true), Relayed::First);
        assert!(!relays.is_idle(now + IDLE, owner.room));
        assert!(relays.is_idle(now + IDLE * 2, owner.room));
    }

    /// It was kept for 20 s, and a node that drained waited for that.
    #[test]
    fn a_bridge_that_nobody_used_ends_when_the_client_does_not_even_check_the_way() {
        let (_poll, mut relays, owner, _) = bridged();
        let now = Instant::now();
        assert!(!relays.is_idle(now + IDLE * 2, owner.room), "it only listens, perhaps");
        relays.checked(now + IDLE * 2, owner);
        assert!(!relays.is_idle(now + IDLE + UNUSED_IDLE, owner.room));
        assert!(relays.is_idle(now + IDLE * 3 + UNUSED_IDLE, owner.room));
    }
}
