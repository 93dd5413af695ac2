//! A room, its clients and the network between them on a virtual clock. A seed decides everything, so that a
//! run that fails fails again.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use livekit_protocol as proto;
use rtc::transport::DtlsIdentity;
use rtc::{Codec, MediaKind, Path, Proto};
use sfu::{
    EngineConfig, JoinParams, Limits, Resume, Room, RoomEvent, RoomOptions, RoomOutput, RoomSnapshot,
    SessionId, SessionOutput,
};

use crate::client::Client;
use crate::network::{Conditions, Link, Network};
use crate::node::{Node, Onward, is_bridge};

/// The address of the first server, or of one that the room moved to later.
fn server_address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 255, 0, 1 + number], 7882))
}

/// Certificates cost milliseconds and identity does not matter here: all worlds share the clients' and two for
/// servers, which take turns.
fn identities() -> &'static ([Arc<DtlsIdentity>; 2], Arc<DtlsIdentity>) {
    static IDENTITIES: OnceLock<([Arc<DtlsIdentity>; 2], Arc<DtlsIdentity>)> = OnceLock::new();
    IDENTITIES.get_or_init(|| {
        let make = || DtlsIdentity::generate().expect("the system has a random source");
        ([make(), make()], make())
    })
}

/// A signal message under way.
enum Signal {
    ToServer(SessionId, Box<proto::SignalRequest>),
    ToClient(SessionId, SessionOutput),
}

/// A client with its links and its session.
pub struct Member {
    pub client: Client,
    pub session: SessionId,
    pub up: Link,
    pub down: Link,
    /// One way of the signalling connection, which loses nothing.
    pub signal_delay: Duration,
    pub closed: bool,
}

/// See the module.
pub struct World {
    pub now: Instant,
    pub start: Instant,
    /// All servers that the room was on, the current one last.
    nodes: Vec<Node>,
    pub members: Vec<Member>,
    pub events: Vec<RoomEvent>,
    pub violations: Vec<String>,
    pub finished: bool,
    /// The room's last mirror, in a cluster.
    mirror: Option<Arc<RoomSnapshot>>,
    /// No later mirror gets out of the server.
    pub mirror_is_last: bool,
    pub rng: Rng,
    network: Network,
    signals: VecDeque<(Instant, Signal)>,
    next_number: u32,
    next_session: u64,
}

/// An engine configuration for tests: everything on, one UDP address.
pub fn engine_config() -> EngineConfig {
    engine_config_at(server_address(0), false)
}

fn engine_config_at(local: SocketAddr, describe_rooms: bool) -> EngineConfig {
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
        describe_rooms,
        limits: Limits::default(),
        server_info: proto::ServerInfo { version: "1.13.5".into(), protocol: 17, ..Default::default() },
    }
}

impl World {
    pub fn new(seed: u64) -> World {
        World::with(seed, engine_config())
    }

    /// As [`Self::new`]; the room is mirrored, so that it survives [`Self::fail_node`].
    pub fn mirrored(seed: u64) -> World {
        World::with(seed, engine_config_at(server_address(0), true))
    }

    fn with(seed: u64, config: EngineConfig) -> World {
        let now = Instant::now();
        let mut rng = Rng::with_seed(seed);
        let (servers, _) = identities();
        let room = Room::new(
            Arc::new(config),
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
            members: Vec::new(),
            events: Vec::new(),
            violations: Vec::new(),
            finished: false,
            mirror: None,
            mirror_is_last: false,
            network: Network::new(rng.u64(..)),
            rng,
            signals: VecDeque::new(),
            next_number: 0,
            next_session: 0,
        }
    }

    /// The room where it is now.
    pub fn room(&mut self) -> &mut Room {
        &mut self.node().room
    }

    fn node(&mut self) -> &mut Node {
        self.nodes.last_mut().expect("there is always a server")
    }

    /// Moves the room to a new server while the call goes on, as a draining node does.
    pub fn move_room(&mut self, seed: u64) {
        let number = self.nodes.len() as u8;
        let address = server_address(number);
        let (servers, _) = identities();
        let identity = servers[usize::from(number) % 2].clone();
        let now = self.now;
        let old = self.node();
        let snapshot = old.room.export(now);
        let json = serde_json::to_vec(&snapshot).expect("a snapshot is plain data");
        let snapshot = serde_json::from_slice(&json).expect("what was written can be read");
        let config = Arc::new(engine_config_at(address, false));
        let room = Room::import(config, identity, "world".into(), snapshot, now, wall(), seed);
        let mut next = Node::new(address, room.expect("the descriptions were understood once"));
        for (participant, subscriber, from) in old.open_bridges(number) {
            let path = Path { proto: Proto::Udp, local: address, remote: from };
            next.room.admit_path(now, participant, subscriber, path);
        }
        old.room.release(now);
        self.nodes.push(next);
        self.drain_rooms();
    }

