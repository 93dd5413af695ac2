//! What other media nodes ask of this one when a room moves here. Served on the internal port only: who calls
//! has proved to be a node of the cluster.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use net::{InstallError, RelayEnd, Shards};
use serde::{Deserialize, Serialize};
use sfu::{Room, RoomName, RoomSnapshot, Tail};

use super::Mirrors;
use crate::NodeId;

/// A snapshot of five thousand participants with their negotiations.
pub(super) const MAX_SNAPSHOT_BYTES: usize = 256 * 1024 * 1024;

/// The answer to an import.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Imported {
    /// Where bridges for the room's clients are to lead.
    pub(super) relay: SocketAddr,
}

#[derive(Deserialize)]
struct Which {
    room: String,
}

#[derive(Deserialize)]
struct Whose {
    room: String,
    owner: String,
}

impl Which {
    fn name(&self) -> RoomName {
        self.room.as_str().into()
    }
}

/// Is told of a room that was imported here and waits for the cluster's agreement.
pub type Prepared = dyn Fn(&RoomName) + Send + Sync;

#[derive(Clone)]
struct Here {
    mirrors: Arc<Mirrors>,
    shards: Shards,
    prepared: Arc<Prepared>,
}

/// `POST /internal/rooms/{import,relays,tail,abandon}?room=…`; `PUT`, `GET` and `DELETE /internal/mirrors?room=…&owner=…` for
/// `mirrors`. The control plane learns by `prepared` what was
/// imported, before the source learns that it was.
pub fn routes(shards: Shards, mirrors: Arc<Mirrors>, prepared: Arc<Prepared>) -> Router {
    Router::new()
        .route("/internal/rooms/import", post(import))
        .route("/internal/rooms/relays", post(relays))
        .route("/internal/rooms/tail", post(tail))
        .route("/internal/rooms/abandon", post(abandon))
        .route("/internal/mirrors", get(mirror).put(keep_mirror).delete(release_mirror))
        .layer(DefaultBodyLimit::max(MAX_SNAPSHOT_BYTES))
        .with_state(Here { mirrors, shards, prepared })
}

async fn import(
    State(here): State<Here>,
    Query(which): Query<Which>,
    Json(snapshot): Json<RoomSnapshot>,
) -> Result<Json<Imported>, (StatusCode, String)> {
    let name = which.name();
    tracing::info!(room = %name, participants = snapshot.participants(), "a room moves here");
    match here.shards.import(&name, snapshot).await {
        Ok(relay) => {
            (here.prepared)(&name);
            Ok(Json(Imported { relay }))
        }
        Err(error) => {
            let status = match error {
                InstallError::Exists | InstallError::Lingers => StatusCode::CONFLICT,
                InstallError::Snapshot(_) => StatusCode::UNPROCESSABLE_ENTITY,
                InstallError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            };
            Err((status, error.to_string()))
        }
    }
}

async fn relays(State(here): State<Here>, Query(which): Query<Which>, Json(ends): Json<Vec<RelayEnd>>) {
    here.shards.admit_relays(&which.name(), ends).await;
}

async fn tail(
    State(here): State<Here>,
    Query(which): Query<Which>,
    Json(tail): Json<Tail>,
) -> Result<(), (StatusCode, &'static str)> {
    let told = here.shards.with_room(&which.name(), |room, now| room.tail(now, tail)).await;
    told.ok_or((StatusCode::NOT_FOUND, "the room is not here"))
}

/// The room stays where it was.
async fn abandon(State(here): State<Here>, Query(which): Query<Which>) {
    here.shards.with_room(&which.name(), |room, _| Room::abandon(room)).await;
}

/// What is kept of a room for whoever takes it over.
async fn mirror(State(here): State<Here>, Query(which): Query<Which>) -> Result<Bytes, StatusCode> {
    here.mirrors.get(&which.name()).ok_or(StatusCode::NOT_FOUND)
}

async fn keep_mirror(State(here): State<Here>, Query(whose): Query<Whose>, mirror: Bytes) -> StatusCode {
    match here.mirrors.keep(whose.room.into(), NodeId(whose.owner), mirror) {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::INSUFFICIENT_STORAGE,
    }
}

async fn release_mirror(State(here): State<Here>, Query(whose): Query<Whose>) {
    here.mirrors.release(&whose.room.into(), &NodeId(whose.owner));
}
