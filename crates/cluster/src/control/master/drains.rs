//! Drains: begun, planned and reported.

use std::time::{Duration, Instant};

use store::Txn;

use super::super::detector::Health;
use super::super::drain::{DrainError, DrainStatus, MAX_DRAIN, MAX_MOVES};
use super::super::io::{Outbox, Output, RequestId, StoreOp, Time};
use super::super::messages::{Heartbeat, MoveOrder};
use super::super::view::{View, drain_key};
use super::{Contact, Controller};
use crate::record::{DrainRecord, NodeId};

impl Controller {
    /// Begins a drain.
    pub(in crate::control) fn drain(
        &mut self,
        t: Time,
        view: &View,
        id: RequestId,
        (node, deadline, by): (NodeId, Duration, String),
        out: &mut Outbox,
    ) {
        if view.node(&node).is_none() {
            return out.push(Output::DrainAnswered { id, result: Err(DrainError::NoSuchNode(node)) });
        }
        if deadline > MAX_DRAIN {
            return out.push(Output::DrainAnswered { id, result: Err(DrainError::TooLong) });
        }
        let record = DrainRecord {
            node: node.clone(),
            started_at_ms: t.unix_ms,
            deadline_ms: t.unix_ms + deadline.as_millis() as i64,
            by,
        };
        let value = serde_json::to_vec(&record).unwrap_or_default();
        let op = out.store(StoreOp::Commit(Txn::new().put(drain_key(&node), value)));
        self.drain_ops.insert(op, id);
    }

    /// Ends a drain: what has moved stays where it is.
    pub(in crate::control) fn cancel_drain(
        &mut self,
        view: &View,
        id: RequestId,
        node: NodeId,
        out: &mut Outbox,
    ) {
        if view.drain(&node).is_none() {
            return out.push(Output::DrainAnswered { id, result: Err(DrainError::NotDraining(node)) });
        }
        let op = out.store(StoreOp::Commit(Txn::new().delete(drain_key(&node))));
        self.drain_ops.insert(op, id);
    }

    pub(in crate::control) fn drain_status(&self, view: &View, node: &NodeId) -> Option<DrainStatus> {
        let record = view.drain(node)?;
        let progress = self.drains.get(node);
        let rooms_left = view.rooms_on(node);
        Some(DrainStatus {
            node: node.clone(),
            by: record.by.clone(),
            rooms_left,
            rooms_at_start: progress.map_or(rooms_left, |progress| progress.rooms_at_start.max(rooms_left)),
            moving: progress.map(|progress| progress.moving.clone()).unwrap_or_default(),
            deadline_ms: record.deadline_ms,
            done: rooms_left == 0,
        })
    }

    /// Which rooms of a draining node go where next. The first of the masters that hear each other plans; were
    /// two to plan, the node would take the orders of both as far as it has room for moves.
    pub(super) fn plan_moves(
        &mut self,
        now: Instant,
        view: &View,
        contact: Contact,
        beat: &Heartbeat,
    ) -> Vec<MoveOrder> {
        let node = &beat.node;
        if view.drain(node).is_none() || !contact.has_store {
            return Vec::new();
        }
        let mut progress = self.drains.remove(node).unwrap_or_default();
        progress.rooms_at_start = progress.rooms_at_start.max(view.rooms_on(node));
        progress.moving.clone_from(&beat.moving);
        let first = view.masters().map(|(id, _)| id).filter(|id| self.detector.hears(now, id)).min();
        let free = MAX_MOVES.saturating_sub(beat.moving.len());
        let mut moves = Vec::new();
        if first == Some(&self.me) {
            let rooms =
                view.rooms_of(node).filter(|room| !beat.moving.iter().any(|moving| **moving == ***room));
            for room in rooms.take(free) {
                let target =
                    match progress.chosen(room).filter(|n| self.detector.health(now, n) == Health::Alive) {
                        Some(target) => target.clone(),
                        None => match self.choose(now, view) {
                            Ok(target) => target,
                            Err(_) => break,
                        },
                    };
                let Some(entry) = view.node(&target) else { continue };
                let address = entry.record.internal_address;
                progress.choose(now, room, target.clone());
                moves.push(MoveOrder { room: room.to_string(), target, address });
            }
        }
        self.drains.insert(node.clone(), progress);
        moves
    }
}
