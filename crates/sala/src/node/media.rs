//! A media node: shards and the signalling endpoint behind the internal port, and the orders of the control
//! plane carried out on them.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use cluster::DrainRecord;
use cluster::NodeId;
use cluster::control::{NodeCommand, drain_key};
use cluster::gateway::TrustedHeaders;
use cluster::link::InternalClient;
use cluster::media::{Mover, routes};
use cluster::runtime::Node;
use livekit_protocol::DisconnectReason;
use net::Shards;
use sfu::{Room, RoomEvent, RoomName};
use store::{Entry, Store, Txn};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use crate::config::Config;
use crate::server::{Secrets, signal_config, wait_for_stop};
use crate::webhooks::Telling;
use crate::{web, webhooks};

pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) secrets: &'a Secrets,
    pub(super) shards: &'a Shards,
    pub(super) id: &'a NodeId,
    pub(super) node: &'a Node,
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) client: &'a InternalClient,
}

pub(super) struct Media {
    shards: Shards,
    id: NodeId,
    store: Arc<dyn Store>,
    drained: watch::Receiver<bool>,
    webhooks: Option<Telling>,
}

/// Starts the tasks; returns the routes of the internal port.
pub(super) fn start(parts: Parts<'_>) -> anyhow::Result<(Media, Router)> {
    let Parts { config, secrets, shards, id, node, store, client } = parts;
    let server = signal::Server::new(signal_config(config, secrets), shards.clone(), web::pages());
    let gate = Gate { node: node.clone(), shards: shards.clone() };
    let told = node.clone();
    let prepared = Arc::new(move |room: &RoomName| told.room_prepared(room.as_str()));
    let router = signal::router(Arc::new(server))
        .layer(from_fn_with_state(gate, admit))
        .merge(routes(shards.clone(), prepared));
    tokio::spawn(report(shards.clone(), node.clone()));
    let mover = Arc::new(Mover::new(shards.clone(), client.clone()));
    let (drained, was_drained) = watch::channel(false);
    let orders = Orders { shards: shards.clone(), node: node.clone(), mover, drained };
    tokio::spawn(orders.carry_out());
    let webhooks = webhooks::start(config, secrets, shards, store.clone(), &id.0)?;
    let media = Media {
        shards: shards.clone(),
        id: id.clone(),
        store: store.clone(),
        drained: was_drained,
        webhooks,
    };
    Ok((media, router))
}

impl Media {
    /// Empties the node because it stops: rooms move to others. A second signal, or the deadline, ends that.
    pub(super) async fn drain(&self, deadline: Duration) {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let record = DrainRecord {
            node: self.id.clone(),
            started_at_ms: now_ms,
            deadline_ms: now_ms + deadline.as_millis() as i64,
            by: "signal".to_owned(),
        };
        let key = drain_key(&self.id);
        let value = match serde_json::to_vec(&record) {
            Ok(value) => value,
            Err(_) => return,
        };
        let begun = self.store.commit(Txn::new().if_absent(key.clone()).put(key.clone(), value)).await;
        let ours = match begun {
            // Not: somebody else drains it, who wants it to stay so after a start.
            Ok(committed) => committed.succeeded || committed.current.iter().flatten().any(is_of_a_stop),
            Err(error) => {
                tracing::warn!(%error, "rooms cannot move away: the store does not answer; stopping without");
                return;
            }
        };
        tracing::info!(
            deadline_s = deadline.as_secs(),
            "draining: rooms move to other nodes; signal again to stop at once"
        );
        let mut drained = self.drained.clone();
        tokio::select! {
            _ = drained.wait_for(|drained| *drained) => tracing::info!("this node is empty"),
            () = tokio::time::sleep(deadline) => tracing::warn!("not everything has moved within the deadline"),
            _ = wait_for_stop() => tracing::warn!("not waiting for the rest to move"),
        }
        // Clients that are between the nodes still come by this one.
        self.wait_for_bridges(deadline).await;
        // It was for this stop: after a start the node serves again.
        if ours && let Err(error) = self.store.commit(Txn::new().delete(key)).await {
            tracing::warn!(%error, "the note of the drain stays; after a start use `sala drain --cancel`");
        }
    }

    async fn wait_for_bridges(&self, deadline: Duration) {
        let end = tokio::time::Instant::now() + deadline.min(Duration::from_secs(20));
        while self.shards.stats().await.rooms > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(super) async fn stop(self) {
        self.shards.shutdown().await;
        if let Some(webhooks) = self.webhooks {
            webhooks.stop().await;
        }
    }
}

/// Whether a drain is that of a process which stops, this one or the one before.
fn is_of_a_stop(entry: &Entry) -> bool {
    serde_json::from_slice::<DrainRecord>(&entry.value).is_ok_and(|record| record.by == "signal")
}

/// What happens in rooms, told to the control plane.
async fn report(shards: Shards, node: Node) {
    let mut events = shards.subscribe_events();
    loop {
        match events.recv().await {
            Ok((room, RoomEvent::Described(description))) => {
                if let Ok(description) = serde_json::to_value(&*description) {
                    node.room_changed(room.as_str(), description);
                }
            }
            Ok((room, RoomEvent::RoomFinished(_))) => {
                node.room_ended(room.as_str());
            }
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "the control plane missed events of rooms")
            }
            Err(RecvError::Closed) => return,
        }
    }
}

