//! What other threads ask of a shard.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use is::stun::StunMessage;
use mio::net::TcpStream;
use rtc::{Path, Proto};
use sfu::{Room, RoomName, RoomOptions};
use tokio::sync::oneshot;

use super::core::{Core, SessionEntry};
use super::relay::RelayEnd;
use super::rooms::RoomKey;
use crate::front::{InstallError, JoinFailure};
use crate::mailbox::{Birth, Command, JoinCommand, JoinReply, RoomMaker, TcpHandover};
use crate::tcp::framing;

/// What the loop has to do after a command.
pub(super) enum Then {
    Continue,
    /// A new connection may have something to read.
    ReadConnection(usize),
    End(oneshot::Sender<()>),
}

impl Core {
    pub(super) fn carry_out(&mut self, now: Instant, command: Command) -> Then {
        // Wherever an answer cannot be delivered, whoever asked has given up.
        match command {
            Command::Join(join, reply) => {
                let answer = self.join(now, join);
                let _ = reply.send(answer);
            }
            Command::Signal { session, request, in_flight } => {
                in_flight.fetch_sub(1, Ordering::AcqRel);
                let Some(key) = self.sessions.get(&session).map(|entry| entry.room) else {
                    return Then::Continue;
                };
                self.with_room(now, key, |room| room.handle_signal(now, session, *request));
            }
            Command::SessionClosed(session) => self.session_closed(now, session),
            Command::Create { room, options, reply } => {
                let created = self.find_or_create(now, &room, *options);
                let info =
                    created.map(|key| self.with_room(now, key, |room| room.info()).unwrap_or_default());
                let _ = reply.send(info);
            }
            Command::With { room, run } => {
                if let Some(key) = self.rooms.find(&room) {
                    self.with_room(now, key, |room| run(room, now));
                }
            }
            Command::Install { room, anew, make, reply } => {
                let installed = self.install(now, &room, anew, make);
                let _ = reply.send(installed);
            }
            Command::OpenRelays { room, target, reply } => {
                let key = self.rooms.find(&room);
                let ends = key.map(|key| self.open_relays(now, key, target)).unwrap_or_default();
                let _ = reply.send(ends);
            }
            Command::AdmitRelays { room, ends } => self.admit_relays(now, &room, &ends),
            Command::Abandon(done) => {
                self.abandon_all(now);
                let _ = done.send(());
            }
            Command::Rooms(reply) => {
                let _ = reply.send(self.rooms.iter_mut().map(|slot| slot.room.info()).collect());
            }
            Command::Stats(reply) => {
                let _ = reply.send(self.snapshot());
            }
            Command::Tcp(handover) => {
                return self.take_connection(now, *handover).map_or(Then::Continue, Then::ReadConnection);
            }
            Command::Shutdown(done) => return Then::End(done),
        }
        Then::Continue
    }

    fn with_room<R>(&mut self, now: Instant, key: RoomKey, f: impl FnOnce(&mut Room) -> R) -> Option<R> {
        self.enter(key);
        let result = f(&mut self.rooms.get_mut(key)?.room);
        self.after_input(now, key);
        Some(result)
    }

    fn join(&mut self, now: Instant, join: Box<JoinCommand>) -> JoinReply {
        let key = match self.rooms.find(&join.room) {
            Some(key) => key,
            None if join.create => match self.find_or_create(now, &join.room, join.options.clone()) {
                Ok(key) => key,
                Err(home) => return JoinReply::Moved(home, join),
            },
            None => match self.directory.find(&join.room) {
                Some(home) if home != self.index => return JoinReply::Moved(home, join),
                _ => return JoinReply::Failed(JoinFailure::RoomDoesNotExist),
            },
        };
        let JoinCommand { params, outputs, .. } = *join;
        let session = params.session;
        self.sessions.insert(session, SessionEntry { room: key, outputs });
        match self.with_room(now, key, |room| room.join(now, params)) {
            Some(Ok(())) => JoinReply::Joined,
            Some(Err(error)) => {
                self.sessions.remove(&session);
                JoinReply::Failed(error.into())
            }
            None => JoinReply::Failed(JoinFailure::RoomDoesNotExist),
        }
    }

