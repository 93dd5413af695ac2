//! A room of the product with real UDP sockets, and clients around it. Connecting happens in memory; media
//! then travels through the sockets, with the server's part of each frame timed step by step.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use livekit_protocol as proto;
use net::{UdpEgress, UdpPort, UdpReceiver};
use rtc::transport::DtlsIdentity;
use rtc::{DatagramQueue, Egress, Path, Proto};
use sfu::{EngineConfig, JoinParams, Room, RoomOptions, RoomOutput, SessionId, SessionOutput, TransportId};

use crate::client::Client;
use crate::measure::Costs;
use crate::receivers::{Receivers, Reception};
use crate::timed::TimedEgress;

/// Time between frames, as at 30 frames per second.
const FRAME: Duration = Duration::from_millis(33);

/// Steps of the virtual clock while clients connect, and how many are enough for everybody.
const STEP: Duration = Duration::from_millis(10);
const MAX_STEPS: usize = 3_000;

/// A room with its clients. Client `i` has the sockets `2 i` (publishing) and `2 i + 1` (subscribing).
pub(crate) struct Conference {
    now: Instant,
    room: Room,
    clients: Vec<Client>,
    publishers: usize,
    sockets: Receivers,
    server: SocketAddr,
    egress: UdpEgress,
    receiver: UdpReceiver,
    by_ufrag: HashMap<String, TransportId>,
    by_path: HashMap<Path, TransportId>,
    /// Place of each client's socket.
    by_address: HashMap<SocketAddr, usize>,
    /// What clients sent to the server besides media, to be handled as feedback.
    feedback: Vec<(Path, Vec<u8>)>,
}

impl Conference {
    /// A room in which the first `publishers` of `clients` publish and everybody receives, connected.
    pub(crate) fn connect(clients: usize, publishers: usize) -> io::Result<Conference> {
        let now = Instant::now();
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        let port = UdpPort::bind((loopback, 0).into(), &[loopback])?;
        let server = port.advertised()[0];
        let config = EngineConfig {
            candidates: vec![Path { proto: Proto::Udp, local: server, remote: server }],
            ..testkit::world::engine_config()
        };
        let identity = || DtlsIdentity::generate().map_err(io::Error::other);
        let (ours, theirs) = (identity()?, identity()?);
        let options = RoomOptions::default();
        let room = Room::new(Arc::new(config), ours, "bench".into(), options, now, SystemTime::now(), 1);
        let sockets = Receivers::new(clients * 2, Reception::Plain)?;
        let addresses = sockets.addresses().to_vec();
        let clients = addresses
            .chunks_exact(2)
            .zip(0..)
            .map(|(pair, number)| Client::new(number, &theirs, [pair[0], pair[1]], now));
        let mut conference = Conference {
            now,
            room,
            clients: clients.collect(),
            publishers,
            sockets,
            server,
            egress: UdpEgress::new(vec![port]),
            receiver: UdpReceiver::default(),
            by_ufrag: HashMap::new(),
            by_path: HashMap::new(),
            by_address: addresses.into_iter().zip(0..).collect(),
            feedback: Vec::new(),
        };
        conference.join_all();
        conference.settle();
        Ok(conference)
    }

    /// Streams that leave the server.
    fn streams(&self) -> usize {
        self.publishers * (self.clients.len() - 1)
    }

    fn join_all(&mut self) {
        for index in 0..self.clients.len() {
            let number = self.clients[index].number;
            let params = JoinParams {
                session: SessionId(number),
                identity: format!("client-{number}").into(),
                name: String::new(),
                metadata: String::new(),
                attributes: HashMap::new(),
                kind: proto::participant_info::Kind::Standard,
                kind_details: Vec::new(),
                permission: proto::ParticipantPermission {
                    can_subscribe: true,
                    can_publish: true,
                    ..Default::default()
                },
                client: proto::ClientInfo { protocol: 16, ..Default::default() },
                single_peer_connection: false,
                auto_subscribe: true,
                auto_subscribe_data_track: false,
                adaptive_stream: false,
                subscriber_allow_pause: None,
                add_tracks: Vec::new(),
                publisher_offer: None,
                resume: None,
                ice_servers: Vec::new(),
            };
            self.room.join(self.now, params).expect("an empty room");
            if index < self.publishers {
                self.clients[index].publish(self.now);
            }
        }
    }

    /// Lets virtual time pass, in memory, until everybody receives what everybody sends.
    fn settle(&mut self) {
        let mut out = DatagramQueue::default();
        for step in 0..MAX_STEPS {
            self.now += STEP;
            self.room.handle_timeout(self.now, &mut out);
            self.drain_room();
            self.exchange(&mut out);
            let before: Vec<_> = self.clients.iter().map(|client| client.received).collect();
            if step % 10 == 0 {
                self.clients[..self.publishers].iter_mut().for_each(|client| client.send_frame(self.now, 2));
                self.exchange(&mut out);
                let all_got = |(client, before): (&Client, u64)| {
                    let publishes = (client.number as usize) < self.publishers;
                    client.received - before >= 2 * (self.publishers - usize::from(publishes)) as u64
                };
                if self.clients.iter().zip(before).all(all_got) {
                    return;
                }
            }
        }
        panic!("the clients did not all connect within {:?} of virtual time", STEP * MAX_STEPS as u32);
    }

