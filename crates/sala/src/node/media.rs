//! A media node: shards and the signalling endpoint behind the internal port, and the orders of the control
//! plane carried out on them.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cluster::DrainRecord;
use cluster::NodeId;
use cluster::control::{NodeCommand, drain_key};
use cluster::gateway::TrustedHeaders;
use cluster::link::InternalClient;
use cluster::media::{Mirroring, Mirrors, Mover, routes};
use cluster::runtime::Node;
use livekit_protocol::DisconnectReason;
use net::{InstallError, Shards};
use serde::Deserialize;
use sfu::{Identity, Room, RoomDescription, RoomEvent, RoomName};
use store::{Entry, Store, Txn};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinHandle;

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
    let mirrors = Arc::new(Mirrors::default());
    let mirroring = Mirroring::new(node.clone(), client.clone(), mirrors.clone());
    let successor = Successor { node: node.clone(), shards: shards.clone(), mirroring: mirroring.clone() };
    let told = node.clone();
    let prepared = Arc::new(move |room: &RoomName| told.room_prepared(room.as_str()));
    let router = signal::router(Arc::new(server))
        .route("/internal/knows", get(knows).with_state(shards.clone()))
        .layer(from_fn_with_state(successor.clone(), admit))
        .merge(routes(shards.clone(), mirrors, prepared));
    tokio::spawn(report(shards.clone(), node.clone(), mirroring));
    let mover = Arc::new(Mover::new(shards.clone(), client.clone()));
    let (drained, was_drained) = watch::channel(false);
    let orders = Orders { shards: shards.clone(), node: node.clone(), successor, mover, drained };
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
async fn report(shards: Shards, node: Node, mirroring: Arc<Mirroring>) {
    let mut events = shards.subscribe_events();
    loop {
        match events.recv().await {
            Ok((room, RoomEvent::Described(description))) => {
                if let Ok(description) = serde_json::to_value(&*description) {
                    node.room_changed(room.as_str(), description);
                }
            }
            Ok((room, RoomEvent::Mirrored(mirror))) => mirroring.changed(room, mirror),
            Ok((room, RoomEvent::RoomFinished(_))) => {
                node.room_ended(room.as_str());
                mirroring.ended(&room).await;
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
    successor: Successor,
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
                    self.successor.clone().restore(room, description);
                }
            }
            NodeCommand::Activate { room, epoch } => tracing::info!(room, %epoch, "a room has moved here"),
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

/// Goes on with rooms whose nodes have died.
#[derive(Clone)]
struct Successor {
    node: Node,
    shards: Shards,
    mirroring: Arc<Mirroring>,
}

impl Successor {
    /// Begins a room from its mirror, or else from its description. A task of its own, because the room stays
    /// closed until it is done.
    fn restore(self, room: String, description: serde_json::Value) -> JoinHandle<()> {
        tokio::spawn(async move {
            let _opens = Opens { node: &self.node, room: &room };
            let name = RoomName::from(room.as_str());
            match serde_json::from_value(description) {
                Ok(description) => self.begin(&name, description).await,
                Err(error) => {
                    tracing::warn!(room, %error, "the room's description cannot be read; it begins anew")
                }
            }
        })
    }

    async fn begin(&self, room: &RoomName, description: RoomDescription) {
        let participants = description.participants.len();
        // Of an empty room nothing is mirrored that its description does not say.
        let mirror = match participants {
            0 => None,
            _ => self.mirroring.find(room, &description).await,
        };
        let mirrored = mirror.is_some();
        let begun = match mirror {
            None => self.shards.restore(room, description).await,
            Some(mirror) => match self.shards.revive(room, mirror).await {
                Err(InstallError::Snapshot(error)) => {
                    tracing::warn!(%room, error, "the room's mirror cannot be read");
                    self.shards.restore(room, description).await
                }
                revived => revived,
            },
        };
        match begun {
            Ok(()) => tracing::info!(%room, participants, mirrored, "the room goes on here"),
            Err(InstallError::Exists) => {}
            Err(error) => tracing::warn!(%room, %error, "the room begins anew"),
        }
    }
}

/// Opens a room to clients, whatever becomes of the attempt to begin it.
struct Opens<'a> {
    node: &'a Node,
    room: &'a str,
}

impl Drop for Opens<'_> {
    fn drop(&mut self) {
        self.node.restored(self.room);
    }
}

#[derive(Deserialize)]
struct Who {
    room: String,
    identity: String,
}

/// Whether a participant can resume: masters ask before they tell the clients of a dead node what to do.
async fn knows(State(shards): State<Shards>, Query(who): Query<Who>) -> StatusCode {
    let identity = Identity::from(who.identity);
    let known = shards.with_room(&who.room.into(), move |room, _| room.knows(&identity)).await;
    if known == Some(true) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

/// Every request comes from a master, which says for which room and from whom. A room that is not this node's
/// is refused before anything happens: the master then finds out anew where it is.
async fn admit(State(here): State<Successor>, mut request: Request, next: Next) -> Response {
    let trusted = match TrustedHeaders::read(request.headers()) {
        Ok(trusted) => trusted,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    match &trusted.room {
        None => {
            request.extensions_mut().insert(signal::Unrouted);
        }
        Some(claim) => match here.node.admit(&claim.name, &claim.epoch).await {
            Ok((_, Some(description))) => {
                if let Err(error) = here.clone().restore(claim.name.clone(), description).await {
                    tracing::error!(%error, "a room could not be begun");
                }
            }
            Ok((_, None)) => {}
            Err(error) => return (StatusCode::MISDIRECTED_REQUEST, error.to_string()).into_response(),
        },
    }
    request.extensions_mut().insert(ConnectInfo(trusted.client));
    next.run(request).await
}
