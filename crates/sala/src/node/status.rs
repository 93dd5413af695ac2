//! What a master says about the cluster to people and tools, and what it remembers of the last minutes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cluster::NodeId;
use cluster::runtime::Master;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

/// Events that are remembered.
const MAX_EVENTS: usize = 256;

/// How often the view is compared with how it was.
const OBSERVE_EVERY: Duration = Duration::from_millis(200);

/// Rooms whose moves are noted one by one. In larger clusters the logs tell.
const MAX_FOLLOWED_ROOMS: usize = 5_000;

/// See the module. Clones are the same.
#[derive(Clone)]
pub(super) struct Journal {
    cluster: String,
    node: NodeId,
    master: Master,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    events: VecDeque<Value>,
    nodes: HashMap<NodeId, u64>,
    rooms: HashMap<String, (NodeId, u64)>,
    drains: HashMap<NodeId, i64>,
    has_store: Option<bool>,
    /// Nodes that died since they were seen last, and when.
    died: HashMap<NodeId, Instant>,
}

impl Seen {
    fn push(&mut self, mut event: Value) {
        event["at_ms"] = unix_ms().into();
        tracing::info!(%event, "cluster");
        self.events.push_back(event);
        if self.events.len() > MAX_EVENTS {
            self.events.pop_front();
        }
    }
}

impl Journal {
    /// Begins to follow what the master sees.
    pub(super) fn start(cluster: String, node: NodeId, master: Master) -> Journal {
        let journal = Journal { cluster, node, master, seen: Arc::default() };
        let (observer, mourner) = (journal.clone(), journal.clone());
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(OBSERVE_EVERY);
            loop {
                tick.tick().await;
                observer.observe();
            }
        });
        tokio::spawn(async move {
            let mut deaths = mourner.master.deaths();
            loop {
                match deaths.recv().await {
                    Ok(node) => mourner.dead(node),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        journal
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dead(&self, node: NodeId) {
        let mut seen = self.seen();
        let incarnation = seen.nodes.get(&node).copied().unwrap_or_default();
        seen.push(json!({
            "kind": "node_dead", "node": node, "incarnation": incarnation, "why": "silent", "after_ms": 0,
        }));
        seen.died.insert(node, Instant::now());
    }

    fn observe(&self) {
        let (nodes, drains, rooms) = self.master.view(|view| {
            let nodes: HashMap<NodeId, u64> =
                view.nodes().map(|(id, entry)| (id.clone(), entry.record.incarnation)).collect();
            let drains: HashMap<NodeId, i64> =
                view.drains().map(|drain| (drain.node.clone(), drain.started_at_ms)).collect();
            let rooms: HashMap<String, (NodeId, u64)> = match view.room_count() <= MAX_FOLLOWED_ROOMS {
                false => HashMap::new(),
                true => view
                    .rooms()
                    .filter_map(|(name, node)| {
                        Some((name.to_owned(), (node.clone(), view.room(name)?.epoch)))
                    })
                    .collect(),
            };
            (nodes, drains, rooms)
        });
        let has_store = self.master.has_store();
        let mut seen = self.seen();
        let before = std::mem::replace(&mut seen.nodes, nodes.clone());
        for (node, incarnation) in nodes.iter().filter(|(node, inc)| before.get(*node) != Some(*inc)) {
            seen.died.remove(node);
            seen.push(json!({"kind": "node_joined", "node": node, "incarnation": incarnation}));
        }
        for (node, incarnation) in before.iter().filter(|(node, _)| !nodes.contains_key(*node)) {
            seen.push(json!({"kind": "node_left", "node": node, "incarnation": incarnation}));
        }
        let before = std::mem::replace(&mut seen.drains, drains.clone());
        for (node, started) in drains.iter().filter(|(node, at)| before.get(*node) != Some(*at)) {
            seen.push(json!({"kind": "drain_started", "node": node, "started_at_ms": started}));
        }
        for (node, started) in before.iter().filter(|(node, _)| !drains.contains_key(*node)) {
            let how = if rooms.values().any(|(owner, _)| owner == node) { "cancelled" } else { "empty" };
            seen.push(json!({"kind": "drain_ended", "node": node, "started_at_ms": started, "how": how}));
        }
        let before = std::mem::replace(&mut seen.rooms, rooms.clone());
        for (room, (to, epoch)) in rooms {
            let Some((from, _)) = before.get(&room).filter(|(from, _)| *from != to) else { continue };
            let died = seen.died.get(from).copied();
            let why = if died.is_some() { "death" } else { "drain" };
            let took_ms = died.map_or(0, |at| at.elapsed().as_millis() as u64);
            seen.push(json!({
                "kind": "room_moved", "room": room, "from": from, "to": to, "epoch": epoch.to_string(),
                "why": why, "took_ms": took_ms,
            }));
        }
        if let Some(before) = seen.has_store.replace(has_store)
            && before != has_store
        {
            seen.push(json!({"kind": if has_store { "store_back" } else { "store_lost" }}));
        }
    }

    /// The cluster as this master sees it, with the first `rooms` rooms by name.
    pub(super) fn status(&self, rooms: usize) -> Value {
        let seen = self.seen();
        let dead = |id: &NodeId| self.master.is_dead(id);
        let (entries, room_list, rooms_total) = self.master.view(|view| {
            let nodes: Vec<_> = view
                .nodes()
                .map(|(id, entry)| {
                    (id.clone(), entry.record.clone(), view.drain(id).cloned(), view.rooms_on(id))
                })
                .collect();
            let mut names: Vec<&str> = view.rooms().map(|(room, _)| room).collect();
            names.sort_unstable();
            let listed: Vec<Value> = names
                .iter()
                .take(rooms)
                .filter_map(|name| {
                    let room = view.room(name)?;
                    Some(json!({"room": name, "node": room.node, "epoch": room.epoch.to_string()}))
                })
                .collect();
            (nodes, listed, view.room_count())
        });
        let nodes: Vec<Value> = entries
            .into_iter()
            .map(|(id, record, drain, rooms_on)| {
                let mut node = serde_json::to_value(&record).unwrap_or_default();
                node["health"] = if dead(&id) { "dead".into() } else { "alive".into() };
                node["load"]["rooms"] = rooms_on.into();
                if let Some(drain) = drain {
                    let status = self.master.drain_status(&id);
                    let (left, start) =
                        status.map_or((rooms_on, rooms_on), |s| (s.rooms_left, s.rooms_at_start));
                    node["state"] = "draining".into();
                    node["drain"] = json!({
                        "started_at_ms": drain.started_at_ms, "deadline_ms": drain.deadline_ms, "by": drain.by,
                        "rooms_moved": start.saturating_sub(left), "rooms_left": left,
                    });
                }
                node
            })
            .collect();
        json!({
            "cluster": self.cluster, "node": self.node, "at_ms": unix_ms(),
            "store_quorum": self.master.has_store(), "nodes": nodes, "rooms_total": rooms_total,
            "rooms": room_list, "events": seen.events,
        })
    }
}

fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}