    /// Moves datagrams and messages to and fro in memory until nothing is under way.
    fn exchange(&mut self, out: &mut DatagramQueue) {
        loop {
            let mut moved = false;
            for index in 0..self.clients.len() {
                self.clients[index].tick(self.now);
                for ask in std::mem::take(&mut self.clients[index].asks) {
                    let session = SessionId(self.clients[index].number);
                    let request = proto::SignalRequest { message: Some(ask) };
                    self.room.handle_signal(self.now, session, request);
                    self.drain_room();
                    moved = true;
                }
                for publishing in [true, false] {
                    let client = &mut self.clients[index];
                    let side = if publishing { &mut client.publisher } else { &mut client.subscriber };
                    for (path, mut bytes) in std::mem::take(&mut side.out.datagrams) {
                        self.hand_in(&flip(&path), &mut bytes, out);
                        moved = true;
                    }
                }
            }
            self.room.flush(self.now, out);
            self.drain_room();
            while let Some((path, mut bytes)) = out.datagrams.pop_front() {
                self.deliver(&flip(&path), &mut bytes);
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    fn hand_in(&mut self, path: &Path, bytes: &mut [u8], out: &mut dyn Egress) {
        let ufrag = is::stun::StunMessage::parse(bytes)
            .ok()
            .and_then(|message| message.split_username().map(|(local, _)| local.to_owned()));
        let named = ufrag.and_then(|ufrag| self.by_ufrag.get(&ufrag));
        if let Some(&transport) = named.or_else(|| self.by_path.get(path)) {
            self.room.handle_datagram(self.now, transport, path, bytes, out);
            self.drain_room();
        }
    }

    fn deliver(&mut self, path: &Path, bytes: &mut [u8]) {
        if let Some(place) = self.by_address.get(&path.local) {
            self.clients[place / 2].datagram(self.now, place % 2 == 0, path, bytes);
        }
    }

    fn drain_room(&mut self) {
        while let Some(output) = self.room.poll_output() {
            match output {
                RoomOutput::TransportOpened { transport, ufrag } => {
                    self.by_ufrag.insert(ufrag, transport);
                }
                RoomOutput::PathValidated { transport, path } => {
                    self.by_path.insert(path, transport);
                }
                RoomOutput::Session(session, SessionOutput::Response(response)) => {
                    if let Some(message) = response.message {
                        self.clients[session.0 as usize].told(self.now, message);
                    }
                }
                _ => {}
            }
        }
    }

    /// Forwards frames of `packets` packets of each publisher through the sockets. `split` also times each
    /// packet's sealing, which makes the rest a little slower.
    pub(crate) fn run(&mut self, frames: usize, packets: usize, split: bool) -> io::Result<Costs> {
        let mut costs = Costs::default();
        for _ in 0..frames {
            self.now += FRAME;
            self.publish_frame(packets)?;
            let sent_before = self.egress.stats();
            let mut out = TimedEgress::new(&mut self.egress, split);

            let begin = Instant::now();
            for (path, bytes) in &mut self.feedback {
                if let Some(&transport) = self.by_path.get(path) {
                    self.room.handle_datagram(self.now, transport, path, bytes, &mut out);
                }
            }
            self.room.flush(self.now, &mut out);
            self.room.handle_timeout(self.now, &mut out);
            costs.feedback += begin.elapsed().saturating_sub(out.sending());
            self.feedback.clear();

            loop {
                let begin = Instant::now();
                let count = self.receiver.receive(&out.inner().ports()[0])?;
                let received = Instant::now();
                costs.receive += received - begin;
                let sending_before = out.sending();
                for run in self.receiver.messages(count) {
                    let path = Path { proto: Proto::Udp, local: self.server, remote: run.remote };
                    let Some(&transport) = self.by_path.get(&path) else { continue };
                    for datagram in run.bytes.chunks_mut(run.stride) {
                        self.room.handle_datagram(self.now, transport, &path, datagram, &mut out);
                    }
                }
                self.room.flush(self.now, &mut out);
                costs.engine += received.elapsed().saturating_sub(out.sending() - sending_before);
                out.flush();
                if count < UdpReceiver::BATCH {
                    break;
                }
            }
            costs.send += out.sending();
            costs.seal += out.sealing();
            costs.slots += out.slots();
            let sent = self.egress.stats();
            costs.calls += sent.calls - sent_before.calls;
            costs.packets += (self.streams() * packets) as u64;
            assert_eq!(
                sent.dropped_full + sent.dropped_error,
                0,
                "the send buffer is too small for this measurement"
            );
            self.drain_room();
            self.take_in()?;
        }
        Ok(costs)
    }

    /// The publishers' packets go to the server's socket, one system call each, as browsers do.
    fn publish_frame(&mut self, packets: usize) -> io::Result<()> {
        for index in 0..self.publishers {
            let client = &mut self.clients[index];
            client.send_frame(self.now, packets);
            for (_, bytes) in std::mem::take(&mut client.publisher.out.datagrams) {
                self.sockets.send(index * 2, &bytes, self.server)?;
            }
        }
        Ok(())
    }

    /// The clients take what arrived; what they say to it is kept as feedback for the next frame.
    fn take_in(&mut self) -> io::Result<()> {
        let (clients, now, server) = (&mut self.clients, self.now, self.server);
        let addresses = self.sockets.addresses().to_vec();
        self.sockets.drain_each(|place, datagram| {
            let path = Path { proto: Proto::Udp, local: addresses[place], remote: server };
            clients[place / 2].datagram(now, place % 2 == 0, &path, datagram);
        })?;
        for client in clients {
            client.tick(now);
            for side in [&mut client.publisher, &mut client.subscriber] {
                let datagrams = std::mem::take(&mut side.out.datagrams);
                self.feedback.extend(datagrams.into_iter().map(|(path, bytes)| (flip(&path), bytes)));
            }
        }
        Ok(())
    }

    /// Media packets that the clients could decrypt, all together.
    pub(crate) fn received(&self) -> u64 {
        self.clients.iter().map(|client| client.received).sum()
    }
}

/// The same way as seen from the other end.
fn flip(path: &Path) -> Path {
    Path { proto: path.proto, local: path.remote, remote: path.local }
}
