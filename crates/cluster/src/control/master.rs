//! A master's work: it answers where rooms are, claims places for new ones, gives the rooms of dead nodes to
//! others, and plans drains. All masters do so at the same time; where two of them meet, the store's
//! compare-and-set decides. Which node is dead is judged by `detector`.

mod drains;
mod replace;
mod routes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use store::{Committed, Txn};

use super::detector::{Detector, Health, Verdict};
use super::drain::{DrainError, Progress};
use super::io::{OpId, Outbox, Output, ProbeOutcome, RequestId, Section, StoreAnswer, StoreOp, Time};
use super::messages::{Ack, Heartbeat, HeldRoom, MasterReport, Message};
use super::placement::{Candidate, PlacementError, Recent, Selector};
use super::route::Route;
use super::view::{Change, View, room_head, room_key};
use crate::record::{Epoch, NodeId, Role, RoomRecord};

/// How long a caller waits for a room to be placed, or to be given to another node.
pub const ROUTE_DEADLINE: Duration = Duration::from_secs(5);

/// Callers that wait at most: a few hundred bytes each, and more could not be served in time anyway.
pub const MAX_WAITING_ROUTES: usize = 10_000;

/// Rooms of dead nodes that are being given away at the same time; the store does thousands a second.
const MAX_REPLACING: usize = 64;

/// Masters begin to give rooms away one after the other, this far apart, so that normally only one does.
const REPLACE_STAGGER: Duration = Duration::from_millis(300);

/// Before a call is repeated that the store did not answer, or that lost against another master's.
const RETRY: Duration = Duration::from_millis(200);

/// How long a place chosen without the store is remembered after the store came back.
const KEEP_PROVISIONAL: Duration = Duration::from_secs(10);

/// The store's state as the process sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contact {
    /// It answered a moment ago.
    pub(super) has_store: bool,
    /// It answered within [`super::detector::STORE_GRACE`].
    pub(super) in_grace: bool,
}

#[derive(Debug)]
struct Waiting {
    room: String,
    create: bool,
    deadline: Instant,
}

#[derive(Debug)]
struct Claim {
    room: String,
    target: NodeId,
    /// Of a dead node, rather than new.
    again: bool,
}

/// A place that this master knows before its view does.
#[derive(Debug)]
struct Fresh {
    node: NodeId,
    epoch: Epoch,
    until: Instant,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    me: NodeId,
    selector: Selector,
    rng: fastrand::Rng,
    pub(super) detector: Detector,
    recent: Recent,
    waiting: BTreeMap<RequestId, Waiting>,
    waiting_on: BTreeMap<String, Vec<RequestId>>,
    claims: BTreeMap<OpId, Claim>,
    /// Rooms that a call is under way for, with the chosen node.
    claiming: BTreeMap<String, NodeId>,
    fresh: BTreeMap<String, Fresh>,
    replace: VecDeque<(String, Instant)>,
    queued: BTreeSet<String>,
    /// What nodes say they serve and the store may not show.
    unsettled: BTreeMap<NodeId, Vec<HeldRoom>>,
    unsettled_rooms: BTreeMap<String, (NodeId, Epoch)>,
    drains: BTreeMap<NodeId, Progress>,
    drain_ops: BTreeMap<OpId, RequestId>,
    not_before: Instant,
    scan: bool,
}

impl Controller {
    pub(super) fn new(now: Instant, me: NodeId, masters: usize, selector: Selector, seed: u64) -> Controller {
        Controller {
            detector: Detector::new(me.clone(), masters),
            me,
            selector,
            rng: fastrand::Rng::with_seed(seed),
            recent: Recent::default(),
            waiting: BTreeMap::new(),
            waiting_on: BTreeMap::new(),
            claims: BTreeMap::new(),
            claiming: BTreeMap::new(),
            fresh: BTreeMap::new(),
            replace: VecDeque::new(),
            queued: BTreeSet::new(),
            unsettled: BTreeMap::new(),
            unsettled_rooms: BTreeMap::new(),
            drains: BTreeMap::new(),
            drain_ops: BTreeMap::new(),
            not_before: now,
            scan: false,
        }
    }