    /// A member loses its signalling connection.
    pub fn cut_signalling(&mut self, index: usize) {
        let (now, session) = (self.now, self.members[index].session);
        self.room().handle_session_closed(now, session);
        self.enqueue(Duration::ZERO, Signal::ToClient(session, SessionOutput::Abort));
        self.drain_rooms();
    }

    /// The room's server dies; after `outage` the room goes on elsewhere from its mirror, and the clients lose their
    /// signalling connections, as masters see to it.
    pub fn fail_node(&mut self, seed: u64, outage: Duration) {
        let dead = self.node();
        dead.finished = true;
        dead.open_transports.clear();
        self.run(outage);
        let number = self.nodes.len() as u8;
        let address = server_address(number);
        let identity = identities().0[usize::from(number) % 2].clone();
        let mirror = self.mirror.take().expect("the room was mirrored");
        let json = serde_json::to_vec(&*mirror).expect("a mirror is plain data");
        let mirror = serde_json::from_slice(&json).expect("what was written can be read");
        let config = Arc::new(engine_config_at(address, true));
        let room = Room::revive(config, identity, "world".into(), mirror, self.now, wall(), seed);
        self.nodes.push(Node::new(address, room.expect("the descriptions were understood once")));
        let present = self.members.iter().filter(|member| !member.client.left && !member.closed);
        for session in present.map(|member| member.session).collect::<Vec<_>>() {
            self.enqueue(Duration::ZERO, Signal::ToClient(session, SessionOutput::Abort));
        }
        self.drain_rooms();
    }

