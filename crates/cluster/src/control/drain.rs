//! Emptying a node: what is asked, how far it is, and which room goes where next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::record::NodeId;

/// Rooms of one node that move at the same time.
pub const MAX_MOVES: usize = 2;

/// Longest deadline of a drain that is accepted: a day.
pub const MAX_DRAIN: Duration = Duration::from_secs(24 * 3600);

/// Why a drain could not be started or cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    #[error("there is no node `{0}`; `sala nodes` lists them")]
    NoSuchNode(NodeId),
    #[error("node `{0}` is not draining")]
    NotDraining(NodeId),
    #[error("the store did not confirm it; ask for the status, and try again once the store answers")]
    StoreUnavailable,
    #[error("the deadline of a drain is at most 24 hours")]
    TooLong,
}

/// How far a drain is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DrainStatus {
    pub node: NodeId,
    pub by: String,
    pub rooms_left: usize,
    /// The most rooms that this master saw there during the drain.
    pub rooms_at_start: usize,
    /// Rooms on their way now.
    pub moving: Vec<String>,
    /// Unix time.
    pub deadline_ms: i64,
    pub done: bool,
}

/// A target stays chosen for this long: heartbeats come faster than a node can begin a move.
const KEEP_CHOICE: Duration = Duration::from_secs(3);

/// What a master remembers of a node that drains.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) rooms_at_start: usize,
    pub(super) moving: Vec<String>,
    chosen: BTreeMap<String, (NodeId, Instant)>,
}

impl Progress {
    /// The target chosen for `room` a moment ago.
    pub(super) fn chosen(&self, room: &str) -> Option<&NodeId> {
        self.chosen.get(room).map(|(node, _)| node)
    }

    pub(super) fn choose(&mut self, now: Instant, room: &str, node: NodeId) {
        self.chosen.insert(room.to_owned(), (node, now + KEEP_CHOICE));
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.chosen.retain(|_, (_, until)| *until > now);
    }
}
