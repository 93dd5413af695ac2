//! What the rest of a process holds of the cluster: [`Master`] and [`Node`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::broadcast;

use super::core::Core;
use super::gate::ServeGate;
use crate::control::{
    Admission, DrainError, DrainStatus, Input, NodeCommand, NodeEntry, Refusal, RequestId, Route, RouteError,
    View,
};
use crate::gateway::MediaNode;
use crate::record::{Death, Epoch, NodeId, Role};
use crate::status::ClusterStatus;

/// How long a join waits for this node's watch to show a claim that is newer. Normally a few milliseconds.
const ADMIT_DEADLINE: Duration = Duration::from_millis(500);

/// A master's side of the cluster. Clones are the same.
#[derive(Clone, Debug)]
pub struct Master {
    core: Arc<Core>,
}

/// Tells the state machine when a caller gives up.
struct RouteGuard<'a> {
    core: &'a Core,
    id: RequestId,
}

impl Drop for RouteGuard<'_> {
    fn drop(&mut self) {
        self.core.route_dropped(self.id);
    }
}

impl Master {
    pub(super) fn new(core: Arc<Core>) -> Master {
        Master { core }
    }

    /// Where `room` is served; `create`: place it if it is nowhere. Waits up to 5 s for a placement or for a dead
    /// node's room to be given to another.
    pub async fn route(&self, room: &str, create: bool) -> Result<Route, RouteError> {
        let (id, answer) = self.core.route(room.to_owned(), create);
        let _guard = RouteGuard { core: &self.core, id };
        answer.await.unwrap_or(Err(RouteError::Starting))
    }

    /// Every death of a node. Its clients must connect anew.
    pub fn deaths(&self) -> broadcast::Receiver<Death> {
        self.core.deaths.subscribe()
    }

    /// Reads what this master knows of the store. Keep it short: the cluster's decisions wait meanwhile.
    pub fn view<T>(&self, read: impl FnOnce(&View) -> T) -> T {
        self.core.with(|member| read(member.view()))
    }

    /// Media nodes that this master hears: those that drain last, else those with the fewest rooms first.
    pub fn media_nodes(&self) -> Vec<MediaNode> {
        let now = Instant::now();
        self.core.with(|member| {
            let view = member.view();
            let mut nodes: Vec<_> = view
                .nodes()
                .filter(|(id, entry)| entry.record.roles.contains(&Role::Media) && member.is_alive(now, id))
                .collect();
            nodes.sort_by_key(|(id, _)| (view.drain(id).is_some(), view.rooms_on(id), *id));
            let node = |(id, entry): (&NodeId, &NodeEntry)| MediaNode {
                node_id: id.clone(),
                incarnation: entry.record.incarnation,
                address: entry.record.internal_address,
            };
            nodes.into_iter().map(node).collect()
        })
    }

    /// How many rooms have found no node here since the start: more nodes are needed.
    pub fn refused_rooms(&self) -> u64 {
        self.core.refused.load(Ordering::Relaxed)
    }

    /// Whether `node` is held for dead.
    pub fn is_dead(&self, node: &NodeId) -> bool {
        let now = Instant::now();
        self.core.with(|member| member.is_dead(now, node))
    }

    /// Whether this master may speak for the cluster: for the balancer's health check.
    pub fn is_ready(&self) -> bool {
        self.core.with(|member| member.is_ready(Instant::now()))
    }

    /// Whether the store answers.
    pub fn has_store(&self) -> bool {
        self.core.with(|member| member.has_store(Instant::now()))
    }

    /// What operators may know: nodes, the first `rooms` rooms by name, the last `events` events. `cluster`: its id.
    pub fn report(&self, cluster: &str, rooms: usize, events: usize) -> ClusterStatus {
        self.core.report(cluster, rooms, events)
    }

    /// Begins to empty `node`; what is left after `deadline` is closed.
    pub async fn drain(&self, node: NodeId, deadline: Duration, by: &str) -> Result<(), DrainError> {
        let by = by.to_owned();
        let answer = self.core.drain(|id| Input::Drain { id, node, deadline, by });
        answer.await.unwrap_or(Err(DrainError::StoreUnavailable))
    }

