//! A room, its clients and the network between them on a virtual clock. A seed decides everything, so that a
//! run that fails fails again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use livekit_protocol as proto;
use rtc::transport::DtlsIdentity;
use rtc::{Codec, DatagramQueue, MediaKind, Path, Proto};
use sfu::{
    EngineConfig, JoinParams, Limits, Room, RoomEvent, RoomOptions, RoomOutput, SessionId, SessionOutput,
    TransportId,
};

use crate::client::Client;
use crate::network::{Conditions, Link, Network};

/// The server's one address.
fn server_address() -> SocketAddr {
    SocketAddr::from(([10, 255, 0, 1], 7882))
}

/// Certificates cost milliseconds and identity does not matter here: all worlds share two.
fn identities() -> &'static (Arc<DtlsIdentity>, Arc<DtlsIdentity>) {
    static IDENTITIES: OnceLock<(Arc<DtlsIdentity>, Arc<DtlsIdentity>)> = OnceLock::new();
    IDENTITIES.get_or_init(|| {
        let make = || DtlsIdentity::generate().expect("the system has a random source");
        (make(), make())
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
    pub room: Room,
    pub members: Vec<Member>,
    pub events: Vec<RoomEvent>,
    pub violations: Vec<String>,
    pub finished: bool,
    pub rng: Rng,
    network: Network,
    signals: VecDeque<(Instant, Signal)>,
    room_out: DatagramQueue,
    open_transports: HashSet<TransportId>,
    ufrags: HashMap<String, TransportId>,
    paths: HashMap<Path, TransportId>,
    next_number: u32,
}

/// An engine configuration for tests: everything on, one UDP address.
pub fn engine_config() -> EngineConfig {
    let local = server_address();
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
        let now = Instant::now();
        let mut rng = Rng::with_seed(seed);
        let (server, _) = identities();
        let room = Room::new(
            Arc::new(engine_config()),
            server.clone(),
            "world".into(),
            RoomOptions::default(),
            now,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            rng.u64(..),
        );
        World {
            now,
            start: now,
            room,
            members: Vec::new(),
            events: Vec::new(),
            violations: Vec::new(),
            finished: false,
            network: Network::new(rng.u64(..)),
            rng,
            signals: VecDeque::new(),
            room_out: DatagramQueue::default(),
            open_transports: HashSet::new(),
            ufrags: HashMap::new(),
            paths: HashMap::new(),
            next_number: 0,
        }
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
        let session = SessionId(u64::from(number));
        let publisher_offer = client.first_offer(self.now);
        let params = JoinParams {
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
            single_peer_connection: single,
            auto_subscribe: true,
            auto_subscribe_data_track: false,
            adaptive_stream: false,
            subscriber_allow_pause: None,
            add_tracks: Vec::new(),
            publisher_offer,
            resume: None,
            ice_servers: Vec::new(),
        };
        let signal_delay = conditions.delay.max(Duration::from_millis(1)) * 2;
        self.members.push(Member {
            client,
            session,
            up: Link::new(conditions),
            down: Link::new(conditions),
            signal_delay,
            closed: false,
        });
        if let Err(error) = self.room.join(self.now, params) {
            self.violations.push(format!("join refused: {error}"));
        }
        self.drain_room();
        self.members.len() - 1
    }

    /// Members that are in the room and mean to stay.
    pub fn present(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.client.left && !member.closed)
    }

    /// Lets virtual time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end && !self.finished {
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
        [clients, signal, self.network.next_arrival(), self.room.poll_timeout()].into_iter().flatten().min()
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
        if self.room.poll_timeout().is_some_and(|due| due <= self.now) {
            self.room.handle_timeout(self.now, &mut self.room_out);
        }
        self.drain_room();
        self.send_all();
    }

    fn deliver_datagrams(&mut self) {
        let mut touched = false;
        while let Some(delivery) = self.network.poll(self.now) {
            if delivery.path.local == server_address() {
                touched |= self.datagram_to_server(delivery.path, delivery.bytes);
            } else {
                let number = u32::from_be_bytes(match delivery.path.local.ip() {
                    std::net::IpAddr::V4(ip) => ip.octets(),
                    std::net::IpAddr::V6(_) => continue,
                }) & 0xFFFF;
                let member = self.members.iter_mut().find(|member| member.client.number == number);
                if let Some(member) = member.filter(|member| !member.client.left && !member.closed) {
                    member.client.datagram(self.now, &delivery.path, delivery.bytes);
                }
            }
        }
        if touched {
            self.room.flush(self.now, &mut self.room_out);
        }
    }

    fn datagram_to_server(&mut self, path: Path, mut bytes: Vec<u8>) -> bool {
        let by_name = || {
            let message = is_stun(&bytes).then(|| is_stun_for(&bytes)).flatten()?;
            self.ufrags.get(&message).copied()
        };
        let Some(transport) = by_name().or_else(|| self.paths.get(&path).copied()) else { return false };
        self.room.handle_datagram(self.now, transport, &path, &mut bytes, &mut self.room_out);
        self.drain_room();
        true
    }

    fn deliver_signals(&mut self) {
        while self.signals.front().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, signal)) = self.signals.pop_front() else { return };
            match signal {
                Signal::ToServer(session, request) => {
                    self.room.handle_signal(self.now, session, *request);
                    self.drain_room();
                }
                Signal::ToClient(session, output) => {
                    let Some(member) = self.members.iter_mut().find(|member| member.session == session)
                    else {
                        continue;
                    };
                    match output {
                        SessionOutput::Response(response) => {
                            if let Some(message) = response.message {
                                member.client.told(self.now, message);
                            }
                        }
                        SessionOutput::Close | SessionOutput::Abort => member.closed = true,
                        SessionOutput::RefreshToken(_) => {}
                    }
                }
            }
        }
    }

    /// Takes what the room says.
    fn drain_room(&mut self) {
        while let Some(output) = self.room.poll_output() {
            match output {
                RoomOutput::Session(session, output) => {
                    let delay = self.delay_of(session);
                    self.enqueue(delay, Signal::ToClient(session, output));
                }
                RoomOutput::TransportOpened { transport, ufrag } => {
                    self.open_transports.insert(transport);
                    self.ufrags.insert(ufrag, transport);
                }
                RoomOutput::PathValidated { transport, path } => {
                    self.paths.insert(path, transport);
                }
                RoomOutput::TransportClosed { transport } => {
                    if !self.open_transports.remove(&transport) {
                        self.violations.push("a transport was closed twice".into());
                    }
                    self.ufrags.retain(|_, owner| *owner != transport);
                    self.paths.retain(|_, owner| *owner != transport);
                }
                RoomOutput::Event(event) => self.events.push(event),
                RoomOutput::Finished => self.finished = true,
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
        while let Some((path, bytes)) = self.room_out.datagrams.pop_front() {
            let number = match path.remote.ip() {
                std::net::IpAddr::V4(ip) => u32::from_be_bytes(ip.octets()) & 0xFFFF,
                std::net::IpAddr::V6(_) => continue,
            };
            if let Some(member) = self.members.iter_mut().find(|member| member.client.number == number) {
                self.network.send(self.now, &mut member.down, &path, bytes);
            }
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
        self.open_transports.len()
    }
}

fn is_stun(bytes: &[u8]) -> bool {
    rtc::rtp::classify(bytes) == rtc::rtp::DatagramKind::Stun
}

/// The ufrag that a STUN request is addressed to.
fn is_stun_for(bytes: &[u8]) -> Option<String> {
    let message = is::stun::StunMessage::parse(bytes).ok()?;
    message.split_username().map(|(local, _)| local.to_owned())
}
