//! What a shard does with datagrams, timers and the outputs of its rooms, free of any waiting.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use is::stun::StunMessage;
use livekit_protocol::DisconnectReason;
use mio::Token;
use rtc::rtp::{DatagramKind, classify};
use rtc::transport::DtlsIdentity;
use rtc::{Egress as _, MAX_DATAGRAM, Path, Proto};
use sfu::{EngineConfig, RoomEvent, RoomName, RoomOutput, SessionId, SessionOutput};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc};

use super::egress::ShardEgress;
use super::relay::{RelayEnd, Relayed, Relays};
use super::rooms::{RoomKey, Rooms};
use super::routes::{Owner, Routes};
use crate::directory::Directory;
use crate::fence::Fence;
use crate::stats::{Dropped, ShardStats};

/// A room that says after its timeout that the timeout is still due gets this much later another turn, so
/// that no room can spin the shard.
const MIN_SLEEP: Duration = Duration::from_millis(1);

/// How often bridges are looked at.
const RELAY_CHECK: Duration = Duration::from_millis(500);

/// A signalling connection of a room.
pub(super) struct SessionEntry {
    pub(super) room: RoomKey,
    pub(super) outputs: mpsc::Sender<SessionOutput>,
}

pub(super) struct Core {
    pub(super) index: usize,
    pub(super) config: Arc<EngineConfig>,
    pub(super) identity: Arc<DtlsIdentity>,
    pub(super) directory: Arc<Directory>,
    pub(super) fence: Arc<Fence>,
    events: broadcast::Sender<(RoomName, RoomEvent)>,
    pub(super) rooms: Rooms,
    pub(super) routes: Routes,
    pub(super) sessions: HashMap<SessionId, SessionEntry>,
    pub(super) egress: ShardEgress,
    /// Bridges for clients whose room has moved.
    pub(super) relays: Relays,
    next_relay_check: Option<Instant>,
    /// When rooms want their timers; entries that a room has overtaken are skipped.
    timers: BinaryHeap<Reverse<(Instant, RoomKey)>>,
    touched: Vec<RoomKey>,
    /// The room that was entered last: the one to blame for a panic.
    current: Option<RoomKey>,
    load: usize,
    pub(super) stats: ShardStats,
}

