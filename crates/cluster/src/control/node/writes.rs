//! What a node writes of its rooms: descriptions, claims of provisional rooms, hand-overs, ends. One call per
//! room at a time, each a compare-and-set; one that fails tells who has the room now.

use std::time::Instant;

use serde_json::Value;
use store::{Committed, Txn};

use super::super::io::{NodeCommand, OpId, Outbox, Section, StoreAnswer, StoreOp};
use super::super::view::{View, node_key, room_head, room_key};
use super::{
    Agent, Ending, MAX_WRITES, Moving, RETRY, STALE_AFTER, Stage, Standing, WRITE_LATEST, WRITE_QUIET, Work,
    abort,
};
use crate::record::{Epoch, NodeId, RoomRecord};

impl Agent {
    pub(super) fn work_on_held(
        &mut self,
        now: Instant,
        view: &View,
        standing: Standing,
        room: &str,
        out: &mut Outbox,
    ) {
        let me = self.me.clone();
        let Some(held) = self.rooms.get_mut(room) else { return };
        if held.busy || held.retry.is_some_and(|at| now < at) {
            return;
        }
        if let Some(Moving { order, stage }) = &held.moving {
            match stage {
                Stage::Preparing { until } if now < *until => {}
                Stage::Preparing { .. } => {
                    out.command(abort(room, order.clone()));
                    held.moving = None;
                }
                Stage::Committing => {
                    let (Some(revision), target) = (held.mod_revision, order.target.clone()) else { return };
                    let txn = Txn::new().if_unchanged(room_key(room), revision).if_exists(node_key(&target));
                    let txn = txn.put(room_key(room), record(room, target, 0, held.description.clone()));
                    held.busy = true;
                    self.ops.insert(out.store(StoreOp::Commit(txn)), (room.to_owned(), Work::Move));
                }
            }
            return;
        }
        let seen = view.room(room);
        if held.mod_revision.is_none() && held.epoch.provisional.is_none() {
            // The claim was newer than the view.
            match &seen {
                Some(record) if *record.node == me && record.epoch == held.epoch.number => {
                    return self.room_changed_in_view(now, view, standing, room, out);
                }
                _ if view.revision(Section::Rooms) > held.epoch.number => {
                    held.epoch.provisional = Some(me.clone());
                }
                _ => return,
            }
        }
        let mine = node_key(&me);
        if held.epoch.provisional.is_some() {
            let Some(entry) = view.node(&me) else { return };
            let txn = Txn::new().if_unchanged(mine, entry.mod_revision);
            let txn = match &seen {
                None => txn.if_absent(room_key(room)),
                Some(record) if *record.node != me => match view.node(record.node) {
                    // Its owner lives: it is theirs.
                    Some(owner) if owner.registered <= record.epoch => return self.drop_room(room, out),
                    Some(_) => txn.if_unchanged(room_key(room), record.mod_revision),
                    None => {
                        txn.if_unchanged(room_key(room), record.mod_revision).if_absent(node_key(record.node))
                    }
                },
                Some(record) => txn.if_unchanged(room_key(room), record.mod_revision),
            };
            let txn = txn.put(room_key(room), record(room, me, 0, held.description.clone()));
            held.busy = true;
            held.dirty = None;
            self.ops.insert(out.store(StoreOp::Commit(txn)), (room.to_owned(), Work::Settle));
            return;
        }
        match (held.dirty, held.mod_revision) {
            (Some((first, last)), Some(revision)) => {
                if now < (last + WRITE_QUIET).min(first + WRITE_LATEST) {
                    return;
                }
                let txn = Txn::new().if_unchanged(room_key(room), revision);
                let value = record(room, me, held.epoch.number, held.description.clone());
                held.busy = true;
                held.dirty = None;
                let op = out.store(StoreOp::Commit(txn.put(room_key(room), value)));
                self.ops.insert(op, (room.to_owned(), Work::Describe));
            }
            _ => {
                self.active.remove(room);
            }
        }
    }

    pub(super) fn work_on_ending(&mut self, now: Instant, view: &View, room: &str, out: &mut Outbox) {
        let Some(ending) = self.ending.get_mut(room) else { return };
        if ending.busy || now < ending.retry {
            return;
        }
        if let Some(revision) = ending.deleted {
            // Remembered until the view shows it, so that an old claim is not taken for a new one.
            if view.revision(Section::Rooms) >= revision || view.room(room).is_none() {
                self.ending.remove(room);
            } else {
                ending.retry = now + RETRY;
            }
            return;
        }
        let seen = view.room(room).filter(|held| *held.node == self.me && held.epoch <= ending.epoch.number);
        let known = ending.mod_revision.max(seen.map(|held| held.mod_revision));
        let Some(revision) = known else {
            if view.revision(Section::Rooms) >= ending.epoch.number || ending.epoch.provisional.is_some() {
                self.ending.remove(room);
            }
            return;
        };
        ending.busy = true;
        let txn = Txn::new().if_unchanged(room_key(room), revision).delete(room_key(room));
        self.ops.insert(out.store(StoreOp::Commit(txn)), (room.to_owned(), Work::End));
    }

