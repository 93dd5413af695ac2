//! Listens to what goes into the control plane of a master and what comes out, and remembers what an operator
//! wants to know. It decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use store::Event as StoreEvent;

use super::{ClusterStatus, DrainStatus, Event, Health, NodeStatus, RoomStatus, What};
use crate::control::{Input, Member, Message, Output, ProbeOutcome, Section, Time, View, room_head};
use crate::record::{DRAINS, DrainRecord, Load, NODES, NodeId, NodeRecord, NodeState, ROOMS};

/// Events that are remembered: some screens of them. A node with more rooms than that dies in fewer lines.
pub const MAX_EVENTS: usize = 256;

/// Processes whose heartbeats are remembered. Clusters are smaller; ids that were used once leave with the oldest.
const MAX_NODES: usize = 1024;

/// What is known of a process beside its record.
#[derive(Debug, Default)]
struct Trace {
    heard: Option<Instant>,
    /// From its last heartbeat that told it: fresher than the record.
    load: Option<Load>,
    /// The incarnation whose address refused connections.
    refused: Option<u64>,
    /// The incarnation that was given up.
    dead: Option<u64>,
    /// Its link broke after its last heartbeat.
    reset: bool,
    /// The incarnation that left of its own will.
    left: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Chronicle {
    events: VecDeque<Event>,
    nodes: BTreeMap<NodeId, Trace>,
    has_store: Option<bool>,
}

impl Chronicle {
    pub fn new() -> Chronicle {
        Chronicle::default()
    }

    /// To be called before the input goes to [`Member::handle`], with the view as it is before.
    pub fn before(&mut self, t: Time, view: &View, input: &Input) {
        match input {
            Input::Message(Message::Heartbeat(beat)) => {
                if let Some(trace) = self.trace(&beat.node) {
                    trace.heard = Some(t.now);
                    trace.reset = false;
                    trace.load = beat.load.or(trace.load);
                }
            }
            Input::LinkReset(node) => {
                if let Some(trace) = self.trace(node) {
                    trace.reset = true;
                }
            }
            Input::Probed { node, incarnation, outcome: ProbeOutcome::Refused } => {
                if let Some(trace) = self.trace(node) {
                    trace.refused = Some(*incarnation);
                }
            }
            Input::Changes { section, batch } => {
                for event in &batch.events {
                    match section {
                        Section::Nodes => self.node(t, view, event),
                        Section::Rooms => self.room(t, view, event),
                        Section::Drains => self.drain(t, view, event),
                    }
                }
            }
            _ => {}
        }
    }

    /// To be called with what [`Member::handle`] returned, and whether the store answers now.
    pub fn after(&mut self, t: Time, has_store: bool, outputs: &[Output]) {
        for output in outputs {
            let Output::NodeDead { node, incarnation } = output else { continue };
            let after_ms = self.silent_ms(t.now, node).unwrap_or_default();
            let Some(trace) = self.trace(node) else { continue };
            trace.dead = Some(*incarnation);
            // It said goodbye; that it is gone now for sure is no news.
            if trace.left == Some(*incarnation) {
                continue;
            }
            let why = if trace.refused == Some(*incarnation) { "refused" } else { "silent" };
            let (node, why) = (node.0.clone(), why.to_owned());
            self.note(t, What::NodeDead { node, incarnation: *incarnation, why, after_ms });
        }
        match self.has_store.replace(has_store) {
            Some(true) if !has_store => self.note(t, What::StoreLost),
            Some(false) if has_store => self.note(t, What::StoreBack),
            _ => {}
        }
    }

    /// The last events, oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &Event> + ExactSizeIterator {
        self.events.iter()
    }

