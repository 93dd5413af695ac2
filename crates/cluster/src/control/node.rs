//! A media node's own part: which rooms it serves and at which epoch, what it writes of them into the store,
//! and how it becomes empty. It drops everything when it is fenced, and a room when the store says that another
//! node serves it.

mod moves;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::MAX_REPORTED_ROOMS;
use super::io::{NodeCommand, OpId, Outbox, Section, Time};
use super::messages::{HeldRoom, MoveOrder};
use super::view::{Change, View};
use crate::record::{Epoch, NodeId};

/// A description is written when it did not change for this long…
pub const WRITE_QUIET: Duration = Duration::from_millis(200);
/// …but at the latest this long after its first change.
pub const WRITE_LATEST: Duration = Duration::from_secs(1);

/// Calls to the store for rooms that are under way at the same time.
const MAX_WRITES: usize = 32;

/// Before a call that failed is repeated.
const RETRY: Duration = Duration::from_millis(250);

/// A claim on this node that no client came for is given back after this long.
pub const STALE_AFTER: Duration = Duration::from_secs(30);

/// How long the target of a move may take to import a room.
const PREPARE_DEADLINE: Duration = Duration::from_secs(10);

/// A prepared room whose hand-over does not come is forgotten after this long.
const PREPARED_KEPT: Duration = Duration::from_secs(30);

/// Rooms that may be prepared here at the same time: a few nodes that drain to this one.
const MAX_PREPARED: usize = 64;

/// Whether a client may join a room here.
#[derive(Clone, Debug, PartialEq)]
pub enum Admission {
    /// Yes, at this epoch; a room that does not run yet is begun, from its description if there is one.
    Serve {
        epoch: Epoch,
        description: Option<Value>,
    },
    /// The claim is newer than what this node has read of the store; ask again in a moment.
    Wait,
    Refuse(Refusal),
}

/// Why not. The master finds out anew where the room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this node is fenced: the cluster has not confirmed it; join through another node")]
    Fenced,
    #[error("the room is not this node's at this epoch; ask the store where it is")]
    NotHere,
    #[error("the room has just ended here; create it anew")]
    Ended,
    #[error("the store can be reached, so a provisional place does not hold; claim one")]
    Settle,
    #[error("this node is draining and takes no new rooms; choose another")]
    Draining,
}

#[derive(Debug)]
struct Held {
    epoch: Epoch,
    /// Of the record in the store, as far as known; `None`: it has to be claimed, or the view lags.
    mod_revision: Option<u64>,
    description: Option<Value>,
    /// First and last change that is not written yet.
    dirty: Option<(Instant, Instant)>,
    retry: Option<Instant>,
    busy: bool,
    moving: Option<Moving>,
}

#[derive(Debug)]
struct Moving {
    order: MoveOrder,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Preparing {
        until: Instant,
    },
    /// The target has it; the store has to say so.
    Committing,
}

#[derive(Debug)]
struct Ending {
    epoch: Epoch,
    mod_revision: Option<u64>,
    retry: Instant,
    busy: bool,
    /// A delete was sent whose end is not known.
    unsure: bool,
    /// Known to be deleted as of this revision.
    deleted: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Describe,
    Settle,
    Move,
    End,
    Stale,
}

/// A drain of this node.
#[derive(Debug)]
struct Drain {
    deadline: Instant,
    closed: bool,
    told: bool,
}

/// What the agent needs to know of its process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Revision at which this incarnation registered; `None`: it is not registered.
    pub(super) registered: Option<u64>,
    pub(super) has_store: bool,
    pub(super) may_serve: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Agent {
    me: NodeId,
    rooms: BTreeMap<String, Held>,
    ending: BTreeMap<String, Ending>,
    prepared: BTreeMap<String, Instant>,
    ops: BTreeMap<OpId, (String, Work)>,
    drain: Option<Drain>,
    /// Claims on this node that nobody came for, and since when.
    unclaimed: BTreeMap<String, Instant>,
    /// Rooms with something to do.
    active: BTreeSet<String>,
    unsettled_changed: bool,
}

