//! What an operator configures for this crate. The `sala` binary builds it from its configuration file.

use std::time::Duration;

use auth::{KeyStore, Secret};
use livekit_protocol as proto;
use sfu::RoomOptions;

/// Everything that the signalling endpoint needs to know.
#[derive(Debug)]
pub struct Config {
    pub keys: KeyStore,
    pub room: RoomPolicy,
    pub limits: Limits,
    /// STUN and TURN servers that clients are told of.
    pub ice_servers: Vec<proto::IceServer>,
    /// The login that creates meetings; `None` switches the meeting API off.
    pub admin: Option<AdminLogin>,
}

/// How rooms come to be.
#[derive(Clone, Debug)]
pub struct RoomPolicy {
    /// Whether a join creates the room. Otherwise only `CreateRoom` does, or a token with `roomCreate`.
    pub auto_create: bool,
    /// Options of a room for which nobody said otherwise.
    pub defaults: RoomOptions,
}

/// User name and password of the meeting page's administrator.
#[derive(Clone, Debug)]
pub struct AdminLogin {
    pub user: String,
    pub password: Secret,
}

/// Upper bounds on what one client can ask for (livekit.md §7 `limit`). Lengths are in bytes of UTF-8.
#[derive(Clone, Debug)]
pub struct Limits {
    pub max_room_name_bytes: usize,
    pub max_participant_identity_bytes: usize,
    pub max_participant_name_bytes: usize,
    pub max_metadata_bytes: usize,
    /// Keys and values of one participant together.
    pub max_attributes_bytes: usize,
    /// One WebSocket message; 0 switches the limit off.
    pub signal_message_bytes: usize,
    /// One HTTP request body; 0 switches the limit off.
    pub api_request_body_bytes: usize,
    /// Open HTTP and WebSocket connections of the process; more wait in the listener's backlog.
    pub max_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_room_name_bytes: 256,
            max_participant_identity_bytes: 256,
            max_participant_name_bytes: 256,
            max_metadata_bytes: 512 * 1024,
            max_attributes_bytes: 64 * 1024,
            signal_message_bytes: 2 << 20,
            api_request_body_bytes: 10 << 20,
            max_connections: 20_000,
        }
    }
}

impl Limits {
    /// The error is the text that LiveKit's server answers with.
    pub(crate) fn check_room_name(&self, name: &str) -> Result<(), String> {
        check_length("room name", name, self.max_room_name_bytes)
    }

    pub(crate) fn check_identity(&self, identity: &str) -> Result<(), String> {
        check_length("participant identity", identity, self.max_participant_identity_bytes)
    }
}

fn check_length(what: &str, text: &str, limit: usize) -> Result<(), String> {
    if text.len() <= limit {
        Ok(())
    } else {
        Err(format!("{what} length exceeds limits: max length {limit}"))
    }
}

impl Config {
    /// The defaults, overridden by what is set (not zero) in `wanted`.
    pub(crate) fn room_options(&self, wanted: Option<&proto::RoomConfiguration>) -> RoomOptions {
        let mut options = self.room.defaults.clone();
        let Some(wanted) = wanted else { return options };
        let seconds = |value: u32| Duration::from_secs(value.into());
        if wanted.empty_timeout > 0 {
            options.empty_timeout = seconds(wanted.empty_timeout);
        }
        if wanted.departure_timeout > 0 {
            options.departure_timeout = seconds(wanted.departure_timeout);
        }
        if wanted.max_participants > 0 {
            options.max_participants = wanted.max_participants;
        }
        if !wanted.metadata.is_empty() {
            options.metadata.clone_from(&wanted.metadata);
        }
        if wanted.min_playout_delay > 0 || wanted.max_playout_delay > 0 {
            options.min_playout_delay_ms = wanted.min_playout_delay;
            options.max_playout_delay_ms = wanted.max_playout_delay;
        }
        options.sync_streams |= wanted.sync_streams;
        options
    }
}

/// The part of `CreateRoomRequest` that tokens can carry too.
pub(crate) fn room_configuration(request: &proto::CreateRoomRequest) -> proto::RoomConfiguration {
    proto::RoomConfiguration {
        empty_timeout: request.empty_timeout,
        departure_timeout: request.departure_timeout,
        max_participants: request.max_participants,
        metadata: request.metadata.clone(),
        min_playout_delay: request.min_playout_delay,
        max_playout_delay: request.max_playout_delay,
        sync_streams: request.sync_streams,
        ..Default::default()
    }
}