    pub(super) fn collect_stale(&mut self, now: Instant, view: &View, out: &mut Outbox) {
        let stale: Vec<String> = self
            .unclaimed
            .iter()
            .filter(|(_, since)| now >= **since + STALE_AFTER)
            .take(MAX_WRITES.saturating_sub(self.ops.len()))
            .map(|(room, _)| room.clone())
            .collect();
        for room in stale {
            self.unclaimed.remove(&room);
            if let Some(record) = view.room(&room).filter(|record| *record.node == self.me) {
                let ending = Ending {
                    epoch: record.epoch(),
                    mod_revision: Some(record.mod_revision),
                    retry: now,
                    busy: true,
                    unsure: false,
                    deleted: None,
                };
                let txn =
                    Txn::new().if_unchanged(room_key(&room), record.mod_revision).delete(room_key(&room));
                self.ending.insert(room.clone(), ending);
                self.active.insert(room.clone());
                self.ops.insert(out.store(StoreOp::Commit(txn)), (room, Work::Stale));
            }
        }
    }

    /// Takes the answer if the call was ours.
    pub(in crate::control) fn answer(
        &mut self,
        now: Instant,
        op: OpId,
        answer: &StoreAnswer,
        out: &mut Outbox,
    ) {
        let Some((room, work)) = self.ops.remove(&op) else { return };
        self.active.insert(room.clone());
        let committed = match answer {
            StoreAnswer::Committed(committed) => Some(committed),
            _ => None,
        };
        if let Some(ending) = self.ending.get_mut(&room) {
            ending.busy = false;
            ending.retry = now;
            match (work, committed) {
                (_, None) => (ending.unsure, ending.retry) = (true, now + RETRY),
                (Work::End | Work::Stale, Some(committed)) if committed.succeeded => {
                    ending.deleted = Some(committed.revision);
                }
                (_, Some(committed)) => self.ending_lost(&room, work, committed),
            }
            return;
        }
        let Some(held) = self.rooms.get_mut(&room) else { return };
        held.busy = false;
        let Some(committed) = committed else {
            // It may have happened or not; the next attempt shows which.
            held.retry = Some(now + RETRY);
            if work == Work::Describe {
                held.dirty.get_or_insert((now, now));
            }
            return;
        };
        held.retry = None;
        match work {
            Work::Move if committed.succeeded => {
                if let Some(moving) = held.moving.take() {
                    self.moved(&room, moving.order, committed.revision, out);
                }
            }
            Work::Settle if committed.succeeded => {
                held.mod_revision = Some(committed.revision);
                held.epoch = Epoch::settled(committed.revision);
                self.unsettled_changed = true;
                let epoch = held.epoch.clone();
                out.command(NodeCommand::EpochChanged { room, epoch });
            }
            Work::Describe if committed.succeeded => {
                held.mod_revision = held.mod_revision.max(Some(committed.revision));
            }
            _ if committed.succeeded => {}
            _ => self.held_lost(now, &room, work, committed, out),
        }
    }

    /// A compare-and-set of a room that is ending did not hold.
    pub(super) fn ending_lost(&mut self, room: &str, work: Work, committed: &Committed) {
        let Some(ending) = self.ending.get_mut(room) else { return };
        if matches!(work, Work::Describe | Work::Settle | Work::Move) && committed.succeeded {
            // What was under way when it ended.
            ending.mod_revision = Some(committed.revision);
            if work == Work::Settle {
                ending.epoch = Epoch::settled(committed.revision);
            }
            if work == Work::Move {
                self.ending.remove(room);
            }
            return;
        }
        let current = committed.current.iter().flatten().find(|entry| entry.key == room_key(room));
        match current.and_then(|entry| Some((room_head(entry)?, entry.mod_revision))) {
            Some(((node, number), mod_revision)) if node == self.me && number <= ending.epoch.number => {
                ending.mod_revision = Some(mod_revision);
            }
            _ => ending.deleted = Some(committed.revision),
        }
    }

    /// A compare-and-set of a room did not hold.
    pub(super) fn held_lost(
        &mut self,
        now: Instant,
        room: &str,
        work: Work,
        committed: &Committed,
        out: &mut Outbox,
    ) {
        let me = self.me.clone();
        let Some(held) = self.rooms.get_mut(room) else { return };
        let current = committed.current.iter().flatten().find(|entry| entry.key == room_key(room));
        let current = current.and_then(|entry| Some((room_head(entry)?, entry.mod_revision)));
        match (current, work) {
            (Some(((node, number), _)), Work::Move)
                if held.moving.as_ref().is_some_and(|moving| moving.order.target == node)
                    && number > held.epoch.number =>
            {
                // An earlier attempt had succeeded.
                if let Some(moving) = held.moving.take() {
                    self.moved(room, moving.order, number, out);
                }
            }
            (Some(((node, number), mod_revision)), _) if node == me && number >= held.epoch.number => {
                held.mod_revision = Some(mod_revision);
                if held.epoch != Epoch::settled(number) {
                    held.epoch = Epoch::settled(number);
                    out.command(NodeCommand::EpochChanged {
                        room: room.to_owned(),
                        epoch: Epoch::settled(number),
                    });
                }
                if work == Work::Describe || work == Work::Settle {
                    held.dirty.get_or_insert((now, now));
                }
                if let Some(moving) = held.moving.take() {
                    out.command(abort(room, moving.order));
                }
            }
            (_, Work::Settle) => held.retry = Some(now + RETRY),
            (Some(((_, number), _)), _) if number > held.epoch.number => self.drop_room(room, out),
            (_, _) => {
                // The record vanished: claim it again.
                held.mod_revision = None;
                held.epoch.provisional = Some(me);
                held.retry = Some(now + RETRY);
                if let Some(moving) = held.moving.take() {
                    out.command(abort(room, moving.order));
                }
            }
        }
    }
}

fn record(room: &str, node: NodeId, number: u64, description: Option<Value>) -> Vec<u8> {
    let record = RoomRecord { room: room.to_owned(), node, epoch: Epoch::settled(number), description };
    serde_json::to_vec(&record).unwrap_or_default()
}
