//! What this node knows of the outbox, and what follows from it: which rooms to claim, which events to send
//! next, which are done. No store, no sockets and no clock of its own.
//!
//! Each room has a lane for each URL; a lane sends one event at a time, in order. An event is done when all
//! lanes are through with it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use store::{Entry, Event, LeaseId};

use crate::record::{Claim, Key, Record, event_key};

/// How long an event of another node may lie unclaimed before any node takes it: that node, if it is alive,
/// claims at once.
const ORPHAN_AFTER: Duration = Duration::from_secs(1);

/// How long a claim is kept while its room is quiet: claiming costs a commit.
const RELEASE_AFTER: Duration = Duration::from_secs(60);

/// Place of an event in its room: revision of the store, then place within the commit.
pub(crate) type Order = (u64, u32);

/// See the module.
pub(crate) struct View {
    node: String,
    urls: usize,
    /// Ours, while it lives.
    lease: Option<LeaseId>,
    rooms: HashMap<String, Room>,
    /// Rooms in which a lane may have something to do.
    changed: HashSet<String>,
    /// Rooms with events that are not ours to deliver.
    foreign: HashSet<String>,
    pending: usize,
    bytes: usize,
}

struct Room {
    claim: Option<Held>,
    events: BTreeMap<Order, Pending>,
    orders: HashMap<String, Order>,
    /// For each URL, whether an event is on its way.
    busy: Vec<bool>,
    quiet_since: Instant,
}

struct Held {
    node: String,
    lease: Option<LeaseId>,
    mod_revision: u64,
}

struct Pending {
    id: String,
    record: Arc<Record>,
    seen: Instant,
    /// For each URL, whether it is through with it.
    through: Vec<bool>,
}

/// An event to send to one URL.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) room: String,
    pub(crate) order: Order,
    pub(crate) url: usize,
    pub(crate) record: Arc<Record>,
}

/// A room to claim; `over` is the revision of a claim of our own former life, to be overwritten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Orphan {
    pub(crate) room: String,
    pub(crate) over: Option<u64>,
}

impl View {
    pub(crate) fn new(node: String, urls: usize) -> View {
        View {
            node,
            urls,
            lease: None,
            rooms: HashMap::new(),
            changed: HashSet::new(),
            foreign: HashSet::new(),
            pending: 0,
            bytes: 0,
        }
    }

    /// Events of all rooms and nodes that are not delivered.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Bytes of their bodies.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those that this node delivers.
    pub(crate) fn ours(&self) -> usize {
        self.rooms.values().filter(|room| room.is_ours(self.lease)).map(|room| room.events.len()).sum()
    }