    /// The answer to `GET /internal/status`: the first `rooms` rooms by name and the last `events` events, of a
    /// master with this id.
    pub fn report(
        &self,
        t: Time,
        cluster: &str,
        me: &NodeId,
        member: &Member,
        rooms: usize,
        events: usize,
    ) -> ClusterStatus {
        let view = member.view();
        let mut names: Vec<_> = view.rooms().map(|(name, _)| name).collect();
        let rooms = rooms.min(names.len());
        if rooms > 0 {
            names.select_nth_unstable(rooms - 1);
        }
        names.truncate(rooms);
        names.sort_unstable();
        let listed = names.into_iter().filter_map(|name| {
            let room = view.room(name)?;
            Some(RoomStatus {
                room: name.to_owned(),
                node: room.node.0.clone(),
                epoch: room.epoch().to_string(),
            })
        });
        ClusterStatus {
            cluster: cluster.to_owned(),
            node: me.0.clone(),
            at_ms: t.unix_ms,
            store_quorum: member.has_store(t.now),
            nodes: view.nodes().map(|(id, entry)| self.status_of(t, member, id, &entry.record)).collect(),
            rooms_total: view.room_count(),
            rooms: listed.collect(),
            events: self.events.iter().skip(self.events.len().saturating_sub(events)).cloned().collect(),
        }
    }

    fn status_of(&self, t: Time, member: &Member, id: &NodeId, record: &NodeRecord) -> NodeStatus {
        let health = match member.health(t.now, id) {
            Some(crate::control::Health::Dead) => Health::Dead,
            Some(crate::control::Health::Suspect) => Health::Suspect,
            Some(crate::control::Health::Alive) | None => Health::Alive,
        };
        let drain = member.drain_status(id).map(|drain| DrainStatus {
            started_at_ms: member.view().drain(id).map_or(0, |record| record.started_at_ms),
            deadline_ms: drain.deadline_ms,
            by: drain.by,
            rooms_moved: drain.rooms_at_start.saturating_sub(drain.rooms_left) as u32,
            rooms_left: drain.rooms_left as u32,
        });
        let mut record = record.clone();
        if let Some(load) = self.nodes.get(id).and_then(|trace| trace.load) {
            record.load = load;
        }
        if drain.is_some() {
            record.state = NodeState::Draining;
        }
        NodeStatus { record, silent_ms: self.silent_ms(t.now, id), health, drain }
    }

    fn silent_ms(&self, now: Instant, node: &NodeId) -> Option<u64> {
        let heard = self.nodes.get(node)?.heard?;
        Some(now.saturating_duration_since(heard).as_millis() as u64)
    }

    fn node(&mut self, t: Time, view: &View, event: &StoreEvent) {
        match event {
            StoreEvent::Put(entry) => {
                let Ok(record) = serde_json::from_slice::<NodeRecord>(&entry.value) else { return };
                let before = view.node(&record.id).map(|entry| entry.record.incarnation);
                if before != Some(record.incarnation) {
                    self.note(t, What::NodeJoined { node: record.id.0, incarnation: record.incarnation });
                }
            }
            StoreEvent::Delete { key, .. } => {
                let Some(id) = key.strip_prefix(NODES) else { return };
                let id = NodeId(id.to_owned());
                let Some(entry) = view.node(&id) else { return };
                let incarnation = entry.record.incarnation;
                // One that is silent is revoked before it is dead: its death is told then.
                let alive = self.silent_ms(t.now, &id).is_some_and(|silent| silent < LEFT_WITHIN_MS);
                // Of one that was killed the link breaks first; another master may have taken it out already.
                let broken =
                    self.nodes.get(&id).is_some_and(|trace| trace.dead == Some(incarnation) || trace.reset);
                if alive && !broken {
                    if let Some(trace) = self.trace(&id) {
                        trace.left = Some(incarnation);
                    }
                    self.note(t, What::NodeLeft { node: id.0, incarnation });
                }
            }
        }
    }

