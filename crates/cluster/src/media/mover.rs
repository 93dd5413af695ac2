//! Moving a room away: see the module above.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use net::Shards;
use serde::Serialize;
use sfu::{Room, RoomEvent, RoomName, RoomSnapshot, Tail};
use tokio::sync::broadcast::error::RecvError;

use super::routes::Imported;
use crate::NodeId;
use crate::link::{InternalClient, RequestError};

/// Answers between media nodes are a few bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why a room stayed where it is.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("the room is not here, or moves already")]
    NotHere,
    #[error("the room's snapshot could not be written: {0}; please report this")]
    Snapshot(serde_json::Error),
    #[error(transparent)]
    Request(#[from] RequestError),
    /// `409`: the target cannot take this room now, another may.
    #[error("node {node} did not take the room: {status} {text}")]
    Refused { node: NodeId, status: StatusCode, text: String },
}

/// What clients say while the target imports their room is kept up to this many; an import takes milliseconds.
const MAX_KEPT_TAILS: usize = 4_096;

/// Where a room's clients speak to now.
#[derive(Clone)]
struct Destination {
    node: NodeId,
    address: SocketAddr,
}

/// Longer than any client lingers at a room that has left (20 s).
const REMEMBERED: Duration = Duration::from_secs(30);

/// A room on its way.
struct Journey {
    /// Tells this journey from the room's next.
    number: u64,
    destination: Destination,
    /// What clients said since the export, as long as the target has no room to tell it to.
    kept: Option<Vec<Tail>>,
}

/// Moves rooms of this node to others.
pub struct Mover {
    shards: Shards,
    client: InternalClient,
    /// Rooms under way, and those that left lately. Bounded by the rooms of the node.
    moving: Arc<Mutex<HashMap<RoomName, Journey>>>,
}

impl Mover {
    /// Also starts the task that sends on what clients say to rooms that have been exported; it ends with the
    /// shards.
    pub fn new(shards: Shards, client: InternalClient) -> Mover {
        let mover = Mover { shards, client, moving: Arc::default() };
        mover.send_tails();
        mover
    }

    /// Exports `room` and has `node` import it; clients notice nothing yet. To be followed by
    /// [`Self::complete`] when the cluster agrees, or by [`Self::abort`].
    ///
    /// # Errors
    ///
    /// With any error the room goes on here.
    pub async fn prepare(
        &self,
        room: &RoomName,
        node: &NodeId,
        address: SocketAddr,
    ) -> Result<(), MoveError> {
        let destination = Destination { node: node.clone(), address };
        let (moving, name) = (self.moving.clone(), room.clone());
        let journey =
            Journey { number: fastrand::u64(..), destination: destination.clone(), kept: Some(Vec::new()) };
        let export = move |room: &mut Room, now| {
            (!room.is_moving()).then(|| {
                // Before anybody can say a word to the exported room.
                lock(&moving).insert(name, journey);
                room.export(now)
            })
        };
        let exported = self.shards.with_room(room, export).await.flatten();
        let Some(snapshot) = exported else { return Err(MoveError::NotHere) };
        let prepared = self.hand_over(room, &destination, &snapshot).await;
        if prepared.is_err() {
            self.abort(room).await;
        }
        prepared
    }

    async fn hand_over(
        &self,
        room: &RoomName,
        destination: &Destination,
        snapshot: &RoomSnapshot,
    ) -> Result<(), MoveError> {
        let answer = self.post(destination, "import", room, snapshot).await?;
        let imported: Imported = serde_json::from_slice(&answer).map_err(MoveError::Snapshot)?;
        let ends = self.shards.open_relays(room, imported.relay).await;
        self.post(destination, "relays", room, &ends).await?;
        while let Some(tails) = self.take_kept(room) {
            for tail in tails {
                self.post(destination, "tail", room, &tail).await?;
            }
        }
        Ok(())
    }