    /// The view changed.
    pub(super) fn changed(
        &mut self,
        t: Time,
        view: &View,
        contact: Contact,
        change: &Change,
        out: &mut Outbox,
    ) {
        match change {
            Change::NodeUp(id) => {
                self.detector.node_up(t.now, id, view);
                self.find_strays(t.now, view, id);
            }
            Change::NodeGone { node, incarnation, revision, replaced_by_itself } => {
                self.detector.node_gone(t.now, node, *incarnation, *revision, *replaced_by_itself);
                self.drop_unsettled(node);
                if self.detector.dead_before(node).is_some() {
                    self.give_away(t.now, view, node);
                }
            }
            Change::Room(room) => {
                if view.room(room).is_some_and(|held| self.is_orphan(view, held.node, held.epoch)) {
                    self.enqueue(t.now, room);
                }
                self.wake(t, view, contact, room, out);
            }
            Change::RoomGone(room) => self.wake(t, view, contact, room, out),
            Change::Drain(node) => {
                if view.drain(node).is_none() {
                    self.drains.remove(node);
                }
            }
        }
    }

    /// A section was read anew: rooms of nodes that nobody has registered may be among it.
    pub(super) fn rescan(&mut self) {
        self.scan = true;
    }

    pub(super) fn report(&self, now: Instant, contact: Contact) -> MasterReport {
        MasterReport { quorum: contact.has_store, sights: self.detector.sights(now) }
    }

    pub(super) fn heartbeat(
        &mut self,
        t: Time,
        view: &View,
        contact: Contact,
        beat: &Heartbeat,
        out: &mut Outbox,
    ) {
        let speaks = contact.in_grace || self.detector.storeless(t.now, contact.has_store);
        let standing = self.detector.heartbeat(t.now, beat, speaks && view.is_complete());
        if standing == super::messages::Standing::Confirmed {
            if let Some(load) = beat.load {
                self.recent.reported(&beat.node, load, view.rooms_on(&beat.node));
            }
            if let Some(rooms) = &beat.unsettled {
                self.drop_unsettled(&beat.node);
                for held in rooms {
                    self.unsettled_rooms.insert(held.room.clone(), (beat.node.clone(), held.epoch.clone()));
                }
                self.unsettled.insert(beat.node.clone(), rooms.clone());
                for held in rooms {
                    self.wake(t, view, contact, &held.room, out);
                }
            }
        }
        let moves = self.plan_moves(t.now, view, contact, beat);
        let ack = Ack {
            master: self.me.clone(),
            incarnation: beat.incarnation,
            seq: beat.seq,
            standing,
            quorum: contact.has_store,
            view_revision: view.revision(Section::Rooms),
            dead: self.detector.dead(),
            moves,
        };
        out.push(Output::ToNode { node: beat.node.clone(), message: Message::Ack(ack) });
    }

    fn drop_unsettled(&mut self, node: &NodeId) {
        for held in self.unsettled.remove(node).unwrap_or_default() {
            if self.unsettled_rooms.get(&held.room).is_some_and(|(holder, _)| holder == node) {
                self.unsettled_rooms.remove(&held.room);
            }
        }
    }

    pub(super) fn probed(&mut self, now: Instant, node: &NodeId, incarnation: u64, outcome: ProbeOutcome) {
        self.detector.probed(now, node, incarnation, outcome);
    }