    /// Claims count from now on if they are bound to this lease; none while it is None.
    pub(crate) fn set_lease(&mut self, lease: Option<LeaseId>) {
        self.lease = lease;
        self.rooms.values_mut().for_each(|room| room.busy.fill(false));
        for name in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.touch(&name);
        }
    }

    /// Begins anew with all entries of the outbox. Events that were known keep what is known of them.
    pub(crate) fn replace(&mut self, entries: Vec<Entry>, now: Instant) {
        let there: HashSet<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        let mut gone = Vec::new();
        for (name, room) in &mut self.rooms {
            // Those that still hold are put back below.
            room.claim = None;
            gone.extend(
                room.orders.keys().map(|id| event_key(name, id)).filter(|key| !there.contains(key.as_str())),
            );
        }
        for key in gone {
            self.apply(Event::Delete { key, mod_revision: 0 }, now);
        }
        for entry in entries {
            self.apply(Event::Put(entry), now);
        }
        for name in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.touch(&name);
        }
    }

    /// Follows one change of the store.
    pub(crate) fn apply(&mut self, event: Event, now: Instant) {
        let Some(key) = Key::parse(event.key()) else { return };
        match (key, event) {
            (Key::Event { room, id }, Event::Put(entry)) => self.add(room, id, &entry, now),
            (Key::Event { room, id }, Event::Delete { .. }) => self.remove(&room, &id, now),
            (Key::Claim { room }, Event::Put(entry)) => {
                let Ok(claim) = serde_json::from_slice::<Claim>(&entry.value) else { return };
                let held = Held { node: claim.node, lease: entry.lease, mod_revision: entry.mod_revision };
                self.room(&room, now).claim = Some(held);
                self.touch(&room);
            }
            (Key::Claim { room }, Event::Delete { .. }) => {
                if let Some(found) = self.rooms.get_mut(&room) {
                    found.claim = None;
                    self.touch(&room);
                }
            }
        }
    }

    /// Rooms with events that nobody delivers.
    pub(crate) fn orphans(&self, now: Instant) -> Vec<Orphan> {
        let Some(lease) = self.lease else { return Vec::new() };
        let mut orphans = Vec::new();
        for name in &self.foreign {
            let Some(room) = self.rooms.get(name) else { continue };
            let over = match &room.claim {
                None => None,
                // From before we were restarted, or had lost our lease.
                Some(held) if held.node == self.node && held.lease != Some(lease) => Some(held.mod_revision),
                Some(_) => continue,
            };
            let due = |event: &Pending| event.record.node == self.node || now >= event.seen + ORPHAN_AFTER;
            if room.events.values().any(due) {
                orphans.push(Orphan { room: name.clone(), over });
            }
        }
        orphans
    }

    /// Events to send now. Each must come back through [`View::finish`].
    pub(crate) fn start(&mut self) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for name in std::mem::take(&mut self.changed) {
            let Some(room) = self.rooms.get_mut(&name).filter(|room| room.is_ours(self.lease)) else {
                continue;
            };
            for url in 0..self.urls {
                if room.busy[url] {
                    continue;
                }
                if let Some((order, event)) = room.events.iter().find(|(_, event)| !event.through[url]) {
                    room.busy[url] = true;
                    let record = Arc::clone(&event.record);
                    deliveries.push(Delivery { room: name.clone(), order: *order, url, record });
                }
            }
        }
        deliveries
    }

    /// One URL is through with an event. Returns the event's key when all are: it can go from the store.
    pub(crate) fn finish(&mut self, delivery: &Delivery, now: Instant) -> Option<String> {
        let room = self.rooms.get_mut(&delivery.room)?;
        room.busy[delivery.url] = false;
        room.quiet_since = now;
        self.changed.insert(delivery.room.clone());
        let event = room.events.get_mut(&delivery.order)?;
        event.through[delivery.url] = true;
        event.through.iter().all(|through| *through).then(|| event_key(&delivery.room, &event.id))
    }

    /// Our claims on rooms that have been quiet, with their revisions.
    pub(crate) fn quiet(&self, now: Instant) -> Vec<(String, u64)> {
        let quiet = |room: &Room| room.events.is_empty() && now >= room.quiet_since + RELEASE_AFTER;
        self.rooms
            .iter()
            .filter(|(_, room)| room.is_ours(self.lease) && quiet(room))
            .filter_map(|(name, room)| Some((name.clone(), room.claim.as_ref()?.mod_revision)))
            .collect()
    }

    fn add(&mut self, name: String, id: String, entry: &Entry, now: Instant) {
        let record: Record = match serde_json::from_slice(&entry.value) {
            Ok(record) => record,
            Err(error) => {
                tracing::warn!(key = %entry.key, %error, "an entry of the webhook outbox cannot be read; left alone");
                return;
            }
        };
        let urls = self.urls;
        let room = self.room(&name, now);
        let order = (entry.mod_revision, record.index);
        if room.orders.insert(id.clone(), order).is_none() {
            let bytes = record.body.len();
            let pending = Pending { id, record: Arc::new(record), seen: now, through: vec![false; urls] };
            room.events.insert(order, pending);
            room.quiet_since = now;
            self.pending += 1;
            self.bytes += bytes;
        }
        self.touch(&name);
    }

    fn remove(&mut self, name: &str, id: &str, now: Instant) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if let Some(order) = room.orders.remove(id) {
            let event = room.events.remove(&order);
            room.quiet_since = now;
            self.pending -= 1;
            self.bytes -= event.map_or(0, |event| event.record.body.len());
        }
        self.touch(name);
    }

    fn room(&mut self, name: &str, now: Instant) -> &mut Room {
        let urls = self.urls;
        self.rooms.entry(name.to_owned()).or_insert_with(|| Room {
            claim: None,
            events: BTreeMap::new(),
            orders: HashMap::new(),
            busy: vec![false; urls],
            quiet_since: now,
        })
    }

    /// Something about the room is different now.
    fn touch(&mut self, name: &str) {
        let Some(room) = self.rooms.get(name) else { return };
        let (unclaimed, empty) = (room.claim.is_none(), room.events.is_empty());
        match empty || room.is_ours(self.lease) {
            true => self.foreign.remove(name),
            false => self.foreign.insert(name.to_owned()),
        };
        match unclaimed && empty {
            true => {
                self.rooms.remove(name);
                self.changed.remove(name);
            }
            false => {
                self.changed.insert(name.to_owned());
            }
        }
    }
}

impl Room {
    fn is_ours(&self, lease: Option<LeaseId>) -> bool {
        lease.is_some() && self.claim.as_ref().is_some_and(|held| held.lease == lease)
    }
}

#[cfg(test)]
mod tests;
