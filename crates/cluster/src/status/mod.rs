//! What a master says about the cluster when operators ask: `GET /internal/status?rooms=N&events=N` on its
//! internal port answers with a [`ClusterStatus`] as JSON. A [`Chronicle`] listens to the control plane and
//! remembers what happened. Fields may be missing: an older node says less.

mod chronicle;

use serde::{Deserialize, Serialize};

pub use chronicle::{Chronicle, MAX_EVENTS};

use crate::record::NodeRecord;

/// Rooms that are listed unless `rooms=N` asks for another number.
pub const DEFAULT_ROOMS: usize = 200;

/// The cluster as one master sees it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterStatus {
    /// Cluster id.
    pub cluster: String,
    /// Which master says so.
    pub node: String,
    /// Unix time.
    pub at_ms: i64,
    /// Whether the store confirms within time: new rooms are settled then, not provisional.
    pub store_quorum: bool,
    pub nodes: Vec<NodeStatus>,
    pub rooms_total: usize,
    /// The first rooms by name.
    pub rooms: Vec<RoomStatus>,
    /// The last events, oldest first.
    pub events: Vec<Event>,
}

/// A node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    #[serde(flatten)]
    pub record: NodeRecord,
    /// Since its last heartbeat reached this master. None: no link.
    #[serde(default)]
    pub silent_ms: Option<u64>,
    #[serde(default)]
    pub health: Health,
    #[serde(default)]
    pub drain: Option<DrainStatus>,
}

/// What this master thinks of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    #[default]
    Alive,
    /// Silent to all masters that are heard; its lease is being revoked.
    Suspect,
    /// Its rooms are placed elsewhere.
    Dead,
}

/// How far a drain has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DrainStatus {
    /// Unix time.
    pub started_at_ms: i64,
    /// Unix time.
    pub deadline_ms: i64,
    /// `cli`, `api`, `signal` or `cloud`.
    pub by: String,
    pub rooms_moved: u32,
    pub rooms_left: u32,
}

/// Where a room is served.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RoomStatus {
    pub room: String,
    pub node: String,
    /// Text of an epoch: `7`, or `7~m2` for a provisional one.
    pub epoch: String,
}

/// Something that an operator wants to know of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Unix time.
    pub at_ms: i64,
    #[serde(flatten)]
    pub what: What,
}

/// What happened. Masters see the same things; two events are one when this is equal but for durations.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    NodeJoined {
        node: String,
        incarnation: u64,
    },
    /// Left of its own will.
    NodeLeft {
        node: String,
        incarnation: u64,
    },
    /// `why`: `refused` (the host lives, the process is gone) or `silent`. `after_ms`: since its last heartbeat.
    NodeDead {
        node: String,
        incarnation: u64,
        why: String,
        after_ms: u64,
    },
    /// `why`: `death` or `drain`. `took_ms`: after a death, from its last heartbeat to the claim; else 0.
    RoomMoved {
        room: String,
        from: String,
        to: String,
        epoch: String,
        why: String,
        took_ms: u64,
    },
    DrainStarted {
        node: String,
        started_at_ms: i64,
    },
    /// `how`: `empty`, `deadline` or `cancelled`.
    DrainEnded {
        node: String,
        started_at_ms: i64,
        how: String,
    },
    StoreLost,
    StoreBack,
}

impl What {
    /// The same for the same thing, whichever master tells it.
    pub fn key(&self) -> Option<String> {
        Some(match self {
            What::NodeJoined { node, incarnation } => format!("joined {node} {incarnation}"),
            What::NodeLeft { node, incarnation } => format!("left {node} {incarnation}"),
            What::NodeDead { node, incarnation, .. } => format!("dead {node} {incarnation}"),
            What::RoomMoved { room, epoch, .. } => format!("moved {epoch} {room}"),
            What::DrainStarted { node, started_at_ms } => format!("drain {node} {started_at_ms}"),
            What::DrainEnded { node, started_at_ms, .. } => format!("drained {node} {started_at_ms}"),
            // Each master loses the store for itself.
            What::StoreLost | What::StoreBack => return None,
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        match self {
            What::NodeJoined { node, .. } => format!("{node} has joined"),
            What::NodeLeft { node, .. } => format!("{node} has left"),
            What::NodeDead { node, why, after_ms, .. } if why == "refused" => {
                format!("{node} is dead: its port refuses connections ({after_ms} ms)")
            }
            What::NodeDead { node, after_ms, .. } => format!("{node} is dead: silent for {after_ms} ms"),
            What::RoomMoved { room, from, to, epoch, took_ms: 0, .. } => {
                format!("room {room} moved {from} → {to}, epoch {epoch}")
            }
            What::RoomMoved { room, from, to, epoch, took_ms, .. } => {
                format!("room {room} moved {from} → {to}, epoch {epoch}, {took_ms} ms")
            }
            What::DrainStarted { node, .. } => format!("{node} drains"),
            What::DrainEnded { node, how, .. } => match how.as_str() {
                "empty" => format!("{node} is empty"),
                "cancelled" => format!("{node} drains no more"),
                _ => format!("{node} has drained until its deadline"),
            },
            What::StoreLost => "the store has no quorum: meetings go on, new rooms are provisional".into(),
            What::StoreBack => "the store is back".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_as_documented() {
        let json = serde_json::json!({
            "cluster": "demo", "node": "m1", "store_quorum": true, "rooms_total": 1,
            "nodes": [{
                "id": "a", "incarnation": 7, "roles": ["media"], "internal_address": "127.7.0.31:7900",
                "cpus": 2, "version": "0.1.0", "started_at_ms": 5, "state": "draining", "silent_ms": 12,
                "drain": {
                    "started_at_ms": 1, "deadline_ms": 2, "by": "cli", "rooms_moved": 3, "rooms_left": 4,
                },
            }],
            "rooms": [{ "room": "standup", "node": "a", "epoch": "3~m1" }],
            "events": [{
                "at_ms": 9, "kind": "room_moved", "room": "standup", "from": "a", "to": "b", "epoch": "4",
                "why": "death", "took_ms": 512,
            }],
        });
        let status: ClusterStatus = serde_json::from_value(json).unwrap();
        assert_eq!(status.nodes[0].record.roles, [crate::record::Role::Media]);
        assert_eq!(status.nodes[0].health, Health::Alive);
        assert_eq!(status.events[0].what.text(), "room standup moved a → b, epoch 4, 512 ms");
        assert_eq!(
            serde_json::from_value::<ClusterStatus>(serde_json::to_value(&status).unwrap()).unwrap(),
            status
        );
    }
}