    pub(super) fn tick(&mut self, t: Time, view: &View, contact: Contact, out: &mut Outbox) {
        let now = t.now;
        if std::mem::take(&mut self.scan) && view.is_complete() {
            let owners: Vec<NodeId> = view.owners().cloned().collect();
            for owner in owners {
                self.find_strays(now, view, &owner);
            }
        }
        for verdict in self.detector.tick(now, view, contact.has_store) {
            match verdict {
                Verdict::Probe { node, incarnation, address } => {
                    out.push(Output::Probe { node, incarnation, address });
                }
                Verdict::Revoke(lease) => {
                    out.store(StoreOp::Revoke(lease));
                }
                Verdict::Dead { node, incarnation } => {
                    self.drop_unsettled(&node);
                    self.give_away(now, view, &node);
                    out.push(Output::NodeDead { node, incarnation });
                }
            }
        }
        let rooms = view.revision(Section::Rooms);
        self.fresh.retain(|room, fresh| {
            let shown = match &fresh.epoch.provisional {
                None => rooms >= fresh.epoch.number,
                Some(_) => view.room(room).is_some_and(|held| held.epoch > fresh.epoch.number),
            };
            if fresh.epoch.provisional.is_some() && !contact.has_store {
                fresh.until = now + KEEP_PROVISIONAL;
            }
            !shown && now < fresh.until
        });
        self.replace_some(now, view, contact, out);
        let ids: Vec<RequestId> = self.waiting.keys().copied().collect();
        for id in ids {
            self.serve(t, view, contact, id, out);
        }
        for progress in self.drains.values_mut() {
            progress.expire(now);
        }
    }

    fn claim(
        &mut self,
        room: String,
        target: NodeId,
        description: Option<serde_json::Value>,
        txn: Txn,
        again: bool,
        out: &mut Outbox,
    ) {
        let record =
            RoomRecord { room: room.clone(), node: target.clone(), epoch: Epoch::settled(0), description };
        let value = serde_json::to_vec(&record).unwrap_or_default();
        let op = out.store(StoreOp::Commit(txn.put(room_key(&room), value)));
        self.recent.claim_began(&target);
        self.claiming.insert(room.clone(), target.clone());
        self.claims.insert(op, Claim { room, target, again });
    }

    fn choose(&mut self, now: Instant, view: &View) -> Result<NodeId, PlacementError> {
        let candidates: Vec<Candidate<'_>> = view
            .nodes()
            .filter(|(id, entry)| {
                entry.record.roles.contains(&Role::Media) && self.detector.health(now, id) == Health::Alive
            })
            .map(|(id, entry)| {
                let (load, placed_since) = self.recent.of(id, view.rooms_on(id));
                Candidate {
                    id,
                    region: &entry.record.region,
                    cpus: entry.record.cpus,
                    draining: view.drain(id).is_some(),
                    load,
                    placed_since,
                }
            })
            .collect();
        self.selector.choose(&candidates, &mut self.rng).cloned()
    }

    /// Takes the answer if the call was ours.
    pub(super) fn answer(
        &mut self,
        t: Time,
        view: &View,
        contact: Contact,
        op: OpId,
        answer: &StoreAnswer,
        out: &mut Outbox,
    ) {
        if let Some(id) = self.drain_ops.remove(&op) {
            let result = match answer {
                StoreAnswer::Committed(_) => Ok(()),
                _ => Err(DrainError::StoreUnavailable),
            };
            return out.push(Output::DrainAnswered { id, result });
        }
        let Some(claim) = self.claims.remove(&op) else { return };
        self.claiming.remove(&claim.room);
        self.recent.claim_ended(&claim.target);
        match answer {
            StoreAnswer::Committed(committed) => self.claimed(t.now, &claim, committed),
            _ => {
                self.not_before = t.now + RETRY;
                if claim.again {
                    self.enqueue(t.now + RETRY, &claim.room);
                }
            }
        }
        self.wake(t, view, contact, &claim.room, out);
    }

    fn claimed(&mut self, now: Instant, claim: &Claim, committed: &Committed) {
        let until = now + KEEP_PROVISIONAL;
        if committed.succeeded {
            let epoch = Epoch::settled(committed.revision);
            self.fresh.insert(claim.room.clone(), Fresh { node: claim.target.clone(), epoch, until });
            return;
        }
        if claim.again {
            self.enqueue(now + RETRY, &claim.room);
        } else if let Some((node, epoch)) =
            committed.current.first().into_iter().flatten().find_map(room_head)
        {
            self.fresh.insert(claim.room.clone(), Fresh { node, epoch: Epoch::settled(epoch), until });
        }
    }
}

/// Where a room is, as far as a master knows.
enum Place {
    At(Route),
    /// At a node that is dead, suspect, or no longer the one that claimed it; with the epoch's number.
    Lost(u64),
    Nowhere,
}