    fn room(&mut self, t: Time, view: &View, event: &StoreEvent) {
        let StoreEvent::Put(entry) = event else { return };
        let Some(room) = entry.key.strip_prefix(ROOMS) else { return };
        let Some(before) = view.room(room) else { return };
        let Some((to, epoch)) = room_head(entry) else { return };
        if *before.node == to {
            return;
        }
        let from = before.node;
        let draining = view.drain(from).is_some();
        let why = if draining { "drain" } else { "death" };
        // A drain moves room by room while the node is heard: how long each took is not known here.
        let took_ms = if draining { 0 } else { self.silent_ms(t.now, from).unwrap_or_default() };
        self.note(
            t,
            What::RoomMoved {
                room: room.to_owned(),
                from: from.0.clone(),
                to: to.0,
                epoch: epoch.to_string(),
                why: why.to_owned(),
                took_ms,
            },
        );
    }

    fn drain(&mut self, t: Time, view: &View, event: &StoreEvent) {
        match event {
            StoreEvent::Put(entry) => {
                let Ok(record) = serde_json::from_slice::<DrainRecord>(&entry.value) else { return };
                if view.drain(&record.node).is_none() {
                    self.note(
                        t,
                        What::DrainStarted { node: record.node.0, started_at_ms: record.started_at_ms },
                    );
                }
            }
            StoreEvent::Delete { key, .. } => {
                let Some(id) = key.strip_prefix(DRAINS) else { return };
                let id = NodeId(id.to_owned());
                let Some(record) = view.drain(&id) else { return };
                let how = match view.rooms_on(&id) {
                    0 => "empty",
                    _ if t.unix_ms >= record.deadline_ms => "deadline",
                    _ => "cancelled",
                };
                let (how, started_at_ms) = (how.to_owned(), record.started_at_ms);
                self.note(t, What::DrainEnded { node: id.0, started_at_ms, how });
            }
        }
    }

    /// None when too many are known already.
    fn trace(&mut self, node: &NodeId) -> Option<&mut Trace> {
        if !self.nodes.contains_key(node) && self.nodes.len() >= MAX_NODES {
            self.nodes.retain(|_, trace| trace.dead.is_none());
            if self.nodes.len() >= MAX_NODES {
                return None;
            }
        }
        Some(self.nodes.entry(node.clone()).or_default())
    }

    fn note(&mut self, t: Time, what: What) {
        self.events.push_back(Event { at_ms: t.unix_ms, what });
        if self.events.len() > MAX_EVENTS {
            self.events.pop_front();
        }
    }
}

