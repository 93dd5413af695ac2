//! Moves of the room from server to server, step by step and each step after some time, as `cluster` carries them
//! out: snapshot, import, bridges, what clients said meanwhile, the cluster's agreement, release.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::{Path, Proto};
use sfu::{Room, RoomSnapshot, SessionOutput, Tail};

use super::signalling::{BETWEEN_SERVERS, Signal};
use super::{SERVERS, World, engine_config_at, identities, server_address, wall};
use crate::node::Node;

/// What becomes of a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The room arrives and the former server lives on.
    Arrives,
    /// The target does not take the room.
    Refused,
    /// The target dies when it has imported the room.
    TargetDies,
    /// The cluster does not agree: everything is taken back.
    Withdrawn,
    /// The former server dies once the cluster has agreed, before it has told anybody.
    SourceDiesUnseen,
    /// The former server dies this many milliseconds after it has told the clients.
    SourceDies(u32),
}

enum Step {
    Import,
    Bridges,
    Agreement,
    Release,
    Death,
}

/// A move under way.
pub(super) struct Journey {
    source: usize,
    target: Option<usize>,
    address: u8,
    seed: u64,
    fate: Fate,
    /// One step takes so long.
    pace: Duration,
    step: Step,
    due: Instant,
    snapshot: Vec<u8>,
    /// What clients said since the export, until the target can be told.
    kept: Option<VecDeque<Tail>>,
}

impl Journey {
    pub(super) fn due(&self) -> Instant {
        self.due
    }
}

impl World {
    /// Moves the room to another server while the call goes on, as a draining node does, all at once.
    pub fn move_room(&mut self, seed: u64) {
        self.begin_move(seed, Duration::ZERO, Fate::Arrives);
        while self.journey.is_some() {
            self.travel();
        }
    }

    /// Begins a move whose steps take `pace` each. False when one is under way already.
    pub fn begin_move(&mut self, seed: u64, pace: Duration, fate: Fate) -> bool {
        if self.journey.is_some() || self.nodes[self.current].finished {
            return false;
        }
        let source = self.current;
        let here = (0..SERVERS).position(|number| server_address(number) == self.nodes[source].address);
        let step = 1 + (seed % u64::from(SERVERS - 1)) as u8;
        let address = (here.unwrap_or(0) as u8 + step) % SERVERS;
        let now = self.now;
        let snapshot = self.nodes[source].room.export(now);
        let snapshot = serde_json::to_vec(&snapshot).expect("a snapshot is plain data");
        self.drain_rooms();
        self.journey = Some(Journey {
            source,
            target: None,
            address,
            seed,
            fate,
            pace,
            step: Step::Import,
            due: now + pace,
            snapshot,
            kept: Some(VecDeque::new()),
        });
        true
    }

    /// Whether a move is under way.
    pub fn is_moving(&self) -> bool {
        self.journey.is_some()
    }

    /// Carries the move on, if it is due.
    pub(super) fn travel(&mut self) {
        let Some(mut journey) = self.journey.take_if(|journey| journey.due <= self.now) else { return };
        if self.nodes[journey.source].finished {
            // It ended by itself meanwhile, with its last client or in death.
            return;
        }
        journey.due = self.now + journey.pace;
        if self.next_step(&mut journey) {
            self.journey = Some(journey);
        }
        self.drain_rooms();
    }

    /// Whether the journey goes on.
    fn next_step(&mut self, journey: &mut Journey) -> bool {
        match journey.step {
            Step::Import => self.import(journey),
            Step::Bridges => self.bridge(journey),
            Step::Agreement => self.agree(journey),
            Step::Release => self.release(journey),
            Step::Death => {
                self.kill(journey.source);
                false
            }
        }
    }

