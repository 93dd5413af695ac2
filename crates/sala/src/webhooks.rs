//! What happens in rooms, told to the application: from the engine's events to the webhooks' outbox.

use std::sync::Arc;

use livekit_protocol as proto;
use net::Shards;
use sfu::{RoomEvent, RoomName};
use store::Store;
use tokio::sync::broadcast::error::RecvError;
use webhook::{WebhookConfig, Webhooks};

use crate::config::Config;
use crate::server::Secrets;

/// Starts the webhooks, if there are any to call.
pub(crate) fn start(
    config: &Config,
    secrets: &Secrets,
    store: Arc<dyn Store>,
    node: &str,
) -> anyhow::Result<Option<Webhooks>> {
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
    Ok(Some(Webhooks::start(webhooks, store, node)?))
}

/// Tells what happens from now on, until the shards end.
pub(crate) async fn tell(shards: Shards, webhooks: Arc<Webhooks>) {
    let mut events = shards.subscribe_events();
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
        RoomEvent::Described(_) | RoomEvent::Tail(_) => return None,
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