impl Agent {
    pub(super) fn new(me: NodeId) -> Agent {
        Agent {
            me,
            rooms: BTreeMap::new(),
            ending: BTreeMap::new(),
            prepared: BTreeMap::new(),
            ops: BTreeMap::new(),
            drain: None,
            unclaimed: BTreeMap::new(),
            active: BTreeSet::new(),
            unsettled_changed: false,
        }
    }

    pub(super) fn rooms(&self) -> impl Iterator<Item = (&str, &Epoch)> {
        self.rooms.iter().map(|(name, held)| (&**name, &held.epoch))
    }

    pub(super) fn holds(&self, room: &str) -> bool {
        self.rooms.contains_key(room)
    }

    pub(super) fn room_count(&self) -> usize {
        self.rooms.len()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    pub(super) fn moving(&self) -> Vec<String> {
        self.rooms.iter().filter(|(_, held)| held.moving.is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// Rooms that a master which knows the store up to `known` may not find there.
    pub(super) fn unsettled(&mut self, known: u64) -> Vec<HeldRoom> {
        self.unsettled_changed = false;
        self.rooms
            .iter()
            .filter(|(_, held)| held.epoch.provisional.is_some() || held.epoch.number > known)
            .take(MAX_REPORTED_ROOMS)
            .map(|(room, held)| HeldRoom { room: room.clone(), epoch: held.epoch.clone() })
            .collect()
    }

    /// Whether [`Agent::unsettled`] should be sent before its time.
    pub(super) fn unsettled_changed(&self) -> bool {
        self.unsettled_changed
    }

    /// Drops everything.
    pub(super) fn fence(&mut self, out: &mut Outbox) {
        self.rooms.clear();
        self.ending.clear();
        self.prepared.clear();
        self.ops.clear();
        self.unclaimed.clear();
        self.active.clear();
        self.unsettled_changed = true;
        out.command(NodeCommand::FenceNow);
    }

    /// A client wants to join `room` here, as a master says at `epoch`.
    pub(super) fn admit(
        &mut self,
        view: &View,
        standing: Standing,
        room: &str,
        epoch: &Epoch,
        out: &mut Outbox,
    ) -> Admission {
        let Some(registered) = standing.registered.filter(|_| standing.may_serve) else {
            return Admission::Refuse(Refusal::Fenced);
        };
        if let Some(held) = self.rooms.get_mut(room) {
            if matches!(&held.moving, Some(moving) if matches!(moving.stage, Stage::Committing)) {
                return Admission::Wait;
            }
            return Admission::Serve { epoch: held.epoch.clone(), description: None };
        }
        if let Some(ending) = self.ending.get(room) {
            if ending.busy {
                return Admission::Wait;
            }
            let newer = epoch.number > ending.epoch.number;
            if !newer && (ending.deleted.is_some() || standing.has_store) {
                return Admission::Refuse(Refusal::Ended);
            }
            if !newer {
                // The store is away and keeps the old record: the room begins anew, to be settled later.
                let epoch = Epoch { number: ending.epoch.number, provisional: Some(self.me.clone()) };
                self.ending.remove(room);
                self.hold(room, epoch.clone(), None, None);
                return Admission::Serve { epoch, description: None };
            }
        }
        let record = view.room(room);
        if let Some(provisional) = &epoch.provisional {
            let elsewhere = record.as_ref().is_some_and(|held| held.epoch > epoch.number);
            return match () {
                _ if *provisional != self.me || elsewhere => Admission::Refuse(Refusal::NotHere),
                _ if standing.has_store => Admission::Refuse(Refusal::Settle),
                _ if self.drain.is_some() => Admission::Refuse(Refusal::Draining),
                _ => {
                    let description = view.description(room);
                    self.hold(room, epoch.clone(), description.clone(), None);
                    Admission::Serve { epoch: epoch.clone(), description }
                }
            };
        }
        if epoch.number < registered {
            return Admission::Refuse(Refusal::NotHere);
        }
        match record {
            Some(held) if *held.node == self.me && held.epoch >= registered => {
                let (epoch, mod_revision) = (held.epoch(), held.mod_revision);
                let description = view.description(room);
                self.begin(room, epoch.clone(), description.clone(), mod_revision, out);
                Admission::Serve { epoch, description }
            }
            _ if epoch.number > view.revision(Section::Rooms) => Admission::Wait,
            _ => Admission::Refuse(Refusal::NotHere),
        }
    }

    /// As [`Agent::admit`] after it said `Wait` for so long that the watch must have stalled: without the store a
    /// claim newer than the view is believed, unless this node ended the room itself. Its description comes
    /// later, if it has one.
    pub(super) fn admit_unseen(
        &mut self,
        view: &View,
        standing: Standing,
        room: &str,
        epoch: &Epoch,
        out: &mut Outbox,
    ) -> Admission {
        let admission = self.admit(view, standing, room, epoch, out);
        if admission != Admission::Wait || standing.has_store {
            return admission;
        }
        if self.rooms.contains_key(room) || self.ending.contains_key(room) || epoch.provisional.is_some() {
            return Admission::Refuse(Refusal::NotHere);
        }
        self.hold(room, epoch.clone(), None, None);
        Admission::Serve { epoch: epoch.clone(), description: None }
    }

    fn begin(
        &mut self,
        room: &str,
        epoch: Epoch,
        description: Option<Value>,
        revision: u64,
        out: &mut Outbox,
    ) {
        if self.prepared.remove(room).is_some() {
            out.command(NodeCommand::Activate { room: room.to_owned(), epoch: epoch.clone() });
        }
        self.hold(room, epoch, description, Some(revision));
    }

    fn hold(&mut self, room: &str, epoch: Epoch, description: Option<Value>, mod_revision: Option<u64>) {
        self.ending.remove(room);
        self.unclaimed.remove(room);
        self.active.insert(room.to_owned());
        self.unsettled_changed |= epoch.provisional.is_some();
        self.rooms.insert(
            room.to_owned(),
            Held { epoch, mod_revision, description, dirty: None, retry: None, busy: false, moving: None },
        );
    }

    fn drop_room(&mut self, room: &str, out: &mut Outbox) {
        if self.rooms.remove(room).is_some() {
            self.unsettled_changed = true;
            out.command(NodeCommand::DropRoom { room: room.to_owned() });
        }
    }

    /// The view changed.
    pub(super) fn changed(
        &mut self,
        t: Time,
        view: &View,
        standing: Standing,
        change: &Change,
        out: &mut Outbox,
    ) {
        match change {
            Change::Room(room) => self.room_changed_in_view(t.now, view, standing, room, out),
            Change::RoomGone(room) => {
                self.unclaimed.remove(room);
                if let Some(held) = self.rooms.get_mut(room)
                    && held.mod_revision.is_some()
                    && !held.busy
                {
                    // Somebody emptied the store: claim it again.
                    held.mod_revision = None;
                    held.epoch.provisional = Some(self.me.clone());
                    self.active.insert(room.clone());
                    self.unsettled_changed = true;
                }
            }
            Change::Drain(node) if *node == self.me => self.drain_changed(t, view, out),
            _ => {}
        }
    }

    fn room_changed_in_view(
        &mut self,
        now: Instant,
        view: &View,
        standing: Standing,
        room: &str,
        out: &mut Outbox,
    ) {
        let Some(record) = view.room(room) else { return };
        let (mine, number, mod_revision) = (*record.node == self.me, record.epoch, record.mod_revision);
        if let Some(held) = self.rooms.get_mut(room) {
            if !mine && number > held.epoch.number {
                let target = record.node.clone();
                match held.moving.take() {
                    Some(moving) if moving.order.target == target => {
                        self.moved(room, moving.order, number, out)
                    }
                    _ => self.drop_room(room, out),
                }
            } else if mine && number >= held.epoch.number {
                let unseen = held.mod_revision.is_none() && held.epoch.provisional.is_none();
                held.mod_revision = held.mod_revision.max(Some(mod_revision));
                if let Some(description) = view.description(room).filter(|_| unseen) {
                    // Admitted before the view had it: nothing may be written over what it says.
                    held.dirty = None;
                    held.description = Some(description.clone());
                    let epoch = Epoch::settled(number);
                    let description = Some(description);
                    out.command(NodeCommand::TakeOver { room: room.to_owned(), epoch, description });
                }
                if held.epoch != Epoch::settled(number) {
                    held.epoch = Epoch::settled(number);
                    self.unsettled_changed = true;
                    out.command(NodeCommand::EpochChanged {
                        room: room.to_owned(),
                        epoch: Epoch::settled(number),
                    });
                }
            }
            return;
        }
        if let Some(ending) = self.ending.get_mut(room) {
            if mine && number == ending.epoch.number {
                ending.mod_revision = ending.mod_revision.max(Some(mod_revision));
                return;
            }
            if number > ending.epoch.number {
                self.ending.remove(room);
            }
        }
        let Some(registered) = standing.registered.filter(|_| mine) else { return };
        if number < registered {
            return;
        }
        let description = view.description(room);
        let prepared = self.prepared.contains_key(room);
        if standing.may_serve && (prepared || description.is_some()) {
            let epoch = Epoch::settled(number);
            self.begin(room, epoch.clone(), description.clone(), mod_revision, out);
            if !prepared {
                out.command(NodeCommand::TakeOver { room: room.to_owned(), epoch, description });
            }
        } else {
            self.unclaimed.entry(room.to_owned()).or_insert(now);
        }
    }

    /// A new incarnation is registered: claims from now on are for it; those that are there already, too.
    pub(super) fn registered(&mut self, t: Time, view: &View, standing: Standing, out: &mut Outbox) {
        let rooms: Vec<String> = view.rooms_of(&self.me).map(|room| room.to_string()).collect();
        for room in rooms {
            self.room_changed_in_view(t.now, view, standing, &room, out);
        }
    }

    /// What outlives this node of `room` has changed.
    pub(super) fn describe(&mut self, now: Instant, room: &str, description: Value) {
        if let Some(held) = self.rooms.get_mut(room) {
            held.description = Some(description);
            held.dirty = Some((held.dirty.map_or(now, |(first, _)| first), now));
            self.active.insert(room.to_owned());
        }
    }

    /// The room is over.
    pub(super) fn end(&mut self, now: Instant, room: &str, out: &mut Outbox) {
        let Some(held) = self.rooms.remove(room) else { return };
        if let Some(moving) = held.moving {
            out.command(abort(room, moving.order));
        }
        self.unsettled_changed = true;
        self.ending.insert(
            room.to_owned(),
            Ending {
                epoch: held.epoch,
                mod_revision: held.mod_revision,
                retry: now,
                busy: held.busy,
                unsure: held.busy,
                deleted: None,
            },
        );
        self.active.insert(room.to_owned());
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Instant, view: &View, standing: Standing, out: &mut Outbox) {
        self.prepared.retain(|room, until| {
            let keep = now < *until;
            if !keep {
                out.command(NodeCommand::DropPrepared { room: room.clone() });
            }
            keep
        });
        self.tick_drain(now, out);
        if standing.registered.is_none() || !standing.has_store {
            return;
        }
        let rooms: Vec<String> = self.active.iter().cloned().collect();
        for room in rooms {
            if self.ops.len() >= MAX_WRITES {
                break;
            }
            if self.rooms.contains_key(&room) {
                self.work_on_held(now, view, standing, &room, out);
            } else if self.ending.contains_key(&room) {
                self.work_on_ending(now, view, &room, out);
            } else {
                self.active.remove(&room);
            }
        }
        self.collect_stale(now, view, out);
    }
}

fn abort(room: &str, order: MoveOrder) -> NodeCommand {
    NodeCommand::MoveAborted { room: room.to_owned(), target: order.target, address: order.address }
}
