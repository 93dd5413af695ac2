//! What the gateway asks of the cluster's runtime.

use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{Death, Epoch, NodeId};

/// A media node that is alive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediaNode {
    pub node_id: NodeId,
    /// Of its process.
    pub incarnation: u64,
    /// Its internal port.
    pub address: SocketAddr,
}

/// Where a room is served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    pub node: MediaNode,
    pub epoch: Epoch,
}

/// Why there is no route.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RouteError {
    #[error("the room does not exist and was not to be created")]
    RoomNotFound,
    #[error("no media node takes rooms; start one, or end a drain with `sala drain --cancel`")]
    NoMediaNode,
    /// Another attempt may succeed: a re-placement is under way, or the store is slow.
    #[error("the room cannot be placed now: {0}")]
    Unavailable(String),
}

/// Knows who is alive and which node serves which room. Everything but `route` answers from memory.
pub trait Director: Send + Sync + 'static {
    /// The node that serves `room`. Unless it exists it is placed, if `create` says so. Called again when the
    /// node refused: the answer should then be newer.
    fn route<'a>(&'a self, room: &'a str, create: bool) -> BoxFuture<'a, Result<Route, RouteError>>;

    /// All media nodes that are alive, the best to take a request without room first.
    fn media_nodes(&self) -> Vec<MediaNode>;

    /// A media node for a request without room.
    fn any_media_node(&self) -> Option<MediaNode> {
        self.media_nodes().into_iter().next()
    }

    /// Whether this master can do its work: what a balancer's health check asks.
    fn is_ready(&self) -> bool {
        true
    }

    /// Whether the cluster holds the node for dead now.
    fn is_dead(&self, node: &NodeId) -> bool;

    /// Each death as it is decided, after the rooms have been re-placed.
    fn deaths(&self) -> broadcast::Receiver<Death>;
}

/// Completes when the cluster decides that this process of the node is dead.
pub(super) async fn death_of(
    node: &MediaNode,
    deaths: &mut broadcast::Receiver<Death>,
    director: &dyn Director,
) {
    loop {
        match deaths.recv().await {
            Ok(died) if died.node == node.node_id && died.incarnation == node.incarnation => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) if director.is_dead(&node.node_id) => return,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
