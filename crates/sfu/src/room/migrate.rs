//! Moving to another node while the meeting goes on.
//!
//! The order of things: [`Room::export`] here; [`Room::import`] there; when the cluster has agreed, [`Room::activate`]
//! there and [`Room::release`] here, which cuts every client's signalling, so that it resumes, which leads it there.
//! Until a client has gone its media flows on here. What clients and the server API say meanwhile comes out as
//! [`RoomEvent::Tail`] and is told to the successor with [`Room::tail`]. If nothing comes of it, [`Room::stay`] takes
//! the export back, and whatever was said is carried out here.

mod arrival;
mod export;
mod import;
mod recent;
mod tail;

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::DisconnectReason;
use rtc::Path;

use super::{Life, Room};
use crate::api::*;
use crate::participant::*;
use crate::snapshot::*;

pub(super) use arrival::Dormant;
pub(super) use import::before;
pub(super) use recent::{MAX_BYTES as MAX_RECENT_BYTES, Recent};

/// Clients that have not moved by then have lost their network. Usually the bridges to the new node are silent
/// long before, and the room ends with them.
const LINGER: Duration = Duration::from_secs(20);

/// What clients say during the milliseconds that an export can still be taken back. Beyond that it is lost if it
/// comes to that.
const MAX_SAID: usize = 4_096;

/// A room that another node takes over.
pub(super) enum Moving {
    /// It is exported, and may still stay.
    Exported {
        /// What was said since, to be carried out here if the room stays.
        said: Vec<Tail>,
        /// Connections whose handshake came to its end meanwhile, well or not.
        settled: Vec<(ParticipantKey, Target, Handshake)>,
    },
    /// Everybody was told to go; what is left ends at this time.
    Left { until: Instant },
}

/// How a handshake ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Handshake {
    Done,
    Failed,
}

impl Room {
    /// Everything that another node needs to go on. From now on the room here only forwards media: it admits
    /// nobody and changes nothing.
    pub fn export(&mut self, now: Instant) -> RoomSnapshot {
        self.activate(now);
        self.moving = Some(Moving::Exported { said: Vec::new(), settled: Vec::new() });
        for participant in self.participants.values_mut() {
            participant.transports().for_each(|(_, transport)| transport.peer.hand_over());
        }
        for track in self.tracks.values_mut() {
            track.subscriptions.iter_mut().for_each(|subscription| subscription.forwarder.hold(true));
        }
        self.snapshot(now)
    }

    /// Another node has the room now: every client loses its socket and resumes, which leads it there. A Leave would
    /// ask for the same, but the Rust SDK takes the two for two faults and connects anew.
    pub fn release(&mut self, now: Instant) {
        let until = now + LINGER;
        self.moving = Some(Moving::Left { until });
        self.timers.schedule(until);
        let mut sessions: Vec<_> = std::mem::take(&mut self.sessions).into_keys().collect();
        sessions.sort_unstable();
        for session in sessions {
            self.output(RoomOutput::Session(session, SessionOutput::Abort));
        }
    }

    /// The move did not come about: the room goes on here, and makes up for what it has missed.
    pub fn stay(&mut self, now: Instant) {
        if self.has_left() {
            return;
        }
        let Some(Moving::Exported { said, settled }) = self.moving.take() else { return };
        for participant in self.participants.values_mut() {
            participant.transports().for_each(|(_, transport)| transport.peer.keep(now));
        }
        for track in self.tracks.values_mut() {
            track.subscriptions.iter_mut().for_each(|subscription| subscription.forwarder.hold(false));
        }
        for (key, target, handshake) in settled {
            match handshake {
                Handshake::Done => self.transport_connected(now, key, target),
                Handshake::Failed => self.full_reconnect(now, key, DisconnectReason::MediaFailure),
            }
        }
        for tail in said {
            self.carry_out(now, tail);
        }
        let keys: Vec<_> = self.participants.keys().copied().collect();
        for key in keys {
            let gone =
                self.participants.get(&key).is_some_and(|p| p.session().is_none() && !p.may_come_back());
            if gone {
                self.remove(now, key, DisconnectReason::SignalClose, None, true);
                continue;
            }
            self.start_bound(now, key);
            self.deliver_waiting(now, key);
            self.wake_transport(now, key, Target::Publisher);
            self.wake_transport(now, key, Target::Subscriber);
        }
        self.timers.schedule(now);
    }

