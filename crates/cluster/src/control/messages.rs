//! What processes of a cluster say to each other over their links: every 100 ms each process sends a
//! [`Heartbeat`] to each master, and each master answers with an [`Ack`]. Nothing else travels there; orders
//! and reports ride on these two, so that a lost one is made good by the next. The link carries them as opaque
//! frames ([`Message::encode`]).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::record::{Epoch, Load, NodeId, NodeState};

/// One frame of a link.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Message {
    Heartbeat(Heartbeat),
    Ack(Ack),
}

/// Longest frame: a heartbeat that lists [`crate::control::MAX_REPORTED_ROOMS`] rooms with long names.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// A frame that is none of ours.
#[derive(Debug, thiserror::Error)]
#[error("a frame of a link could not be read: {0}; check that all nodes run versions that work together")]
pub struct BadMessage(#[from] serde_json::Error);

impl Message {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a frame.
    pub fn decode(frame: &[u8]) -> Result<Message, BadMessage> {
        Ok(serde_json::from_slice(frame)?)
    }
}

/// "I am here", from a process to a master.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    pub node: NodeId,
    pub incarnation: u64,
    /// Counts the heartbeats of this incarnation.
    pub seq: u64,
    /// Revision up to which the sender knows the registry of nodes.
    pub view_revision: u64,
    #[serde(default)]
    pub state: NodeState,
    /// About once a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Rooms served.
    #[serde(default)]
    pub rooms: u32,
    /// Rooms served that a master may not find in the store (provisional, or claimed just now); when present,
    /// it replaces the list before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsettled: Option<Vec<HeldRoom>>,
    /// Rooms that are being moved away now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moving: Vec<String>,
    /// From a master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<MasterReport>,
}

/// A room and the epoch at which the sender serves it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeldRoom {
    pub room: String,
    pub epoch: Epoch,
}

/// What a master tells the other masters.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MasterReport {
    /// Whether the store answers it.
    pub quorum: bool,
    /// Every process that it does not hear well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sights: Vec<Sight>,
}

/// How a master sees one process that it does not hear well.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sight {
    pub node: NodeId,
    pub incarnation: u64,
    /// Since it was heard.
    pub silent_ms: u32,
    /// Since it was confirmed by an [`Ack`].
    pub acked_ms: u32,
    /// Its address refuses connections: the host is there, the process is gone.
    #[serde(default)]
    pub refused: bool,
    /// The sender will never again confirm this incarnation.
    #[serde(default)]
    pub condemned: bool,
}

/// A master's answer to a [`Heartbeat`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Ack {
    pub master: NodeId,
    /// Those of the heartbeat.
    pub incarnation: u64,
    pub seq: u64,
    pub standing: Standing,
    /// Whether the store answers the master.
    pub quorum: bool,
    /// Revision up to which the master knows the rooms.
    pub view_revision: u64,
    /// Nodes that it holds for dead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead: Vec<NodeId>,
    /// For a draining node: rooms to move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<MoveOrder>,
}

/// What an [`Ack`] is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Go on serving.
    Confirmed,
    /// The master does not know this incarnation, or may not speak for the cluster: confirms nothing.
    Unknown,
    /// The masters gave this incarnation up: fence now, then register anew.
    Condemned,
}

/// Where a room of a draining node shall go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MoveOrder {
    pub room: String,
    pub target: NodeId,
    /// Internal address of the target.
    pub address: SocketAddr,
}
