//! The signalling of a world: messages on their way, what rooms say, and clients that connect again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use sfu::{JoinParams, Resume, RoomEvent, RoomOutput, SessionId, SessionOutput, Tail};

use super::World;
use crate::client::Client;

/// When SDKs try to connect again, after each failure (livekit.md §2.12).
const RETRIES_MS: [u64; 6] = [0, 300, 1_200, 2_700, 4_800, 7_000];

/// What clients say to a server that the room has left reaches the room's new server after this long.
pub(super) const BETWEEN_SERVERS: Duration = Duration::from_micros(500);

/// A signal message under way.
#[derive(Debug)]
pub(super) enum Signal {
    ToServer(SessionId, Box<proto::SignalRequest>),
    ToClient(SessionId, SessionOutput),
    /// The server notices that a socket is gone.
    Closed(SessionId),
    /// A client's attempt to connect again reaches the cluster: its place among the members, and which of its losses
    /// it is about.
    Connect(usize, usize),
    /// What a client said to a server that the room is leaving, for the server at this place.
    Tail(usize, Tail),
}

impl World {
    pub(super) fn new_session(&mut self) -> SessionId {
        self.next_session += 1;
        let session = SessionId(self.next_session);
        self.homes.insert(session, self.current);
        session
    }

    /// A client's signalling connection breaks, and both sides notice. Not before it was connected: that is the end of a
    /// stay (livekit.md §2.4).
    pub fn break_socket(&mut self, index: usize) {
        if !self.members[index].client.connected_once {
            return;
        }
        let session = self.members[index].session;
        self.signals.retain(|(_, signal)| {
            !matches!(signal, Signal::ToServer(of, _) | Signal::ToClient(of, _) if *of == session)
        });
        self.enqueue(Duration::ZERO, Signal::Closed(session));
        self.enqueue(Duration::ZERO, Signal::ToClient(session, SessionOutput::Abort));
    }

    /// The client lost its socket and tries to connect again.
    fn lost_socket(&mut self, index: usize) {
        let member = &mut self.members[index];
        if member.client.left || member.closed {
            return;
        }
        member.client.lost_socket();
        let session = self.new_session();
        self.members[index].session = session;
        self.members[index].attempt = 0;
        self.members[index].losses += 1;
        self.try_again(index);
    }

    fn try_again(&mut self, index: usize) {
        let member = &mut self.members[index];
        let wait = RETRIES_MS[member.attempt.min(RETRIES_MS.len() - 1)];
        member.attempt += 1;
        let (delay, loss) = (member.signal_delay + Duration::from_millis(wait), member.losses);
        self.enqueue(delay, Signal::Connect(index, loss));
    }

    /// A client that was told to resume is here again.
    fn connect(&mut self, index: usize, loss: usize) {
        let member = &mut self.members[index];
        if member.client.left || member.closed || member.losses != loss {
            return;
        }
        let session = self.new_session();
        let member = &mut self.members[index];
        member.session = session;
        let resume = Resume { participant_sid: String::new(), reason: 0 };
        let params = JoinParams { resume: Some(resume), ..join_params(session, &member.client) };
        let now = self.now;
        if self.room().join(now, params).is_err() {
            self.try_again(index);
        }
        self.drain_rooms();
    }

    pub(super) fn deliver_signals(&mut self) {
        while self.signals.front().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, signal)) = self.signals.pop_front() else { return };
            let now = self.now;
            match signal {
                Signal::ToServer(session, request) => {
                    if let Some(node) = self.home(session) {
                        self.nodes[node].room.handle_signal(now, session, *request);
                    }
                }
                Signal::Closed(session) => {
                    if let Some(node) = self.home(session) {
                        self.nodes[node].room.handle_session_closed(now, session);
                    }
                }
                Signal::Tail(node, tail) => {
                    if !self.nodes[node].finished {
                        self.nodes[node].room.tail(now, tail);
                    }
                }
                Signal::Connect(index, loss) => self.connect(index, loss),
                Signal::ToClient(session, output) => self.tell_client(session, output),
            }
            self.drain_rooms();
        }
    }

    /// The running server that a session leads to.
    fn home(&self, session: SessionId) -> Option<usize> {
        self.homes.get(&session).copied().filter(|node| !self.nodes[*node].finished)
    }

    fn tell_client(&mut self, session: SessionId, output: SessionOutput) {
        let Some(index) = self.members.iter().position(|member| member.session == session) else { return };
        let member = &mut self.members[index];
        if member.client.left {
            return;
        }
        match output {
            SessionOutput::Response(response) => {
                if let Some(message) = response.message {
                    member.client.told(self.now, message);
                }
            }
            SessionOutput::Close if member.client.resumes(false) => self.lost_socket(index),
            SessionOutput::Abort if member.client.resumes(true) => self.lost_socket(index),
            SessionOutput::Close | SessionOutput::Abort => {
                member.closed = true;
                if !self.may_be_given_up(index) {
                    let identity = self.members[index].client.identity.clone();
                    self.violations.push(format!("{identity} was sent away"));
                }
            }
            SessionOutput::RefreshToken(_) => {}
        }
    }

    /// Takes what the rooms say.
    pub(super) fn drain_rooms(&mut self) {
        for index in 0..self.nodes.len() {
            while let Some(output) = self.nodes[index].room.poll_output() {
                self.take_output(index, output);
            }
        }
    }

    fn take_output(&mut self, index: usize, output: RoomOutput) {
        let node = &mut self.nodes[index];
        if node.finished {
            return;
        }
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
            RoomOutput::Event(RoomEvent::Tail(tail)) => self.pass_tail(index, tail),
            RoomOutput::Event(event) => {
                self.check_event(index, &event);
                self.events.push(event);
            }
            RoomOutput::Finished => {
                node.finished = true;
                self.finished |= index == self.current;
            }
        }
    }

    fn delay_of(&self, session: SessionId) -> Duration {
        let member = self.members.iter().find(|member| member.session == session);
        member.map_or(Duration::from_millis(1), |member| member.signal_delay)
    }

    /// Messages of one session keep their order, since their delay is always the same; those of a client without
    /// network wait.
    pub(super) fn enqueue(&mut self, delay: Duration, signal: Signal) {
        let member = match &signal {
            Signal::ToServer(session, _) | Signal::ToClient(session, _) => {
                self.members.iter_mut().find(|member| member.session == *session)
            }
            Signal::Connect(index, _) => self.members.get_mut(*index),
            Signal::Closed(_) | Signal::Tail(..) => None,
        };
        if let Some(member) = member.filter(|member| member.cut_since.is_some()) {
            return member.stalled.push(signal);
        }
        self.put(self.now + delay, signal);
    }

    fn put(&mut self, at: Instant, signal: Signal) {
        let place = self.signals.partition_point(|(other, _)| *other <= at);
        self.signals.insert(place, (at, signal));
    }
}

/// What every client says when it connects.
pub(super) fn join_params(session: SessionId, client: &Client) -> JoinParams {
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
