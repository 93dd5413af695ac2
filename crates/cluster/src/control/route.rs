//! The answer to "where is this room?".

use std::net::SocketAddr;

use super::placement::PlacementError;
use crate::record::{Epoch, NodeId};

/// Where a room is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub node: NodeId,
    /// Of the node's process.
    pub incarnation: u64,
    /// Internal address of the node.
    pub address: SocketAddr,
    pub epoch: Epoch,
}

/// Why a room cannot be reached now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("there is no room of this name; create it, or join with a token that may")]
    NoSuchRoom,
    #[error(transparent)]
    Placement(#[from] PlacementError),
    #[error("the room's node has died and no other has taken it over in time; try again")]
    NotReplacedInTime,
    #[error("this master cannot reach the store while others can; try again through another master")]
    NoStore,
    #[error("too many requests wait for rooms to be placed; try again in a few seconds")]
    TooManyWaiting,
    #[error("this master is still starting; try again in a second, or through another master")]
    Starting,
}