    /// What clients have said since the last call; `None` from when on it is told as it comes.
    fn take_kept(&self, room: &RoomName) -> Option<Vec<Tail>> {
        let mut moving = lock(&self.moving);
        let kept = &mut moving.get_mut(room)?.kept;
        match kept.as_mut()? {
            tails if tails.is_empty() => *kept = None,
            tails => return Some(std::mem::take(tails)),
        }
        None
    }

    /// The cluster has agreed: the clients go to the room's new node.
    pub async fn complete(&self, room: &RoomName) {
        self.shards.with_room(room, |room, now| room.release(now)).await;
        let (moving, room) = (self.moving.clone(), room.clone());
        let departed = lock(&moving).get(&room).map(|journey| journey.number);
        tokio::spawn(async move {
            tokio::time::sleep(REMEMBERED).await;
            lock(&moving).retain(|name, journey| *name != room || Some(journey.number) != departed);
        });
    }

    /// The room stays here. If the target cannot be told it gives the room up by itself: no client comes.
    pub async fn abort(&self, room: &RoomName) {
        let Some(Journey { destination, .. }) = lock(&self.moving).remove(room) else { return };
        // The room itself remembers what was said to it meanwhile. It does not wait for a target that may be dead.
        self.shards.with_room(room, |room, now| room.stay(now)).await;
        if let Err(error) = self.post(&destination, "abandon", room, &()).await {
            tracing::debug!(%room, %error, "the target was not told that the room stays");
        }
    }

    async fn post(
        &self,
        to: &Destination,
        what: &str,
        room: &RoomName,
        body: &impl Serialize,
    ) -> Result<Vec<u8>, MoveError> {
        post(&self.client, to, what, room, body).await
    }

    /// Sends on, in order, what clients say to rooms that have been exported.
    fn send_tails(&self) {
        let mut events = self.shards.subscribe_events();
        let (client, moving) = (self.client.clone(), self.moving.clone());
        tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok((room, RoomEvent::Tail(tail))) => send_tail(&client, &moving, &room, tail).await,
                    Ok(_) => {}
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "some of what clients said while their room moved is lost");
                    }
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }
}

fn lock(moving: &Mutex<HashMap<RoomName, Journey>>) -> MutexGuard<'_, HashMap<RoomName, Journey>> {
    moving.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the room's new node, or keeps it until that has the room.
async fn send_tail(
    client: &InternalClient,
    moving: &Mutex<HashMap<RoomName, Journey>>,
    room: &RoomName,
    tail: Tail,
) {
    let destination = {
        let mut moving = lock(moving);
        let Some(journey) = moving.get_mut(room) else { return };
        match &mut journey.kept {
            None => journey.destination.clone(),
            Some(kept) if kept.len() < MAX_KEPT_TAILS => return kept.push(tail),
            Some(_) => {
                tracing::warn!(%room, "what a client said while its room moved is lost: too much was said");
                return;
            }
        }
    };
    if let Err(error) = post(client, &destination, "tail", room, &tail).await {
        tracing::warn!(%room, %error, "what a client said while its room moved is lost");
    }
}

async fn post(
    client: &InternalClient,
    to: &Destination,
    what: &str,
    room: &RoomName,
    body: &impl Serialize,
) -> Result<Vec<u8>, MoveError> {
    let body = serde_json::to_vec(body).map_err(MoveError::Snapshot)?;
    let name: String = form_urlencoded::byte_serialize(room.as_str().as_bytes()).collect();
    let request = Request::post(format!("/internal/rooms/{what}?room={name}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, body.len())
        .body(Body::from(body))
        .expect("the path is encoded");
    let response = client.request(to.address, &to.node, request).await?;
    let status = response.status();
    let collected = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    let answer = collected
        .map(|answer| answer.to_bytes().to_vec())
        .map_err(|error| RequestError::Broken { node: to.node.clone(), error: error.to_string() })?;
    if status.is_success() {
        return Ok(answer);
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    Err(MoveError::Refused { node: to.node.clone(), status, text })
}
