//! What nodes and the operator's tools ask of each other over the internal port: the state of the cluster, and
//! drains.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use cluster::NodeId;
use cluster::control::DrainError;
use cluster::runtime::Master;
use cluster::status::{ClusterStatus, DEFAULT_ROOMS, MAX_EVENTS};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Which {
    rooms: Option<usize>,
    events: Option<usize>,
}

#[derive(Deserialize)]
struct Drain {
    deadline_ms: u64,
    #[serde(default)]
    by: String,
}

#[derive(Clone)]
struct Here {
    master: Master,
    cluster: Arc<str>,
}

/// On masters: `GET /internal/status`, `POST` and `DELETE /internal/drain/{node}`, `GET /internal/ready`.
pub(super) fn routes(master: Master, cluster: String) -> Router {
    Router::new()
        .route("/internal/status", get(status))
        .route("/internal/ready", get(ready))
        .route("/internal/drain/{node}", post(drain).delete(cancel))
        .with_state(Here { master, cluster: cluster.into() })
}

async fn status(State(here): State<Here>, Query(which): Query<Which>) -> Json<ClusterStatus> {
    let (rooms, events) = (which.rooms.unwrap_or(DEFAULT_ROOMS), which.events.unwrap_or(MAX_EVENTS));
    Json(here.master.report(&here.cluster, rooms, events))
}

async fn ready(State(here): State<Here>) -> StatusCode {
    if here.master.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn drain(
    State(here): State<Here>,
    Path(node): Path<String>,
    Json(wish): Json<Drain>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let by = if wish.by.is_empty() { "api".to_owned() } else { wish.by };
    let deadline = Duration::from_millis(wish.deadline_ms);
    answer(here.master.drain(NodeId(node), deadline, &by).await)
}

async fn cancel(
    State(here): State<Here>,
    Path(node): Path<String>,
) -> Result<Json<Value>, (StatusCode, String)> {
    answer(here.master.cancel_drain(NodeId(node)).await)
}

fn answer(result: Result<(), DrainError>) -> Result<Json<Value>, (StatusCode, String)> {
    result.map(|()| Json(json!({}))).map_err(|error| {
        let status = match error {
            DrainError::NoSuchNode(_) | DrainError::NotDraining(_) => StatusCode::NOT_FOUND,
            DrainError::TooLong => StatusCode::BAD_REQUEST,
            DrainError::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, error.to_string())
    })
}