    /// `Err` names the shard that has the room.
    fn find_or_create(
        &mut self,
        now: Instant,
        name: &RoomName,
        options: RoomOptions,
    ) -> Result<RoomKey, usize> {
        self.drop_departed(now, name);
        if let Some(key) = self.rooms.find(name) {
            return Ok(key);
        }
        self.directory.claim(name, self.index)?;
        let (config, identity) = (self.config.clone(), self.identity.clone());
        let room =
            Room::new(config, identity, name.clone(), options, now, SystemTime::now(), fastrand::u64(..));
        let key = self.rooms.insert(room);
        self.after_input(now, key);
        Ok(key)
    }

    /// A room that has left this node, and that is to begin here again, because its new node has died: nobody can
    /// be bridged there any more.
    fn drop_departed(&mut self, now: Instant, name: &RoomName) {
        if let Some(key) = self.rooms.find(name)
            && self.rooms.get_mut(key).is_some_and(|slot| slot.room.has_left())
        {
            self.with_room(now, key, Room::abandon);
        }
    }

    /// Takes in a room that another node served, `anew` from its description or as it was.
    fn install(
        &mut self,
        now: Instant,
        name: &RoomName,
        anew: bool,
        make: RoomMaker,
    ) -> Result<SocketAddr, InstallError> {
        if anew {
            self.drop_departed(now, name);
        }
        if let Some(old) = self.rooms.find(name) {
            let lingers = self.rooms.get_mut(old).is_some_and(|slot| slot.room.is_moving());
            return Err(if lingers { InstallError::Lingers } else { InstallError::Exists });
        }
        self.directory.claim(name, self.index).map_err(|_| InstallError::Exists)?;
        let (config, identity) = (self.config.clone(), self.identity.clone());
        let birth = Birth { config, identity, now, wall: SystemTime::now(), seed: fastrand::u64(..) };
        match make(birth) {
            Ok(room) => {
                let key = self.rooms.insert(room);
                self.after_input(now, key);
                Ok(self.relay_address())
            }
            Err(error) => {
                self.directory.release(name, self.index);
                Err(InstallError::Snapshot(error.to_string()))
            }
        }
    }

    /// Where bridges from other nodes are to lead.
    fn relay_address(&self) -> SocketAddr {
        let nowhere = SocketAddr::from(([0; 4], 0));
        let advertised = self.egress.udp.ports().first().and_then(|port| port.advertised().first());
        advertised.copied().unwrap_or(nowhere)
    }

    fn admit_relays(&mut self, now: Instant, name: &RoomName, ends: &[RelayEnd]) {
        let Some(key) = self.rooms.find(name) else { return };
        let local = self.relay_address();
        self.with_room(now, key, |room| {
            for end in ends {
                let path = Path { proto: Proto::Udp, local, remote: end.from };
                room.admit_path(now, end.participant, end.subscriber, path);
            }
        });
    }

    /// Ends all rooms without a word.
    pub(super) fn abandon_all(&mut self, now: Instant) {
        for key in self.rooms.keys() {
            self.with_room(now, key, Room::abandon);
        }
    }

    /// Takes over an ICE-TCP connection, if its first frame is for one of our transports.
    fn take_connection(&mut self, now: Instant, handover: TcpHandover) -> Option<usize> {
        let TcpHandover { stream, local, remote, received } = handover;
        let frame = framing::first(&received).ok().flatten()?;
        let message = StunMessage::parse(&received[frame]).ok()?;
        let owner = message.split_username().and_then(|(ufrag, _)| self.routes.by_ufrag(ufrag));
        if owner.is_none() {
            self.stats.dropped.unknown_ufrag += 1;
            return None;
        }
        // Datagrams of media wait for nobody's acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "ICE-TCP connection without TCP_NODELAY");
        }
        let path = Path { proto: Proto::Tcp, local, remote };
        let opened = self.egress.tcp.open(now, TcpStream::from_std(stream), path, received);
        opened.inspect_err(|error| tracing::warn!(%error, "ICE-TCP connection not taken")).ok()
    }
}