    /// Lets a draining node serve again. What has moved stays where it is.
    pub async fn cancel_drain(&self, node: NodeId) -> Result<(), DrainError> {
        let answer = self.core.drain(|id| Input::CancelDrain { id, node });
        answer.await.unwrap_or(Err(DrainError::StoreUnavailable))
    }

    /// How far the drain of `node` is; `None`: it is not draining.
    pub fn drain_status(&self, node: &NodeId) -> Option<DrainStatus> {
        self.core.with(|member| member.drain_status(node))
    }
}

/// A media node's side of the cluster. Clones are the same.
#[derive(Clone, Debug)]
pub struct Node {
    core: Arc<Core>,
}

impl Node {
    pub(super) fn new(core: Arc<Core>) -> Node {
        Node { core }
    }

    /// The fence, for shards to read before they send.
    pub fn gate(&self) -> ServeGate {
        self.core.gate.clone()
    }

    /// Whether anything may be sent now.
    pub fn may_serve(&self) -> bool {
        self.core.gate.may_serve(Instant::now())
    }

    /// Whether a client whom a master sent with `epoch` may join `room` here. On success: the epoch at which the
    /// room is served, and its description if this join begins it from one: then others wait until
    /// [`Self::restored`].
    pub async fn admit(&self, room: &str, epoch: &Epoch) -> Result<(Epoch, Option<Value>), Refusal> {
        let until = tokio::time::Instant::now() + ADMIT_DEADLINE;
        let mut waited = false;
        loop {
            let changed = self.core.changed.notified();
            match self.core.admit(room, epoch, waited) {
                Admission::Serve { epoch, description } => return Ok((epoch, description)),
                Admission::Refuse(refusal) => return Err(refusal),
                Admission::Wait if waited => return Err(Refusal::NotHere),
                Admission::Wait => waited = tokio::time::timeout_at(until, changed).await.is_err(),
            }
        }
    }

    /// The engine has begun `room` from its description, or cannot: see [`Self::admit`] and
    /// [`NodeCommand::TakeOver`].
    pub fn restored(&self, room: &str) {
        self.core.restored(room);
    }

    /// The other media nodes, those that drain aside unless there are no others.
    pub fn media_peers(&self) -> Vec<(NodeId, SocketAddr)> {
        self.core.with(|member| {
            let view = member.view();
            let peers = view
                .nodes()
                .filter(|(id, entry)| *id != self.core.me() && entry.record.roles.contains(&Role::Media));
            let (draining, serving): (Vec<_>, Vec<_>) = peers.partition(|(id, _)| view.drain(id).is_some());
            let chosen = if serving.is_empty() { draining } else { serving };
            chosen.into_iter().map(|(id, entry)| (id.clone(), entry.record.internal_address)).collect()
        })
    }

    /// This node.
    pub fn id(&self) -> &NodeId {
        self.core.me()
    }

    /// Whether `room` is served here.
    pub fn serves(&self, room: &str) -> bool {
        self.core.with(|member| member.holds(room))
    }

    /// Whether the cluster knows `room`.
    pub fn is_room(&self, room: &str) -> bool {
        self.core.with(|member| member.view().room(room).is_some())
    }

    /// What outlives this node of `room` has changed: written to the store within a second.
    pub fn room_changed(&self, room: &str, description: Value) {
        self.core.input(Input::RoomChanged { room: room.to_owned(), description });
    }

    /// The room is over.
    pub fn room_ended(&self, room: &str) {
        self.core.input(Input::RoomEnded { room: room.to_owned() });
    }

    /// A snapshot of `room` was imported here and waits for [`NodeCommand::Activate`].
    pub fn room_prepared(&self, room: &str) {
        self.core.input(Input::Prepared { room: room.to_owned() });
    }

    /// Answer to [`NodeCommand::MoveRoom`]: whether the target has imported the room.
    pub fn move_prepared(&self, room: &str, ok: bool) {
        self.core.input(Input::MovePrepared { room: room.to_owned(), ok });
    }

    /// The next order for the engine. One reader.
    pub async fn next_command(&self) -> NodeCommand {
        loop {
            if let Some(command) = self.core.next_command() {
                return command;
            }
            self.core.commands.notified().await;
        }
    }

    /// Rooms served here, with their epochs.
    pub fn rooms(&self) -> Vec<(String, Epoch)> {
        self.core.with(|member| member.held().map(|(room, epoch)| (room.to_owned(), epoch.clone())).collect())
    }
}