    /// All transports, each with the number of its participant and whether it is the second one, on which the
    /// participant receives.
    pub fn moving_transports(&self) -> Vec<(u32, bool, TransportId)> {
        let all = self.transports.iter();
        let mut all: Vec<_> =
            all.map(|(id, (key, target))| (key.0, *target == Target::Subscriber, *id)).collect();
        all.sort_unstable();
        all
    }

    /// How a transport's client is reached.
    pub fn transport_path(&self, transport: TransportId) -> Option<Path> {
        let (key, target) = self.transports.get(&transport)?;
        let participant = self.participants.get(key)?;
        let peer = match (target, &participant.topology) {
            (Target::Subscriber, Topology::Dual { transport, .. }) => &transport.peer,
            _ => &participant.publisher.peer,
        };
        peer.path().copied()
    }

    /// The client of a transport speaks with the room's new node: nothing more is sent to it from here. That node is
    /// told where its streams have stopped.
    pub fn let_go(&mut self, now: Instant, transport: TransportId) {
        let Some(&(key, target)) = self.transports.get(&transport) else { return };
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let receives = match participant.topology {
            Topology::Single { .. } => Target::Publisher,
            Topology::Dual { .. } => Target::Subscriber,
        };
        if let Some(transport) = participant.transport(target) {
            transport.peer.let_go();
        }
        if target != receives {
            return;
        }
        let streams = participant.bound.iter().filter_map(|track| {
            let track = self.tracks.get(track)?;
            let subscription = track.subscriptions.iter().find(|sub| sub.subscriber == key)?;
            Some((track.key.0, subscription.forwarder.export(now)))
        });
        let streams: Vec<_> = streams.collect();
        if !streams.is_empty() {
            self.event(RoomEvent::Tail(Tail::Stopped { receiver: key.0, streams }));
        }
    }

    /// Whether another node has taken the room over, or is about to.
    pub fn is_moving(&self) -> bool {
        self.moving.is_some()
    }

    /// Whether another node has taken the room over, and what is here only waits for the last clients to go.
    pub fn has_left(&self) -> bool {
        matches!(self.moving, Some(Moving::Left { .. }))
    }

    /// Ends what is left of a room that has moved, without a word: nobody has left it.
    pub(super) fn check_moving(&mut self, now: Instant) {
        if let Some(Moving::Left { until }) = self.moving
            && now >= until
        {
            self.vanish();
        }
    }

    /// A handshake that ends while the room moves: the client will begin another with the successor. Returns false
    /// when the room does not move.
    pub(super) fn handshake_ended(
        &mut self,
        key: ParticipantKey,
        target: Target,
        handshake: Handshake,
    ) -> bool {
        if let Some(Moving::Exported { settled, .. }) = &mut self.moving {
            settled.push((key, target, handshake));
        }
        self.moving.is_some()
    }

    /// The room ends here and nowhere else: no event, no farewell.
    pub(super) fn vanish(&mut self) {
        let mut transports: Vec<_> = self.transports.keys().copied().collect();
        transports.sort_unstable();
        for transport in transports {
            self.output(RoomOutput::TransportClosed { transport });
        }
        self.life = Life::Finished;
        self.output(RoomOutput::Finished);
    }
}

impl Participant {
    /// Whether it was connected once, or is on its way from another node, so that it may resume.
    pub(super) fn may_come_back(&self) -> bool {
        let connected = |transport: &Transport| transport.connected;
        let subscriber = match &self.topology {
            Topology::Dual { transport, .. } => connected(transport),
            Topology::Single { .. } => false,
        };
        self.arrival.is_some() || subscriber || connected(&self.publisher)
    }
}