/// A process that deletes its record was heard a moment before.
const LEFT_WITHIN_MS: u64 = 600;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use serde_json::json;
    use store::{Batch, Entry};

    use super::*;
    use crate::control::Heartbeat;

    struct World {
        chronicle: Chronicle,
        view: View,
        began: Instant,
        ms: u64,
        revision: u64,
    }

    impl World {
        fn new() -> World {
            World {
                chronicle: Chronicle::new(),
                view: View::default(),
                began: Instant::now(),
                ms: 0,
                revision: 1,
            }
        }

        fn time(&self) -> Time {
            Time { now: self.began + Duration::from_millis(self.ms), unix_ms: self.ms as i64 }
        }

        fn changes(&mut self, section: Section, event: StoreEvent) {
            let batch = Batch { revision: self.revision, events: vec![event] };
            let input = Input::Changes { section, batch: batch.clone() };
            self.chronicle.before(self.time(), &self.view, &input);
            self.view.apply(section, &batch);
        }

        fn put(&mut self, section: Section, name: &str, value: serde_json::Value) {
            self.revision += 1;
            let key = format!("{}{name}", section.prefix());
            let value = Bytes::from(value.to_string());
            self.changes(
                section,
                StoreEvent::Put(Entry { key, value, mod_revision: self.revision, lease: None }),
            );
        }

        fn delete(&mut self, section: Section, name: &str) {
            self.revision += 1;
            let key = format!("{}{name}", section.prefix());
            self.changes(section, StoreEvent::Delete { key, mod_revision: self.revision });
        }

        fn node(&mut self, name: &str, incarnation: u64) {
            let record = json!({
                "id": name, "incarnation": incarnation, "roles": ["media"], "cpus": 2, "version": "0.1.0",
                "internal_address": "127.7.0.31:7900", "started_at_ms": 0,
            });
            self.put(Section::Nodes, name, record);
        }

        fn room(&mut self, name: &str, node: &str, epoch: u64) {
            let record = json!({ "room": name, "node": node, "epoch": { "number": epoch } });
            self.put(Section::Rooms, name, record);
        }

        fn beat(&mut self, node: &str) {
            let beat = Heartbeat {
                node: NodeId(node.into()),
                incarnation: 1,
                seq: 1,
                view_revision: 1,
                state: NodeState::Serving,
                load: None,
                rooms: 0,
                unsettled: None,
                moving: Vec::new(),
                master: None,
            };
            let input = Input::Message(Message::Heartbeat(beat));
            self.chronicle.before(self.time(), &self.view, &input);
        }

        fn told(&self) -> Vec<String> {
            self.chronicle.events().map(|event| event.what.text()).collect()
        }
    }

    #[test]
    fn a_death_and_what_follows_are_told_with_their_times() {
        let mut world = World::new();
        world.node("a", 1);
        world.node("b", 1);
        world.room("standup", "a", 1);
        world.room("standup", "a", 1);
        world.beat("a");
        world.ms = 450;
        let refused =
            Input::Probed { node: NodeId("a".into()), incarnation: 1, outcome: ProbeOutcome::Refused };
        world.chronicle.before(world.time(), &world.view, &refused);
        let dead = Output::NodeDead { node: NodeId("a".into()), incarnation: 1 };
        world.chronicle.after(world.time(), true, &[dead]);
        world.delete(Section::Nodes, "a");
        world.ms = 470;
        world.room("standup", "b", 2);
        world.chronicle.after(world.time(), false, &[]);
        let told = world.told();
        assert_eq!(
            told,
            [
                "a has joined",
                "b has joined",
                "a is dead: its port refuses connections (450 ms)",
                "room standup moved a → b, epoch 2, 470 ms",
                "the store has no quorum: meetings go on, new rooms are provisional",
            ]
        );
    }

    /// It was told to have left.
    #[test]
    fn a_death_that_another_master_found_first_is_told_as_one() {
        let mut world = World::new();
        world.node("a", 1);
        world.beat("a");
        world.chronicle.before(world.time(), &world.view, &Input::LinkReset(NodeId("a".into())));
        world.delete(Section::Nodes, "a");
        let dead = Output::NodeDead { node: NodeId("a".into()), incarnation: 1 };
        world.chronicle.after(world.time(), true, &[dead]);
        assert_eq!(world.told(), ["a has joined", "a is dead: silent for 0 ms"]);
    }

    #[test]
    fn a_drain_is_told_from_its_start_to_its_end() {
        let mut world = World::new();
        world.node("a", 1);
        world.room("standup", "a", 1);
        world.beat("a");
        let record = json!({ "node": "a", "started_at_ms": 1, "deadline_ms": 60_000, "by": "cli" });
        world.put(Section::Drains, "a", record);
        world.room("standup", "b", 2);
        world.delete(Section::Drains, "a");
        world.delete(Section::Nodes, "a");
        let gone = Output::NodeDead { node: NodeId("a".into()), incarnation: 1 };
        world.chronicle.after(world.time(), true, &[gone]);
        assert_eq!(
            world.told(),
            ["a has joined", "a drains", "room standup moved a → b, epoch 2", "a is empty", "a has left"]
        );
    }

    #[test]
    fn only_so_much_is_remembered() {
        let mut world = World::new();
        for n in 0..MAX_EVENTS as u64 + 5 {
            world.node("a", n + 1);
        }
        assert_eq!(world.chronicle.events().len(), MAX_EVENTS);
    }
}
