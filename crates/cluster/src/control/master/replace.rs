//! Rooms of dead nodes go to others.

use std::time::Instant;

use store::Txn;

use super::super::detector::Health;
use super::super::io::{Outbox, Section};
use super::super::view::{View, node_key, room_key};
use super::{Contact, Controller, MAX_REPLACING, REPLACE_STAGGER, RETRY};
use crate::record::NodeId;

impl Controller {
    /// Rooms whose records name an incarnation that this master never saw leave, or has forgotten.
    pub(super) fn find_strays(&mut self, now: Instant, view: &View, owner: &NodeId) {
        let registered = view.node(owner).map_or(u64::MAX, |entry| entry.registered);
        if view.rooms_of(owner).any(|room| view.room(room).is_some_and(|held| held.epoch < registered)) {
            self.detector.unknown_owner(now, owner, view.revision(Section::Nodes));
            self.give_away(now, view, owner);
        }
    }

    /// Whether the room's node is dead, for sure.
    pub(super) fn is_orphan(&self, view: &View, node: &NodeId, epoch: u64) -> bool {
        let current = view.node(node).is_some_and(|entry| epoch >= entry.registered);
        self.detector.dead_before(node).is_some_and(|revision| epoch <= revision)
            && (!current || self.detector.dead_while_registered(node))
    }

    pub(super) fn give_away(&mut self, now: Instant, view: &View, node: &NodeId) {
        let orphans: Vec<String> = view
            .rooms_of(node)
            .filter(|room| view.room(room).is_some_and(|held| self.is_orphan(view, node, held.epoch)))
            .map(|room| room.to_string())
            .collect();
        let mut masters: Vec<&NodeId> =
            view.masters().map(|(id, _)| id).filter(|id| self.detector.hears(now, id)).collect();
        masters.sort();
        let rank = masters.iter().position(|id| **id == self.me).unwrap_or(masters.len());
        for room in orphans {
            self.enqueue(now + REPLACE_STAGGER * rank as u32, &room);
        }
    }

    pub(super) fn enqueue(&mut self, not_before: Instant, room: &str) {
        if self.queued.insert(room.to_owned()) {
            self.replace.push_back((room.to_owned(), not_before));
        }
    }

    pub(super) fn replace_some(&mut self, now: Instant, view: &View, contact: Contact, out: &mut Outbox) {
        if !contact.has_store || now < self.not_before {
            return;
        }
        for _ in 0..self.replace.len() {
            if self.claims.len() >= MAX_REPLACING {
                return;
            }
            let Some((room, not_before)) = self.replace.pop_front() else { return };
            if not_before > now || self.claiming.contains_key(&room) {
                self.replace.push_back((room, not_before));
                continue;
            }
            self.queued.remove(&room);
            let Some(held) = view.room(&room) else { continue };
            if !self.is_orphan(view, held.node, held.epoch) {
                continue;
            }
            // Whoever serves it provisionally keeps it.
            let holder = self.unsettled_rooms.get(&room).map(|(node, _)| node.clone());
            let target = match holder.filter(|node| self.detector.health(now, node) == Health::Alive) {
                Some(node) => Ok(node),
                None => self.choose(now, view),
            };
            let Ok(target) = target else {
                self.enqueue(now + RETRY * 2, &room);
                continue;
            };
            let mut txn =
                Txn::new().if_unchanged(room_key(&room), held.mod_revision).if_exists(node_key(&target));
            if !self.detector.dead_while_registered(held.node) && *held.node != target {
                // It may have registered again in time: then it serves on.
                txn = match view.node(held.node) {
                    Some(entry) => txn.if_unchanged(node_key(held.node), entry.mod_revision),
                    None => txn.if_absent(node_key(held.node)),
                };
            }
            let description = view.description(&room);
            self.claim(room, target, description, txn, true, out);
        }
    }
}
