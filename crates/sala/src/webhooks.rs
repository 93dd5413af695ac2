//! What happens in rooms, told to the application: from the engine's events to the webhooks' outbox.

use std::sync::Arc;
use std::time::Duration;

use livekit_protocol as proto;
use net::Shards;
use sfu::{RoomEvent, RoomName};
use store::Store;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use webhook::{WebhookConfig, Webhooks};

use crate::config::Config;
use crate::server::Secrets;

/// Webhooks that are due get this long when the process stops. What is left is delivered by another node, or
/// after the next start.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// The last events of rooms that end with the process get this long to be stored.
const LAST_EVENTS: Duration = Duration::from_millis(100);

/// Running webhooks, and the task that feeds them.
pub(crate) struct Telling {
    webhooks: Arc<Webhooks>,
    task: JoinHandle<()>,
}

impl Telling {
    /// Ends after a short while. The rooms have ended before.
    pub(crate) async fn stop(self) {
        tokio::time::sleep(LAST_EVENTS).await;
        self.task.abort();
        // It was aborted: that is what it says.
        let _ = self.task.await;
        if let Some(webhooks) = Arc::into_inner(self.webhooks) {
            webhooks.shutdown(SHUTDOWN).await;
        }
    }
}

/// Starts the webhooks of what happens from now on, if there are any to call.
pub(crate) fn start(
    config: &Config,
    secrets: &Secrets,
    shards: &Shards,
    store: Arc<dyn Store>,
    node: &str,
) -> anyhow::Result<Option<Telling>> {
    if config.webhook.urls.is_empty() {
        return Ok(None);
    }
    let (key, secret) = match &config.webhook.api_key {
        None => secrets.keys.first(),
        Some(key) => match secrets.keys.secret(key) {
            Some(secret) => (key.as_str(), secret),
            None => anyhow::bail!("webhook.api_key `{key}` is none of the configured keys; add it to keys"),
        },
    };
    let webhooks = WebhookConfig::new(config.webhook.urls.clone(), key, secret.clone());
    let webhooks = Arc::new(Webhooks::start(webhooks, store, node)?);
    let task = tokio::spawn(tell(shards.clone(), shards.subscribe_events(), webhooks.clone()));
    Ok(Some(Telling { webhooks, task }))
}

async fn tell(shards: Shards, mut events: Receiver<(RoomName, RoomEvent)>, webhooks: Arc<Webhooks>) {
    loop {
        match events.recv().await {
            Ok((room, event)) => {
                if let Some(event) = webhook_event(&shards, &room, event).await {
                    webhooks.notify(room.as_str(), event);
                }
            }
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "webhooks of some events are lost"),
            Err(RecvError::Closed) => return,
        }
    }
}

async fn webhook_event(shards: &Shards, name: &RoomName, event: RoomEvent) -> Option<proto::WebhookEvent> {
    let (event, room, participant, track) = match event {
        RoomEvent::RoomStarted(room) => ("room_started", Some(room), None, None),
        RoomEvent::RoomFinished(room) => ("room_finished", Some(room), None, None),
        RoomEvent::ParticipantJoined(who) => ("participant_joined", None, Some(who), None),
        RoomEvent::ParticipantLeft(who) => ("participant_left", None, Some(who), None),
        RoomEvent::ParticipantConnectionAborted(who) => {
            ("participant_connection_aborted", None, Some(who), None)
        }
        RoomEvent::TrackPublished(who, track) => ("track_published", None, Some(who), Some(track)),
        RoomEvent::TrackUnpublished(who, track) => ("track_unpublished", None, Some(who), Some(track)),
        RoomEvent::Described(_) | RoomEvent::Mirrored(_) | RoomEvent::Tail(_) => return None,
    };
    let room = match room {
        Some(room) => Some(room),
        None => shards.with_room(name, |room, _| room.info()).await,
    };
    // The room may have ended meanwhile: its name is known.
    let room = room.unwrap_or_else(|| proto::Room { name: name.to_string(), ..Default::default() });
    Some(proto::WebhookEvent {
        event: event.to_owned(),
        room: Some(room),
        participant,
        track,
        ..Default::default()
    })
}
