//! What nodes and the operator's tools ask of each other over the internal port: the state of the cluster, and
//! drains.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use cluster::NodeId;
use cluster::control::DrainError;
use cluster::runtime::Master;
use serde::Deserialize;
use serde_json::{Value, json};

use super::status::Journal;

/// Rooms that are listed unless more are asked for.
const DEFAULT_ROOMS: usize = 200;

#[derive(Deserialize)]
struct Which {
    rooms: Option<usize>,
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
    journal: Journal,
}

/// On masters: `GET /internal/status`, `POST` and `DELETE /internal/drain/{node}`, `GET /internal/ready`.
pub(super) fn routes(master: Master, journal: Journal) -> Router {
    Router::new()
        .route("/internal/status", get(status))
        .route("/internal/ready", get(ready))
        .route("/internal/drain/{node}", post(drain).delete(cancel))
        .with_state(Here { master, journal })
}

async fn status(State(here): State<Here>, Query(which): Query<Which>) -> Json<Value> {
    Json(here.journal.status(which.rooms.unwrap_or(DEFAULT_ROOMS)))
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