    fn import(&mut self, journey: &mut Journey) -> bool {
        let address = server_address(journey.address);
        // A room that has left lately and still has clients there is in the way.
        let lingers = self.nodes.iter().any(|node| node.address == address && !node.finished);
        if journey.fate == Fate::Refused || lingers {
            self.withdraw(journey);
            return false;
        }
        let (servers, _) = identities();
        let snapshot: RoomSnapshot =
            serde_json::from_slice(&journey.snapshot).expect("what was written can be read");
        let usual = &servers[usize::from(journey.address)];
        let spare = &servers[usize::from(journey.address + SERVERS)];
        let identity = if snapshot.knows(&usual.fingerprint()) { spare } else { usual }.clone();
        let config = Arc::new(engine_config_at(address));
        let room = Room::import(config, identity, "world".into(), snapshot, self.now, wall(), journey.seed);
        let room = room.expect("the descriptions were understood once");
        self.nodes.push(Node::new(address, room));
        journey.target = Some(self.nodes.len() - 1);
        journey.step = Step::Bridges;
        true
    }

    fn bridge(&mut self, journey: &mut Journey) -> bool {
        let (now, source) = (self.now, journey.source);
        let Some(target) = journey.target else { return false };
        if journey.fate == Fate::TargetDies {
            self.kill(target);
            self.withdraw(journey);
            return false;
        }
        let ends = self.nodes[source].open_bridges(now, source, target);
        for (participant, subscriber, from) in ends {
            let path = Path { proto: Proto::Udp, local: self.nodes[target].address, remote: from };
            self.nodes[target].room.admit_path(now, participant, subscriber, path);
        }
        for tail in journey.kept.take().into_iter().flatten() {
            self.nodes[target].room.tail(now, tail);
        }
        journey.step = Step::Agreement;
        true
    }

    fn agree(&mut self, journey: &mut Journey) -> bool {
        let Some(target) = journey.target else { return false };
        if journey.fate == Fate::Withdrawn {
            self.withdraw(journey);
            return false;
        }
        self.current = target;
        self.moves += 1;
        journey.step = Step::Release;
        true
    }

    fn release(&mut self, journey: &mut Journey) -> bool {
        if let Some(target) = journey.target {
            self.nodes[target].room.activate(self.now);
        }
        if journey.fate == Fate::SourceDiesUnseen {
            self.kill(journey.source);
            return false;
        }
        self.nodes[journey.source].room.release(self.now);
        let Fate::SourceDies(after_ms) = journey.fate else { return false };
        journey.step = Step::Death;
        journey.due = self.now + Duration::from_millis(u64::from(after_ms));
        true
    }

    /// The room stays where it was.
    fn withdraw(&mut self, journey: &mut Journey) {
        let now = self.now;
        if let Some(target) = journey.target.filter(|target| !self.nodes[*target].finished) {
            self.nodes[target].room.abandon();
        }
        let source = &mut self.nodes[journey.source];
        source.close_bridges();
        source.room.stay(now);
        self.drain_rooms();
    }

    /// A server dies: nothing comes of it any more, and its clients' sockets break.
    fn kill(&mut self, node: usize) {
        self.nodes[node].die();
        let sessions: Vec<_> =
            self.homes.iter().filter(|(_, home)| **home == node).map(|(session, _)| *session).collect();
        let of_members = self.members.iter().map(|member| member.session);
        let broken: Vec<_> = of_members.filter(|session| sessions.contains(session)).collect();
        for session in broken {
            self.enqueue(Duration::from_millis(5), Signal::ToClient(session, SessionOutput::Abort));
        }
    }

    /// What a client said to a server that the room is leaving.
    pub(super) fn pass_tail(&mut self, from: usize, tail: Tail) {
        if let Some(journey) = self.journey.as_mut().filter(|journey| journey.source == from)
            && let Some(kept) = &mut journey.kept
        {
            return kept.push_back(tail);
        }
        if let Some(onward) = self.nodes[from].onward {
            self.enqueue(BETWEEN_SERVERS, Signal::Tail(onward, tail));
        }
    }
}
