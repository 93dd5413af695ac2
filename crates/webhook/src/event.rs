//! From what happened to what is sent: a stable id, the fields that LiveKit sends, and the body.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{Context, SHA256};
use livekit_protocol::{ParticipantInfo, Room, WebhookEvent};

/// Body of an id, as of all of LiveKit's ids.
const ID_CHARS: usize = 12;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Fills in id and time if they are not set, and leaves away what LiveKit leaves away.
pub(crate) fn complete(mut event: WebhookEvent, now: SystemTime) -> WebhookEvent {
    if event.created_at == 0 {
        event.created_at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    }
    if event.id.is_empty() {
        event.id = id(&event);
    }
    if event.event.starts_with("track_") {
        event.room = event.room.map(|room| Room { sid: room.sid, name: room.name, ..Room::default() });
        event.participant = event.participant.map(|participant| ParticipantInfo {
            sid: participant.sid,
            identity: participant.identity,
            name: participant.name,
            ..ParticipantInfo::default()
        });
    }
    event
}

/// The same for the same event wherever it is told: a node that takes over a room may tell again what the dead
/// one had told already, and the receiver must see that it is the same.
fn id(event: &WebhookEvent) -> String {
    let mut hash = Context::new(&SHA256);
    let mut add = |part: &str| {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    };
    add(&event.event);
    let once = match event.event.as_str() {
        // These happen once to what the ids below name.
        "room_started"
        | "room_finished"
        | "participant_joined"
        | "participant_left"
        | "participant_connection_aborted"
        | "track_published"
        | "track_unpublished" => true,
        _ => false,
    };
    match once {
        true => {
            // A participant's id is unique without its room's, which may be unknown when the room has ended.
            match &event.participant {
                Some(participant) => add(&participant.sid),
                None => add(event.room.as_ref().map_or("", |room| &room.sid)),
            }
            add(event.track.as_ref().map_or("", |track| &track.sid));
        }
        false => add(&serde_json::to_string(event).unwrap_or_default()),
    }
    let digest = hash.finish();
    let body =
        digest.as_ref().iter().take(ID_CHARS).map(|byte| char::from(ALPHABET[usize::from(*byte) % 62]));
    format!("EV_{}", body.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use livekit_protocol::TrackInfo;

    use super::*;

    fn published(track: &str) -> WebhookEvent {
        WebhookEvent {
            event: "track_published".into(),
            room: Some(Room {
                sid: "RM_1".into(),
                name: "a".into(),
                metadata: "m".into(),
                ..Room::default()
            }),
            participant: Some(ParticipantInfo {
                sid: "PA_1".into(),
                identity: "ann".into(),
                metadata: "secret".into(),
                ..ParticipantInfo::default()
            }),
            track: Some(TrackInfo { sid: track.into(), ..TrackInfo::default() }),
            ..WebhookEvent::default()
        }
    }

    #[test]
    fn an_event_told_twice_has_one_id() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let first = complete(published("TR_1"), at(10));
        assert_eq!(first.id, complete(published("TR_1"), at(20)).id);
        assert_ne!(first.id, complete(published("TR_2"), at(10)).id);
        assert!(first.id.starts_with("EV_") && first.id.len() == 15, "{}", first.id);
        let mut unpublished = published("TR_1");
        unpublished.event = "track_unpublished".into();
        assert_ne!(first.id, complete(unpublished, at(10)).id);
    }

    #[test]
    fn events_that_repeat_have_ids_of_their_own() {
        let updated = |created_at| WebhookEvent {
            event: "egress_updated".into(),
            created_at,
            ..WebhookEvent::default()
        };
        assert_ne!(complete(updated(1), UNIX_EPOCH).id, complete(updated(2), UNIX_EPOCH).id);
    }

    #[test]
    fn the_body_is_written_as_livekit_writes_it() {
        let event = complete(published("TR_1"), UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let body = serde_json::to_value(&event).expect("JSON");
        let expected = serde_json::json!({
            "event": "track_published",
            "room": { "sid": "RM_1", "name": "a" },
            "participant": { "sid": "PA_1", "identity": "ann" },
            "track": { "sid": "TR_1" },
            "id": event.id,
            "createdAt": "1700000000",
        });
        assert_eq!(body, expected);
    }
}