struct Orders {
    shards: Shards,
    node: Node,
    mover: Arc<Mover>,
    drained: watch::Sender<bool>,
}

impl Orders {
    async fn carry_out(self) {
        loop {
            let command = self.node.next_command().await;
            self.one(command).await;
        }
    }

    async fn one(&self, command: NodeCommand) {
        match command {
            NodeCommand::FenceNow => {
                tracing::warn!("fenced: the cluster does not confirm this node, its rooms go to others");
                self.shards.abandon_all().await;
            }
            NodeCommand::Registered { incarnation } => {
                tracing::info!(incarnation, "registered in the cluster")
            }
            NodeCommand::TakeOver { room, epoch, description } => {
                tracing::info!(room, %epoch, "taking over a room whose node has died");
                if let Some(description) = description {
                    restore(&self.shards, &room.as_str().into(), description).await;
                }
            }
            NodeCommand::Activate { room, epoch } => {
                tracing::info!(room, %epoch, "a room has moved here");
                self.shards.with_room(&room.as_str().into(), |room, now| room.activate(now)).await;
            }
            NodeCommand::DropPrepared { room } => {
                self.shards.with_room(&room.as_str().into(), |room, _| Room::abandon(room)).await;
            }
            NodeCommand::DropRoom { room } => {
                tracing::warn!(room, "another node serves this room; its clients go there");
                self.shards.with_room(&room.as_str().into(), |room, now| room.send_away(now)).await;
            }
            NodeCommand::CloseRoom { room } => {
                let close = |room: &mut Room, now| room.close(now, DisconnectReason::ServerShutdown);
                self.shards.with_room(&room.as_str().into(), close).await;
            }
            NodeCommand::EpochChanged { room, epoch } => tracing::debug!(room, %epoch, "settled"),
            NodeCommand::MoveRoom { room, target, address, .. } => {
                let (mover, node) = (self.mover.clone(), self.node.clone());
                tokio::spawn(async move {
                    let name = RoomName::from(room.as_str());
                    let prepared = mover.prepare(&name, &target, address).await;
                    if let Err(error) = &prepared {
                        tracing::info!(room, %target, %error, "the room stays for now");
                    }
                    node.move_prepared(&room, prepared.is_ok());
                });
            }
            NodeCommand::Moved { room, target, epoch, .. } => {
                tracing::info!(room, %target, %epoch, "a room has moved away");
                self.mover.complete(&room.as_str().into()).await;
            }
            NodeCommand::MoveAborted { room, target, .. } => {
                tracing::info!(room, %target, "the room stays");
                let mover = self.mover.clone();
                tokio::spawn(async move { mover.abort(&room.as_str().into()).await });
            }
            NodeCommand::Draining(draining) => {
                tracing::info!(draining, "drain");
                if !draining {
                    self.drained.send_replace(false);
                }
            }
            NodeCommand::Drained => {
                self.drained.send_replace(true);
            }
        }
    }
}

async fn restore(shards: &Shards, room: &RoomName, description: serde_json::Value) {
    match serde_json::from_value(description) {
        Ok(description) => match shards.restore(room, description).await {
            Ok(()) | Err(net::InstallError::Exists) => {}
            Err(error) => tracing::warn!(%room, %error, "the room begins anew"),
        },
        Err(error) => tracing::warn!(%room, %error, "the room's description cannot be read; it begins anew"),
    }
}

#[derive(Clone)]
struct Gate {
    node: Node,
    shards: Shards,
}

/// Every request comes from a master, which says for which room and from whom. A room that is not this node's
/// is refused before anything happens: the master then finds out anew where it is.
async fn admit(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let trusted = match TrustedHeaders::read(request.headers()) {
        Ok(trusted) => trusted,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    match &trusted.room {
        None => {
            request.extensions_mut().insert(signal::Unrouted);
        }
        Some(claim) => match gate.node.admit(&claim.name, &claim.epoch).await {
            Ok((_, Some(description))) => {
                restore(&gate.shards, &claim.name.as_str().into(), description).await;
            }
            Ok((_, None)) => {}
            Err(error) => return (StatusCode::MISDIRECTED_REQUEST, error.to_string()).into_response(),
        },
    }
    request.extensions_mut().insert(ConnectInfo(trusted.client));
    next.run(request).await
}
