//! The gateway's questions, answered by a [`Master`].

use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use super::handles::Master;
use crate::control;
use crate::gateway::{Director, MediaNode, Route, RouteError};
use crate::record::{Death, NodeId};

impl Director for Master {
    fn route<'a>(&'a self, room: &'a str, create: bool) -> BoxFuture<'a, Result<Route, RouteError>> {
        Box::pin(async move {
            let found = Master::route(self, room, create).await;
            found
                .map(|route| Route {
                    node: MediaNode {
                        node_id: route.node,
                        incarnation: route.incarnation,
                        address: route.address,
                    },
                    epoch: route.epoch,
                })
                .map_err(|error| match error {
                    control::RouteError::NoSuchRoom => RouteError::RoomNotFound,
                    control::RouteError::Placement(_) => RouteError::NoMediaNode,
                    error => RouteError::Unavailable(error.to_string()),
                })
        })
    }

    fn media_nodes(&self) -> Vec<MediaNode> {
        Master::media_nodes(self)
    }

    fn is_ready(&self) -> bool {
        Master::is_ready(self)
    }

    fn is_dead(&self, node: &NodeId) -> bool {
        Master::is_dead(self, node)
    }

    fn deaths(&self) -> broadcast::Receiver<Death> {
        Master::deaths(self)
    }
}