    /// Virtual time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.now.duration_since(self.start)
    }

    /// A new client joins; returns its place among the members.
    pub fn join(&mut self, single: bool, conditions: Conditions) -> usize {
        self.next_number += 1;
        let number = self.next_number;
        let (_, identity) = identities();
        let mut client = Client::new(number, single, identity, self.now, self.rng.u64(..));
        let session = self.new_session();
        let publisher_offer = client.first_offer(self.now);
        let params = JoinParams { publisher_offer, ..join_params(session, &client) };
        let signal_delay = conditions.delay.max(Duration::from_millis(1)) * 2;
        self.members.push(Member {
            client,
            session,
            up: Link::new(conditions),
            down: Link::new(conditions),
            signal_delay,
            closed: false,
        });
        let now = self.now;
        if let Err(error) = self.room().join(now, params) {
            self.violations.push(format!("join refused: {error}"));
        }
        self.drain_rooms();
        self.members.len() - 1
    }

    fn new_session(&mut self) -> SessionId {
        self.next_session += 1;
        SessionId(self.next_session)
    }

    /// A client that was told to resume connects again.
    fn resume(&mut self, index: usize) {
        let session = self.new_session();
        let now = self.now;
        let member = &mut self.members[index];
        member.session = session;
        let resume = Resume { participant_sid: String::new(), reason: 0 };
        let params = JoinParams { resume: Some(resume), ..join_params(session, &member.client) };
        member.client.resume(now);
        if let Err(error) = self.room().join(now, params) {
            self.violations.push(format!("resume refused: {error}"));
        }
        self.drain_rooms();
    }

    /// Members that are in the room and mean to stay.
    pub fn present(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.client.left && !member.closed)
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
        [clients, signal, self.network.next_arrival(), rooms].into_iter().flatten().min()
    }

    fn step(&mut self) {
        self.deliver_datagrams();
        self.deliver_signals();
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
            if node.room.poll_timeout().is_some_and(|due| due <= self.now) {
                node.room.handle_timeout(self.now, &mut node.out);
            }
        }
        self.drain_rooms();
        self.send_all();
    }

    fn deliver_datagrams(&mut self) {
        while let Some(delivery) = self.network.poll(self.now) {
            let server = self.nodes.iter().position(|node| node.address == delivery.path.local);
            if let Some(server) = server {
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

    fn datagram_to_server(&mut self, server: usize, path: Path, bytes: Vec<u8>) {
        let node = &mut self.nodes[server];
        if node.finished {
            return;
        }
        let onward = node.datagram(self.now, &path, bytes);
        self.drain_rooms();
        // Between servers nothing is lost and nothing takes time.
        if let Some(Onward::NextServer { from, bytes }) = onward
            && let Some(next) = self.nodes.get(server + 1)
        {
            let path = Path { proto: Proto::Udp, local: next.address, remote: from };
            self.datagram_to_server(server + 1, path, bytes);
        }
    }

    fn deliver_signals(&mut self) {
        while self.signals.front().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, signal)) = self.signals.pop_front() else { return };
            match signal {
                Signal::ToServer(session, request) => {
                    for node in self.nodes.iter_mut().filter(|node| !node.finished) {
                        node.room.handle_signal(self.now, session, (*request).clone());
                    }
                    self.drain_rooms();
                }
                Signal::ToClient(session, output) => {
                    let Some(index) = self.members.iter().position(|member| member.session == session) else {
                        continue;
                    };
                    let member = &mut self.members[index];
                    match output {
                        SessionOutput::Response(response) => {
                            if let Some(message) = response.message {
                                member.client.told(self.now, message);
                            }
                        }
                        SessionOutput::Close if member.client.resumes(false) => self.resume(index),
                        SessionOutput::Abort if member.client.resumes(true) => self.resume(index),
                        SessionOutput::Close | SessionOutput::Abort => member.closed = true,
                        SessionOutput::RefreshToken(_) => {}
                    }
                }
            }
        }
    }

    /// Takes what the rooms say.
    fn drain_rooms(&mut self) {
        for index in 0..self.nodes.len() {
            while let Some(output) = self.nodes[index].room.poll_output() {
                self.take_output(index, output);
            }
        }
    }

    fn take_output(&mut self, index: usize, output: RoomOutput) {
        let last = index + 1 == self.nodes.len();
        let node = &mut self.nodes[index];
        match output {
            RoomOutput::Session(session, output) => {
                let delay = self.delay_of(session);
                self.enqueue(delay, Signal::ToClient(session, output));
            }
            RoomOutput::TransportOpened { transport, ufrag } => {
                node.open_transports.insert(transport);
                node.ufrags.insert(ufrag, transport);
            }
            RoomOutput::PathValidated { transport, path } => {
                node.paths.insert(path, transport);
            }
            RoomOutput::TransportClosed { transport } => {
                if !node.open_transports.remove(&transport) {
                    self.violations.push("a transport was closed twice".into());
                }
                node.ufrags.retain(|_, owner| *owner != transport);
                node.paths.retain(|_, owner| *owner != transport);
            }
            RoomOutput::Event(RoomEvent::Tail(tail)) => {
                let now = self.now;
                if let Some(next) = self.nodes.get_mut(index + 1) {
                    next.room.tail(now, tail);
                }
            }
            RoomOutput::Event(RoomEvent::Mirrored(_)) if self.mirror_is_last => {}
            RoomOutput::Event(RoomEvent::Mirrored(mirror)) => self.mirror = Some(mirror),
            RoomOutput::Event(RoomEvent::Described(_)) => {}
            RoomOutput::Event(event) => self.events.push(event),
            RoomOutput::Finished => {
                node.finished = true;
                self.finished |= last;
            }
        }
    }

    fn delay_of(&self, session: SessionId) -> Duration {
        let member = self.members.iter().find(|member| member.session == session);
        member.map_or(Duration::from_millis(1), |member| member.signal_delay)
    }

    /// Messages of one session keep their order, since their delay is always the same.
    fn enqueue(&mut self, delay: Duration, signal: Signal) {
        let at = self.now + delay;
        let place = self.signals.partition_point(|(other, _)| *other <= at);
        self.signals.insert(place, (at, signal));
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

    fn send_from(&mut self, index: usize, path: Path, bytes: Vec<u8>) {
        if is_bridge(path.remote) {
            let former = index.checked_sub(1).filter(|former| !self.nodes[*former].finished);
            if let Some(former) = former
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

    /// Everything that must never happen, of room and clients.
    pub fn all_violations(&self) -> Vec<String> {
        let of_clients = self.members.iter().flat_map(|member| {
            member
                .client
                .violations
                .iter()
                .map(|violation| format!("{}: {violation}", member.client.identity))
        });
        self.violations.iter().cloned().chain(of_clients).collect()
    }

    /// Pairs of publisher and subscriber between whom media should flow and did not within `time`.
    pub fn silent_pairs(&self, kind: MediaKind, time: Duration) -> Vec<(u32, u32)> {
        let mut silent = Vec::new();
        for publisher in self.present().filter(|member| member.client.publishes(kind)) {
            for subscriber in self.present().filter(|member| member.client.number != publisher.client.number)
            {
                let number = publisher.client.number;
                if subscriber.client.forbidden.contains(&number) {
                    continue;
                }
                let live = subscriber.client.received.values().any(|received| {
                    received.publisher == number && received.kind == kind && received.is_live(self.now, time)
                });
                if !live {
                    silent.push((number, subscriber.client.number));
                }
            }
        }
        silent
    }

    /// Transports that the room has opened and not closed.
    pub fn transports_left(&self) -> usize {
        self.nodes.iter().map(|node| node.open_transports.len()).sum()
    }
}

fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// What every client says when it connects.
fn join_params(session: SessionId, client: &Client) -> JoinParams {
    JoinParams {
        session,
        identity: client.identity.as_str().into(),
        name: String::new(),
        metadata: String::new(),
        attributes: HashMap::new(),
        kind: proto::participant_info::Kind::Standard,
        kind_details: Vec::new(),
        permission: proto::ParticipantPermission {
            can_subscribe: true,
            can_publish: true,
            can_publish_data: true,
            ..Default::default()
        },
        client: proto::ClientInfo { protocol: 17, ..Default::default() },
        single_peer_connection: client.single,
        auto_subscribe: true,
        auto_subscribe_data_track: false,
        adaptive_stream: false,
        subscriber_allow_pause: None,
        add_tracks: Vec::new(),
        publisher_offer: None,
        resume: None,
        ice_servers: Vec::new(),
    }
}
