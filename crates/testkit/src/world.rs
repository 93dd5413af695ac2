//! A room, its clients and the network between them on a virtual clock. A seed decides everything, so that a
//! run that fails fails again.
//!
//! The room can move from server to server meanwhile; clients whose links are cut, or who lose their signalling, do
//! what the SDKs do. What must never happen is collected as violations.

mod checks;
mod moves;
mod signalling;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use livekit_protocol as proto;
use rtc::transport::DtlsIdentity;
use rtc::{Codec, Path, Proto};
use sfu::{EngineConfig, JoinParams, Limits, Room, RoomEvent, RoomOptions, SessionId};

use crate::client::Client;
use crate::network::{Conditions, Link, Network};
use crate::node::{Node, Onward, bridge_of};
use moves::Journey;
use signalling::Signal;

pub use moves::Fate;

/// Servers that rooms move between.
const SERVERS: u8 = 3;

/// A client without any network for so long may be given up by the server.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(4);

/// The address of a server.
fn server_address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 255, 0, 1 + number], 7882))
}

/// Certificates cost milliseconds and identity does not matter here: all worlds share the clients' and those of the
/// servers.
fn identities() -> &'static (Vec<Arc<DtlsIdentity>>, Arc<DtlsIdentity>) {
    static IDENTITIES: OnceLock<(Vec<Arc<DtlsIdentity>>, Arc<DtlsIdentity>)> = OnceLock::new();
    IDENTITIES.get_or_init(|| {
        let make = |seed| DtlsIdentity::generate_predictable(seed).expect("the system has a random source");
        // Each server has a spare one.
        ((0..2 * SERVERS).map(|server| make(u64::from(server))).collect(), make(u64::MAX))
    })
}

/// A client with its links and its session.
pub struct Member {
    pub client: Client,
    pub session: SessionId,
    pub up: Link,
    pub down: Link,
    /// One way of the signalling connection, which loses nothing.
    pub signal_delay: Duration,
    /// The server has ended the stay.
    pub closed: bool,
    /// The sids of others' numbers at the time of joining: what they send from then on must arrive.
    pub(crate) owed: HashMap<u32, u32>,
    /// Nothing passes, signalling included, since this time.
    cut_since: Option<Instant>,
    /// It was without network for so long that the server may have given it up.
    pub given_up: bool,
    /// Signal messages that wait until something passes again.
    stalled: Vec<Signal>,
    /// How often it has lost its socket, and tries to connect since the last time.
    losses: usize,
    attempt: usize,
}

/// See the module.
pub struct World {
    pub now: Instant,
    pub start: Instant,
    /// All servers that the room was on, each as often as it was there, in the order of its visits.
    nodes: Vec<Node>,
    /// The one that has the room, as the cluster sees it.
    current: usize,
    journey: Option<Journey>,
    /// Moves that the room has made.
    pub moves: usize,
    /// Which server a signalling connection leads to.
    homes: HashMap<SessionId, usize>,
    pub members: Vec<Member>,
    pub events: Vec<RoomEvent>,
    pub violations: Vec<String>,
    pub finished: bool,
    pub rng: Rng,
    network: Network,
    signals: VecDeque<(Instant, Signal)>,
    next_number: u32,
    next_session: u64,
}

/// An engine configuration for tests: everything on, one UDP address.
pub fn engine_config() -> EngineConfig {
    engine_config_at(server_address(0))
}

fn engine_config_at(local: SocketAddr) -> EngineConfig {
    EngineConfig {
        candidates: vec![Path { proto: Proto::Udp, local, remote: local }],
        ice_lite: false,
        ufrag_prefix: String::new(),
        audio_active_level: 35,
        audio_min_percentile: 40,
        audio_update_interval: Duration::from_millis(400),
        audio_smooth_intervals: 2,
        dynacast_pause_delay: Duration::from_secs(5),
        allow_pause: false,
        enabled_codecs: vec![Codec::Vp8, Codec::H264, Codec::Vp9, Codec::Av1, Codec::Opus, Codec::Red],
        enable_remote_unmute: false,
        describe_rooms: false,
        limits: Limits::default(),
        server_info: proto::ServerInfo { version: "1.13.5".into(), protocol: 17, ..Default::default() },
    }
}

