//! How a node becomes empty, and how it takes rooms of others that do.

use std::time::{Duration, Instant};

use super::super::drain::MAX_MOVES;
use super::super::io::{NodeCommand, Outbox, Time};
use super::super::messages::MoveOrder;
use super::super::view::View;
use super::{Agent, Drain, MAX_PREPARED, Moving, PREPARE_DEADLINE, PREPARED_KEPT, Stage, Standing, abort};
use crate::record::Epoch;

impl Agent {
    pub(super) fn drain_changed(&mut self, t: Time, view: &View, out: &mut Outbox) {
        match view.drain(&self.me) {
            Some(record) => {
                // The wall clock may be wrong: at most what the drain was given, at least nothing.
                let given = (record.deadline_ms - record.started_at_ms).max(0);
                let left = (record.deadline_ms - t.unix_ms).clamp(0, given) as u64;
                if self.drain.is_none() {
                    out.command(NodeCommand::Draining(true));
                }
                let deadline = t.now + Duration::from_millis(left);
                self.drain = Some(Drain { deadline, closed: false, told: false });
            }
            None if self.drain.take().is_some() => {
                for (room, held) in &mut self.rooms {
                    if let Some(moving) = held.moving.take_if(|m| matches!(m.stage, Stage::Preparing { .. }))
                    {
                        out.command(abort(room, moving.order));
                    }
                }
                out.command(NodeCommand::Draining(false));
            }
            None => {}
        }
    }

    /// A snapshot of `room` waits here for its hand-over.
    pub(in crate::control) fn prepared(
        &mut self,
        now: Instant,
        view: &View,
        standing: Standing,
        room: &str,
        out: &mut Outbox,
    ) {
        if self.prepared.len() >= MAX_PREPARED || self.rooms.contains_key(room) {
            return out.command(NodeCommand::DropPrepared { room: room.to_owned() });
        }
        self.prepared.insert(room.to_owned(), now + PREPARED_KEPT);
        // The hand-over may be there already.
        self.room_changed_in_view(now, view, standing, room, out);
    }

    /// Orders of a master that came with its answer to a heartbeat.
    pub(in crate::control) fn orders(&mut self, now: Instant, orders: &[MoveOrder], out: &mut Outbox) {
        for order in orders {
            let moving = self.rooms.values().filter(|held| held.moving.is_some()).count();
            if self.drain.is_none() || moving >= MAX_MOVES || order.target == self.me {
                return;
            }
            let Some(held) = self.rooms.get_mut(&order.room) else { continue };
            let ready = held.moving.is_none()
                && !held.busy
                && held.epoch.provisional.is_none()
                && held.mod_revision.is_some();
            if ready {
                let stage = Stage::Preparing { until: now + PREPARE_DEADLINE };
                held.moving = Some(Moving { order: order.clone(), stage });
                self.active.insert(order.room.clone());
                out.command(NodeCommand::MoveRoom {
                    room: order.room.clone(),
                    target: order.target.clone(),
                    address: order.address,
                    epoch: held.epoch.clone(),
                });
            }
        }
    }

    /// The target has imported the room, or could not.
    pub(in crate::control) fn move_prepared(&mut self, room: &str, ok: bool, out: &mut Outbox) {
        let Some(held) = self.rooms.get_mut(room) else { return };
        let Some(moving) = held.moving.as_mut().filter(|m| matches!(m.stage, Stage::Preparing { .. })) else {
            return;
        };
        if ok {
            moving.stage = Stage::Committing;
            held.retry = None;
        } else if let Some(moving) = held.moving.take() {
            out.command(abort(room, moving.order));
        }
    }

    pub(super) fn moved(&mut self, room: &str, order: MoveOrder, number: u64, out: &mut Outbox) {
        self.rooms.remove(room);
        self.unsettled_changed = true;
        out.command(NodeCommand::Moved {
            room: room.to_owned(),
            target: order.target,
            address: order.address,
            epoch: Epoch::settled(number),
        });
    }

    pub(super) fn tick_drain(&mut self, now: Instant, out: &mut Outbox) {
        let Some(drain) = &mut self.drain else { return };
        if now >= drain.deadline && !self.rooms.is_empty() {
            drain.closed = true;
            let rooms: Vec<String> = self.rooms.keys().cloned().collect();
            for room in rooms {
                self.end(now, &room, out);
                out.command(NodeCommand::CloseRoom { room });
            }
        }
        if let Some(drain) = &mut self.drain
            && !drain.told
            && self.rooms.is_empty()
            && self.ending.values().all(|ending| ending.deleted.is_some())
        {
            drain.told = true;
            out.command(NodeCommand::Drained);
        }
    }
}
