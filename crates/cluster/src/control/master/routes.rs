//! Where a room is: known, to be claimed, or to be waited for.

use std::time::Instant;

use store::Txn;

use super::super::detector::Health;
use super::super::io::{Outbox, Output, RequestId, Section, Time};
use super::super::placement::{PlacementError, rendezvous};
use super::super::route::{Route, RouteError};
use super::super::view::{View, node_key, room_key};
use super::{
    Contact, Controller, Fresh, KEEP_PROVISIONAL, MAX_WAITING_ROUTES, Place, ROUTE_DEADLINE, Waiting,
};
use crate::record::{Epoch, NodeId, Role};

impl Controller {
    /// A caller asks where a room is.
    pub(in crate::control) fn route(
        &mut self,
        t: Time,
        view: &View,
        contact: Contact,
        id: RequestId,
        (room, create): (String, bool),
        out: &mut Outbox,
    ) {
        if self.waiting.len() >= MAX_WAITING_ROUTES {
            return out.push(Output::Routed { id, result: Err(RouteError::TooManyWaiting) });
        }
        self.waiting_on.entry(room.clone()).or_default().push(id);
        self.waiting.insert(id, Waiting { room, create, deadline: t.now + ROUTE_DEADLINE });
        self.serve(t, view, contact, id, out);
    }

    pub(in crate::control) fn route_dropped(&mut self, id: RequestId) {
        if let Some(waiting) = self.waiting.remove(&id)
            && let Some(ids) = self.waiting_on.get_mut(&waiting.room)
        {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.waiting_on.remove(&waiting.room);
            }
        }
    }

    pub(super) fn wake(&mut self, t: Time, view: &View, contact: Contact, room: &str, out: &mut Outbox) {
        for id in self.waiting_on.get(room).cloned().unwrap_or_default() {
            self.serve(t, view, contact, id, out);
        }
    }

    /// Answers a caller if that can be done now.
    pub(super) fn serve(&mut self, t: Time, view: &View, contact: Contact, id: RequestId, out: &mut Outbox) {
        let Some(waiting) = self.waiting.get(&id) else { return };
        let (room, create, late) = (waiting.room.clone(), waiting.create, t.now >= waiting.deadline);
        let result = if !view.is_complete() {
            late.then_some(Err(RouteError::Starting))
        } else {
            match self.locate(t.now, view, &room) {
                Place::At(route) => Some(Ok(route)),
                Place::Lost(_) if late => Some(Err(RouteError::NotReplacedInTime)),
                Place::Lost(number) => self.place_without_store(t.now, view, contact, &room, number),
                Place::Nowhere if !create => Some(Err(RouteError::NoSuchRoom)),
                Place::Nowhere if late => Some(Err(RouteError::NoStore)),
                Place::Nowhere => self.place(t.now, view, contact, &room, out),
            }
        };
        if let Some(result) = result {
            self.route_dropped(id);
            out.push(Output::Routed { id, result });
        }
    }

    pub(super) fn locate(&self, now: Instant, view: &View, room: &str) -> Place {
        let fresh = self.fresh.get(room).map(|fresh| (&fresh.node, &fresh.epoch));
        let reported = self.unsettled_rooms.get(room).map(|(node, epoch)| (node, epoch));
        let record = view.room(room).map(|held| (held.node, held.epoch()));
        let known =
            fresh.into_iter().chain(reported).chain(record.as_ref().map(|(node, epoch)| (*node, epoch)));
        let Some((node, epoch)) = known.max_by_key(|(_, epoch)| *epoch) else { return Place::Nowhere };
        let entry = view.node(node).filter(|entry| {
            let claimed_here = epoch.provisional.is_some() || epoch.number >= entry.registered;
            claimed_here && self.detector.health(now, node) == Health::Alive
        });
        match entry {
            Some(entry) => Place::At(Route {
                node: node.clone(),
                incarnation: entry.record.incarnation,
                address: entry.record.internal_address,
                epoch: epoch.clone(),
            }),
            None => Place::Lost(epoch.number),
        }
    }

    /// Claims a place for a new room.
    pub(super) fn place(
        &mut self,
        now: Instant,
        view: &View,
        contact: Contact,
        room: &str,
        out: &mut Outbox,
    ) -> Option<Result<Route, RouteError>> {
        if !contact.has_store {
            return self.place_without_store(now, view, contact, room, 0);
        }
        if self.claiming.contains_key(room) || now < self.not_before {
            return None;
        }
        match self.choose(now, view) {
            Ok(target) => {
                let txn = Txn::new().if_absent(room_key(room)).if_exists(node_key(&target));
                self.claim(room.to_owned(), target, None, txn, false, out);
                None
            }
            Err(error) => Some(Err(error.into())),
        }
    }

    /// Without the store: every master that knows the same nodes chooses the same one.
    pub(super) fn place_without_store(
        &mut self,
        now: Instant,
        view: &View,
        contact: Contact,
        room: &str,
        number: u64,
    ) -> Option<Result<Route, RouteError>> {
        if !self.detector.storeless(now, contact.has_store) {
            return None;
        }
        if number > 0 {
            // It was somewhere: only if that node is dead for sure.
            let held = view.room(room)?;
            if !self.is_orphan(view, held.node, held.epoch) {
                return None;
            }
        }
        let alive = |id: &&NodeId| {
            view.node(id).is_some_and(|entry| entry.record.roles.contains(&Role::Media))
                && view.drain(id).is_none()
                && self.detector.health(now, id) == Health::Alive
        };
        let chosen = self.claiming.get(room).filter(alive);
        let node = match chosen.or_else(|| rendezvous(room, view.nodes().map(|(id, _)| id).filter(alive))) {
            Some(node) => node.clone(),
            None => return Some(Err(PlacementError::NoNode.into())),
        };
        let number = number.max(view.revision(Section::Rooms));
        let epoch = Epoch { number, provisional: Some(node.clone()) };
        let until = now + KEEP_PROVISIONAL;
        self.fresh.insert(room.to_owned(), Fresh { node: node.clone(), epoch: epoch.clone(), until });
        let record = &view.node(&node)?.record;
        let (incarnation, address) = (record.incarnation, record.internal_address);
        Some(Ok(Route { node, incarnation, address, epoch }))
    }
}