impl Core {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        index: usize,
        config: Arc<EngineConfig>,
        identity: Arc<DtlsIdentity>,
        directory: Arc<Directory>,
        fence: Arc<Fence>,
        events: broadcast::Sender<(RoomName, RoomEvent)>,
        egress: ShardEgress,
        relays: Relays,
    ) -> Core {
        Core {
            index,
            config,
            identity,
            directory,
            fence,
            events,
            rooms: Rooms::default(),
            routes: Routes::default(),
            sessions: HashMap::new(),
            egress,
            relays,
            next_relay_check: None,
            timers: BinaryHeap::new(),
            touched: Vec::new(),
            current: None,
            load: 0,
            stats: ShardStats::default(),
        }
    }

    /// Takes datagrams that came the same way, all `stride` bytes long but the last.
    pub(super) fn on_run(&mut self, now: Instant, path: &Path, bytes: &mut [u8], stride: usize) {
        self.stats.bytes_in += bytes.len() as u64;
        let mut owner = self.routes.by_path(path);
        for datagram in bytes.chunks_mut(stride.max(1)) {
            self.stats.packets_in += 1;
            match classify(datagram) {
                _ if datagram.len() > MAX_DATAGRAM => self.stats.dropped.malformed += 1,
                DatagramKind::Unknown => self.stats.dropped.malformed += 1,
                DatagramKind::Stun => {
                    self.on_stun(now, path, datagram, owner);
                    owner = self.routes.by_path(path);
                }
                DatagramKind::Dtls | DatagramKind::Rtp | DatagramKind::Rtcp => match owner {
                    Some(owner) if !self.relays.is_empty() && self.relay(now, owner, path, datagram) => {}
                    Some(owner) => self.deliver(now, owner, path, datagram),
                    None => self.stats.dropped.unvalidated += 1,
                },
            }
        }
    }

    /// A request goes by its ufrag: that is how new ways begin. Everything else goes by its way.
    fn on_stun(&mut self, now: Instant, path: &Path, datagram: &mut [u8], owner: Option<Owner>) {
        let owner = match StunMessage::parse(datagram) {
            Ok(message) if message.is_binding_request() => {
                let owner = message.split_username().and_then(|(local, _)| self.routes.by_ufrag(local));
                if owner.is_none() {
                    self.stats.dropped.unknown_ufrag += 1;
                }
                owner
            }
            Ok(_) => {
                if owner.is_none() {
                    self.stats.dropped.unvalidated += 1;
                }
                owner
            }
            Err(_) => {
                self.stats.dropped.malformed += 1;
                None
            }
        };
        if let Some(owner) = owner {
            if !self.relays.is_empty() {
                self.relays.checked(now, owner);
            }
            self.deliver(now, owner, path, datagram);
            // The way may be valid from now on, for the datagrams right behind.
            self.drain(now, owner.room);
        }
    }

    /// Sends a datagram on to the node that has taken the room over; false when it is for the room here.
    fn relay(&mut self, now: Instant, owner: Owner, path: &Path, datagram: &[u8]) -> bool {
        // A handshake before that is one of a client that is only joining, and for the room here if the room stays.
        let left = self.rooms.get_mut(owner.room).is_some_and(|slot| slot.room.has_left());
        match self.relays.forward(now, owner, path, datagram, left) {
            Relayed::No => return false,
            Relayed::First => {
                if let Some(slot) = self.rooms.get_mut(owner.room) {
                    slot.room.let_go(now, owner.transport);
                    // What it says of that must be there before the client is.
                    self.after_input(now, owner.room);
                }
            }
            Relayed::Yes => {}
        }
        true
    }

    /// Something came from the node that has taken a room over.
    pub(super) fn relay_readable(&mut self, token: Token, buffer: &mut [u8]) {
        let Some(owner) = self.relays.owner_of(token) else { return };
        while let Some((path, len)) = self.relays.receive(owner, buffer) {
            self.egress.slot(&path, len)[..len].copy_from_slice(&buffer[..len]);
            self.egress.commit(len);
        }
        self.egress.flush();
    }

    /// Opens a bridge for each transport of a room that moves.
    pub(super) fn open_relays(&mut self, now: Instant, key: RoomKey, target: SocketAddr) -> Vec<RelayEnd> {
        let Some(slot) = self.rooms.get_mut(key) else { return Vec::new() };
        let mut ends = Vec::new();
        for (participant, subscriber, transport) in slot.room.moving_transports() {
            let client = slot.room.transport_path(transport);
            match self.relays.open(now, Owner { room: key, transport }, client, target) {
                Ok(from) => ends.push(RelayEnd { participant, subscriber, from }),
                Err(error) => tracing::warn!(%error, "a client has no bridge to the room's new node"),
            }
        }
        self.next_relay_check = Some(now + RELAY_CHECK);
        ends
    }

    /// The rooms whose clients have all gone their own way end here.
    fn check_relays(&mut self, now: Instant) {
        if self.next_relay_check.is_none_or(|at| now < at) {
            return;
        }
        for key in self.relays.rooms() {
            let Some(slot) = self.rooms.get_mut(key) else { continue };
            if !slot.room.is_moving() {
                // It stays after all: nobody goes over, and who falls silent here has only fallen silent.
                self.relays.close_room(key);
            } else if slot.room.has_left() && self.relays.is_idle(now, key) {
                slot.room.abandon();
                self.after_input(now, key);
            }
        }
        self.next_relay_check = (!self.relays.is_empty()).then_some(now + RELAY_CHECK);
    }

    #[inline]
    fn deliver(&mut self, now: Instant, owner: Owner, path: &Path, datagram: &mut [u8]) {
        let Some(slot) = self.rooms.get_mut(owner.room) else { return };
        self.current = Some(owner.room);
        slot.room.handle_datagram(now, owner.transport, path, datagram, &mut self.egress);
        if !slot.touched {
            slot.touched = true;
            self.touched.push(owner.room);
        }
    }

    /// Something was told to a room: it is drained at once and its timer looked at.
    pub(super) fn after_input(&mut self, now: Instant, key: RoomKey) {
        self.drain(now, key);
        self.schedule(key, None);
    }

    /// Marks the room as the one to blame for what follows.
    pub(super) fn enter(&mut self, key: RoomKey) {
        self.current = Some(key);
    }

    /// Ends a receive batch: the rooms forward what they collected.
    pub(super) fn settle(&mut self, now: Instant) {
        let mut touched = std::mem::take(&mut self.touched);
        for key in touched.drain(..) {
            let Some(slot) = self.rooms.get_mut(key) else { continue };
            slot.touched = false;
            self.current = Some(key);
            slot.room.flush(now, &mut self.egress);
            self.after_input(now, key);
        }
        self.touched = touched;
    }

    /// Gives their turn to the rooms whose time has come.
    pub(super) fn run_timers(&mut self, now: Instant) {
        self.egress.tcp.expire(now);
        self.check_relays(now);
        while let Some(&Reverse((at, key))) = self.timers.peek() {
            if at > now {
                return;
            }
            self.timers.pop();
            let Some(slot) = self.rooms.get_mut(key) else { continue };
            if slot.scheduled != Some(at) {
                continue;
            }
            slot.scheduled = None;
            self.current = Some(key);
            if slot.room.poll_timeout().is_some_and(|due| due <= now) {
                slot.room.handle_timeout(now, &mut self.egress);
                self.drain(now, key);
            }
            self.schedule(key, Some(now + MIN_SLEEP));
        }
    }

    /// When [`Self::run_timers`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let room = self.timers.peek().map(|Reverse((at, _))| *at);
        [room, self.egress.tcp.poll_timeout(), self.next_relay_check].into_iter().flatten().min()
    }

    fn schedule(&mut self, key: RoomKey, earliest: Option<Instant>) {
        let Some(slot) = self.rooms.get_mut(key) else { return };
        let Some(due) = slot.room.poll_timeout() else { return };
        let due = earliest.map_or(due, |earliest| due.max(earliest));
        if slot.scheduled.is_none_or(|scheduled| due < scheduled) {
            slot.scheduled = Some(due);
            self.timers.push(Reverse((due, key)));
        }
    }

    /// Carries out everything that a room has said; drops the room when it has finished.
    pub(super) fn drain(&mut self, now: Instant, key: RoomKey) {
        self.current = Some(key);
        while let Some(output) = self.rooms.get_mut(key).and_then(|slot| slot.room.poll_output()) {
            match output {
                RoomOutput::Session(session, output) => self.tell(now, key, session, output),
                RoomOutput::TransportOpened { transport, ufrag } => {
                    self.routes.open(Owner { room: key, transport }, ufrag);
                }
                RoomOutput::PathValidated { transport, path } => {
                    self.routes.validated(Owner { room: key, transport }, path);
                    self.egress.tcp.validated(&path);
                }
                RoomOutput::TransportClosed { transport } => {
                    let paths = self.routes.close(Owner { room: key, transport });
                    self.close_paths(&paths);
                }
                RoomOutput::Event(event) => self.publish(key, event),
                RoomOutput::Finished => self.drop_room(key),
            }
        }
        self.publish_load();
    }

    fn tell(&mut self, now: Instant, key: RoomKey, session: SessionId, output: SessionOutput) {
        let Some(entry) = self.sessions.get(&session) else { return };
        let last = matches!(output, SessionOutput::Close | SessionOutput::Abort);
        let sent = entry.outputs.try_send(output);
        if last || sent.is_err() {
            // Dropping the sender is what a receiver that lags behind reads as Abort.
            self.sessions.remove(&session);
        }
        if let Err(TrySendError::Full(_)) = sent {
            self.stats.dropped.slow_sessions += 1;
            tracing::warn!(session = session.0, "client does not read its signal messages; cutting it off");
        }
        if sent.is_err()
            && !last
            && let Some(slot) = self.rooms.get_mut(key)
        {
            slot.room.handle_session_closed(now, session);
        }
    }

    fn publish(&mut self, key: RoomKey, event: RoomEvent) {
        if self.events.receiver_count() == 0 {
            return;
        }
        if let Some(slot) = self.rooms.get_mut(key) {
            // The last subscriber may have gone this moment.
            let _ = self.events.send((slot.room.name().clone(), event));
        }
    }

    fn close_paths(&mut self, paths: &[Path]) {
        for path in paths.iter().filter(|path| path.proto == Proto::Tcp) {
            self.egress.tcp.close_path(path);
        }
    }

    /// Forgets a room and everything that belongs to it. Its sessions read an Abort.
    fn drop_room(&mut self, key: RoomKey) {
        let Some(room) = self.rooms.remove(key) else { return };
        self.directory.release(room.name(), self.index);
        let paths = self.routes.close_room(key);
        self.close_paths(&paths);
        self.relays.close_room(key);
        self.sessions.retain(|_, entry| entry.room != key);
    }

    /// Looks for sessions whose receivers are gone.
    pub(super) fn sweep_sessions(&mut self, now: Instant) {
        let gone = self.sessions.iter().filter(|(_, entry)| entry.outputs.is_closed());
        let gone: Vec<_> = gone.map(|(session, _)| *session).collect();
        for session in gone {
            self.session_closed(now, session);
        }
    }

    pub(super) fn session_closed(&mut self, now: Instant, session: SessionId) {
        let Some(entry) = self.sessions.remove(&session) else { return };
        let Some(slot) = self.rooms.get_mut(entry.room) else { return };
        self.current = Some(entry.room);
        slot.room.handle_session_closed(now, session);
        self.after_input(now, entry.room);
    }

    /// Ends all rooms because the process ends.
    pub(super) fn close_all(&mut self, now: Instant) {
        for key in self.rooms.keys() {
            if let Some(slot) = self.rooms.get_mut(key) {
                self.current = Some(key);
                slot.room.close(now, DisconnectReason::ServerShutdown);
                slot.room.flush(now, &mut self.egress);
                self.drain(now, key);
            }
        }
    }

    /// A room broke an invariant of its own: it ends, its clients come back to a new one, and the shard
    /// goes on.
    pub(super) fn contain_panic(&mut self) {
        self.stats.room_panics += 1;
        let culprit = self.current.take();
        match culprit.and_then(|key| self.rooms.get_mut(key)) {
            Some(slot) => {
                tracing::error!(room = %slot.room.name(), "a fault in the engine ended this room; please report the panic above");
            }
            None => tracing::error!("a fault in a shard; please report the panic above"),
        }
        culprit.into_iter().for_each(|key| self.drop_room(key));
        // The pass was interrupted anywhere, so all others get their due with the next one.
        self.touched = self.rooms.keys();
        self.rooms.iter_mut().for_each(|slot| slot.touched = true);
    }

    /// Tells the directory how much there is to do here.
    fn publish_load(&mut self) {
        let load = self.rooms.len() + self.routes.len();
        if load != self.load {
            self.load = load;
            self.directory.set_load(self.index, load);
        }
    }

    /// The counters, with what is held right now.
    pub(super) fn snapshot(&self) -> ShardStats {
        let udp = self.egress.udp.stats();
        let tracks = self.rooms.iter().map(|slot| slot.room.track_counts());
        let (tracks_in, tracks_out) = tracks
            .fold((0, 0), |sum, (published, received)| (sum.0 + published as u64, sum.1 + received as u64));
        ShardStats {
            rooms: self.rooms.len() as u64,
            sessions: self.sessions.len() as u64,
            transports: self.routes.len() as u64,
            tracks_in,
            tracks_out,
            tcp_connections: self.egress.tcp.len() as u64,
            packets_out: udp.packets,
            bytes_out: udp.bytes,
            send_calls: udp.calls,
            dropped: Dropped {
                send_full: udp.dropped_full,
                send_error: udp.dropped_error,
                tcp_backlog: self.egress.tcp.dropped,
                ..self.stats.dropped
            },
            ..self.stats
        }
    }
}