impl World {
    pub fn new(seed: u64) -> World {
        // SCTP's first timer reads the real clock: from the future it always looks the same, long past.
        let now = Instant::now() + Duration::from_secs(3_600);
        let mut rng = Rng::with_seed(seed);
        let (servers, _) = identities();
        let room = Room::new(
            Arc::new(engine_config()),
            servers[0].clone(),
            "world".into(),
            RoomOptions::default(),
            now,
            wall(),
            rng.u64(..),
        );
        World {
            now,
            start: now,
            nodes: vec![Node::new(server_address(0), room)],
            current: 0,
            journey: None,
            moves: 0,
            homes: HashMap::new(),
            members: Vec::new(),
            events: Vec::new(),
            violations: Vec::new(),
            finished: false,
            network: Network::new(rng.u64(..)),
            rng,
            signals: VecDeque::new(),
            next_number: 0,
            next_session: 0,
        }
    }

    /// The room where it is now.
    pub fn room(&mut self) -> &mut Room {
        &mut self.nodes[self.current].room
    }

    /// Virtual time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.now.duration_since(self.start)
    }

    /// Stands for everything that happened so far on the network.
    pub fn digest(&self) -> u64 {
        self.network.digest()
    }

    /// A new client joins; returns its place among the members.
    pub fn join(&mut self, single: bool, conditions: Conditions) -> usize {
        self.next_number += 1;
        let number = self.next_number;
        let (_, identity) = identities();
        let mut client = Client::new(number, single, identity, self.now, self.rng.u64(..));
        let session = self.new_session();
        let publisher_offer = client.first_offer(self.now);
        let params = JoinParams { publisher_offer, ..signalling::join_params(session, &client) };
        let signal_delay = conditions.delay.max(Duration::from_millis(1)) * 2;
        let owed = self.members.iter().map(|other| (other.client.number, other.client.data.next())).collect();
        self.members.push(Member {
            client,
            session,
            up: Link::new(conditions),
            down: Link::new(conditions),
            signal_delay,
            closed: false,
            owed,
            cut_since: None,
            given_up: false,
            stalled: Vec::new(),
            losses: 0,
            attempt: 0,
        });
        let now = self.now;
        if let Err(error) = self.room().join(now, params) {
            self.violations.push(format!("join refused: {error}"));
        }
        self.drain_rooms();
        self.members.len() - 1
    }

    /// How a client's links behave from now on, both ways.
    pub fn set_conditions(&mut self, index: usize, conditions: Conditions) {
        let member = &mut self.members[index];
        (member.up.conditions, member.down.conditions) = (conditions, conditions);
        self.reconnect_network(index);
    }

    /// From now on nothing of a client passes, signalling included.
    pub fn cut(&mut self, index: usize) {
        let member = &mut self.members[index];
        (member.up.conditions, member.down.conditions) = (Conditions::CUT, Conditions::CUT);
        member.cut_since.get_or_insert(self.now);
    }

    fn reconnect_network(&mut self, index: usize) {
        let member = &mut self.members[index];
        if let Some(since) = member.cut_since.take() {
            member.given_up |= self.now.duration_since(since) >= GIVEN_UP_AFTER;
        }
        for signal in std::mem::take(&mut self.members[index].stalled) {
            self.enqueue(self.members[index].signal_delay, signal);
        }
    }

    /// Lets virtual time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end && !self.nodes.iter().all(|node| node.finished) {
            self.now = self.next_due().map_or(end, |due| due.clamp(self.now, end));
            self.step();
            // Whatever is still due now gets its turn in the next round, a little later.
            if self.next_due().is_some_and(|due| due <= self.now) {
                self.now += Duration::from_micros(50);
            }
        }
    }

    fn next_due(&mut self) -> Option<Instant> {
        let clients = self.members.iter().filter(|member| !member.client.left && !member.closed);
        let clients = clients.filter_map(|member| member.client.next_due()).min();
        let signal = self.signals.front().map(|(at, _)| *at);
        let rooms = self.nodes.iter_mut().filter(|node| !node.finished);
        let rooms = rooms.filter_map(|node| node.room.poll_timeout()).min();
        let journey = self.journey.as_ref().map(Journey::due);
        [clients, signal, self.network.next_arrival(), rooms, journey].into_iter().flatten().min()
    }

    fn step(&mut self) {
        self.deliver_datagrams();
        self.deliver_signals();
        self.travel();
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            if member.client.left || member.closed {
                continue;
            }
            if member.client.next_due().is_some_and(|due| due <= self.now) {
                member.client.tick(self.now);
            }
        }
        for node in self.nodes.iter_mut().filter(|node| !node.finished) {
            if node.is_idle(self.now) {
                node.room.abandon();
            }
            if node.room.poll_timeout().is_some_and(|due| due <= self.now) {
                node.room.handle_timeout(self.now, &mut node.out);
            }
        }
        self.drain_rooms();
        self.send_all();
    }

    fn deliver_datagrams(&mut self) {
        while let Some(delivery) = self.network.poll(self.now) {
            if let Some(server) = self.server_at(delivery.path.local) {
                self.datagram_to_server(server, delivery.path, delivery.bytes);
                continue;
            }
            let number = u32::from_be_bytes(match delivery.path.local.ip() {
                std::net::IpAddr::V4(ip) => ip.octets(),
                std::net::IpAddr::V6(_) => continue,
            }) & 0xFFFF;
            let member = self.members.iter_mut().find(|member| member.client.number == number);
            if let Some(member) = member.filter(|member| !member.client.left && !member.closed) {
                member.client.datagram(self.now, &delivery.path, delivery.bytes);
            }
        }
        for node in self.nodes.iter_mut().filter(|node| !node.finished) {
            node.room.flush(self.now, &mut node.out);
        }
    }

    /// The running server at an address: the last to have come there.
    fn server_at(&self, address: SocketAddr) -> Option<usize> {
        let there = |node: &Node| node.address == address;
        let running = self.nodes.iter().rposition(|node| there(node) && !node.finished);
        running.or_else(|| self.nodes.iter().position(there))
    }

    fn datagram_to_server(&mut self, server: usize, path: Path, bytes: Vec<u8>) {
        let node = &mut self.nodes[server];
        if node.finished {
            return;
        }
        let onward = node.datagram(self.now, &path, bytes);
        self.drain_rooms();
        // Between servers nothing is lost and nothing takes time.
        if let Some(Onward::NextServer { from, bytes }) = onward
            && let Some(next) = self.nodes[server].onward
        {
            let path = Path { proto: Proto::Udp, local: self.nodes[next].address, remote: from };
            self.datagram_to_server(next, path, bytes);
        }
    }

    /// Puts everything that was written onto the links.
    fn send_all(&mut self) {
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            let (session, delay) = (member.session, member.signal_delay);
            let asks: Vec<_> = member.client.asks.drain(..).collect();
            for side in member.client.sides() {
                while let Some((path, bytes)) = side.out.datagrams.pop_front() {
                    self.network.send(self.now, &mut member.up, &path, bytes);
                }
            }
            for ask in asks {
                self.enqueue(delay, Signal::ToServer(session, Box::new(ask)));
            }
        }
        // The current server first: what it sends by a bridge leaves with its former one.
        for index in (0..self.nodes.len()).rev() {
            while let Some((path, bytes)) = self.nodes[index].out.datagrams.pop_front() {
                self.send_from(index, path, bytes);
            }
        }
    }

    fn send_from(&mut self, _index: usize, path: Path, bytes: Vec<u8>) {
        if let Some(former) = bridge_of(path.remote) {
            if !self.nodes[former].finished
                && let Some(Onward::Client { path, bytes }) = self.nodes[former].bridged(path.remote, bytes)
            {
                self.send_from(former, path, bytes);
            }
            return;
        }
        let number = match path.remote.ip() {
            std::net::IpAddr::V4(ip) => u32::from_be_bytes(ip.octets()) & 0xFFFF,
            std::net::IpAddr::V6(_) => return,
        };
        if let Some(member) = self.members.iter_mut().find(|member| member.client.number == number) {
            self.network.send(self.now, &mut member.down, &path, bytes);
        }
    }
}

fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}
