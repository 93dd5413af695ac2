//! One server of a world: a room, the transports it has open and the ways that lead to them. When the room has
//! moved on, also the bridges by which its clients reach the next server until they find their own way, as the
//! shards of `net` keep them.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc::rtp::DatagramKind;
use rtc::{DatagramQueue, Path, Proto};
use sfu::{Room, TransportId};

/// Where the bridges of all servers come from: never an address of a client.
const BRIDGES: [u8; 2] = [10, 254];

/// A client that has sent nothing over its bridge for so long has found its own way.
const BRIDGE_IDLE: Duration = Duration::from_secs(2);

pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) room: Room,
    pub(crate) out: DatagramQueue,
    pub(crate) open_transports: HashSet<TransportId>,
    pub(crate) ufrags: HashMap<String, TransportId>,
    pub(crate) paths: HashMap<Path, TransportId>,
    pub(crate) finished: bool,
    /// Where its bridges lead: a place among the world's servers.
    pub(crate) onward: Option<usize>,
    bridges: HashMap<TransportId, Bridge>,
}

struct Bridge {
    /// What the next server takes for the client's address.
    from: SocketAddr,
    client: Option<Path>,
    switched: bool,
    last: Instant,
}

/// Where a datagram goes on.
pub(crate) enum Onward {
    /// To the server with the room, as if from this address.
    NextServer { from: SocketAddr, bytes: Vec<u8> },
    /// To the client, by the old way.
    Client { path: Path, bytes: Vec<u8> },
}

impl Node {
    pub(crate) fn new(address: SocketAddr, room: Room) -> Node {
        Node {
            address,
            room,
            out: DatagramQueue::default(),
            open_transports: HashSet::new(),
            ufrags: HashMap::new(),
            paths: HashMap::new(),
            finished: false,
            onward: None,
            bridges: HashMap::new(),
        }
    }

    /// Opens a bridge for each transport, from this server (number `here`) to the server `onward`; returns whose
    /// they are and where they come from.
    pub(crate) fn open_bridges(
        &mut self,
        now: Instant,
        here: usize,
        onward: usize,
    ) -> Vec<(u32, bool, SocketAddr)> {
        self.onward = Some(onward);
        let mut ends = Vec::new();
        for (index, (participant, subscriber, transport)) in
            self.room.moving_transports().into_iter().enumerate()
        {
            let from = SocketAddr::from(([BRIDGES[0], BRIDGES[1], here as u8, 1], 1_000 + index as u16));
            let client = self.room.transport_path(transport);
            self.bridges.insert(transport, Bridge { from, client, switched: false, last: now });
            ends.push((participant, subscriber, from));
        }
        ends
    }

    /// The move did not come about.
    pub(crate) fn close_bridges(&mut self) {
        self.onward = None;
        self.bridges.clear();
    }

    /// A datagram from a client. What is for the next server comes back.
    pub(crate) fn datagram(&mut self, now: Instant, path: &Path, mut bytes: Vec<u8>) -> Option<Onward> {
        let kind = rtc::rtp::classify(&bytes);
        let named = (kind == DatagramKind::Stun).then(|| ufrag_of(&bytes)).flatten();
        let transport =
            named.and_then(|ufrag| self.ufrags.get(&ufrag)).or_else(|| self.paths.get(path)).copied()?;
        if kind != DatagramKind::Stun
            && let Some(bridge) = self.bridges.get_mut(&transport)
        {
            bridge.client = Some(*path);
            bridge.last = now;
            let handshake = kind == DatagramKind::Dtls && bytes[0] == 22;
            if handshake && !bridge.switched && self.room.has_left() {
                bridge.switched = true;
                self.room.let_go(now, transport);
            }
            if bridge.switched {
                return Some(Onward::NextServer { from: bridge.from, bytes });
            }
        }
        self.room.handle_datagram(now, transport, path, &mut bytes, &mut self.out);
        None
    }

    /// What the next server sent to one of our bridges.
    pub(crate) fn bridged(&self, from: SocketAddr, bytes: Vec<u8>) -> Option<Onward> {
        let bridge = self.bridges.values().find(|bridge| bridge.from == from)?;
        let path = bridge.client?;
        Some(Onward::Client { path: Path { proto: Proto::Udp, ..path }, bytes })
    }

    /// Whether every client has gone its own way, so that the room may end here.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let idle = |bridge: &Bridge| bridge.switched && now.duration_since(bridge.last) > BRIDGE_IDLE;
        !self.bridges.is_empty() && self.bridges.values().all(idle)
    }

    /// The process dies.
    pub(crate) fn die(&mut self) {
        self.finished = true;
        self.open_transports.clear();
        self.ufrags.clear();
        self.paths.clear();
        self.bridges.clear();
        self.out.datagrams.clear();
    }
}

/// Which server the bridge at this address belongs to; `None` for the address of a client.
pub(crate) fn bridge_of(address: SocketAddr) -> Option<usize> {
    match address {
        SocketAddr::V4(v4) if v4.ip().octets()[..2] == BRIDGES => Some(usize::from(v4.ip().octets()[2])),
        _ => None,
    }
}

/// The ufrag that a STUN request is addressed to.
fn ufrag_of(bytes: &[u8]) -> Option<String> {
    let message = is::stun::StunMessage::parse(bytes).ok()?;
    message.split_username().map(|(local, _)| local.to_owned())
}
