//! The engine's vocabulary towards its two neighbours: what the signalling endpoint tells a room, and
//! what a room tells the signalling endpoint and the sockets. Plain data.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use livekit_protocol as proto;
use rtc::Path;
use serde::{Deserialize, Serialize};

use crate::snapshot::{RoomDescription, RoomSnapshot, Tail};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as it travels in the protocol.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<Arc<str>>> From<T> for $name {
            fn from(text: T) -> Self {
                Self(text.into())
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// Name of a room, chosen by the application; unique among live rooms.
    RoomName
}
text_id! {
    /// Identity of a participant, chosen by the application; unique in a room.
    Identity
}
text_id! {
    /// Server-made id of one stay of a participant in a room: `PA_…`.
    ParticipantSid
}
text_id! {
    /// Server-made id of one publication: `TR_…`.
    TrackSid
}

/// One signalling connection. Numbers are given by the signalling endpoint and never used twice in a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// One transport (peer connection) of a room; never used twice in the room's life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct TransportId(pub u32);

/// Everything that a client says when it connects, already authenticated and validated.
#[derive(Clone, Debug)]
pub struct JoinParams {
    pub session: SessionId,
    pub identity: Identity,
    pub name: String,
    pub metadata: String,
    pub attributes: HashMap<String, String>,
    pub kind: proto::participant_info::Kind,
    pub kind_details: Vec<proto::participant_info::KindDetail>,
    /// What the token allows.
    pub permission: proto::ParticipantPermission,
    /// `protocol` and `client_protocol` within are behavioural switches (livekit.md §2.2).
    pub client: proto::ClientInfo,
    /// One peer connection for both directions (the client sent a `join_request`), or two.
    pub single_peer_connection: bool,
    pub auto_subscribe: bool,
    pub auto_subscribe_data_track: bool,
    pub adaptive_stream: bool,
    /// Overrides the room's `congestion_control.allow_pause`.
    pub subscriber_allow_pause: Option<bool>,
    pub add_tracks: Vec<proto::AddTrackRequest>,
    pub publisher_offer: Option<proto::SessionDescription>,
    /// Present when the client wants to resume the stay it had.
    pub resume: Option<Resume>,
    pub ice_servers: Vec<proto::IceServer>,
}

/// A client's wish to go on with an earlier stay (livekit.md §2.12).
#[derive(Clone, Debug)]
pub struct Resume {
    pub participant_sid: String,
    pub reason: i32,
}

/// What a room tells one signalling connection. The order matters and is kept.
#[derive(Clone, Debug)]
pub enum SessionOutput {
    /// To be encoded and written to the socket.
    Response(Box<proto::SignalResponse>),
    /// A fresh token is due with these changes over the claims that the client came with.
    RefreshToken(Box<RefreshToken>),
    /// Nothing more follows: flush, close the WebSocket with 1000.
    Close,
    /// Nothing more follows: flush, then drop the TCP connection without a close frame, so that the client
    /// resumes at once (livekit.md §1.6).
    Abort,
}

/// The changeable part of a participant's claims.
#[derive(Clone, Debug, PartialEq)]
pub struct RefreshToken {
    pub name: String,
    pub metadata: String,
    pub attributes: HashMap<String, String>,
    pub permission: proto::ParticipantPermission,
}

/// What a room produces. Drain with [`crate::Room::poll_output`] after each input.
#[derive(Debug)]
// Events are rare and an output is moved once: a box would cost more than the size.
#[allow(clippy::large_enum_variant)]
pub enum RoomOutput {
    Session(SessionId, SessionOutput),
    /// STUN with this local ufrag, and later datagrams from validated paths, belong to the transport.
    TransportOpened {
        transport: TransportId,
        ufrag: String,
    },
    /// ICE validated this way to the peer: datagrams that come by it belong to the transport.
    PathValidated {
        transport: TransportId,
        path: Path,
    },
    /// Forget the transport's ufrags and paths.
    TransportClosed {
        transport: TransportId,
    },
    /// Something an observer (webhook, log, metric, test) wants to know.
    Event(RoomEvent),
    /// The room has ended; drop it.
    Finished,
}

/// What happens in a room, as webhooks name it (livekit.md §4).
#[derive(Clone, Debug)]
pub enum RoomEvent {
    RoomStarted(proto::Room),
    RoomFinished(proto::Room),
    ParticipantJoined(proto::ParticipantInfo),
    ParticipantLeft(proto::ParticipantInfo),
    ParticipantConnectionAborted(proto::ParticipantInfo),
    TrackPublished(proto::ParticipantInfo, proto::TrackInfo),
    TrackUnpublished(proto::ParticipantInfo, proto::TrackInfo),
    /// What of the room outlives its node has changed; only with [`EngineConfig::describe_rooms`].
    Described(Box<RoomDescription>),
    /// All that a successor needs if the node dies now; with the same condition.
    Mirrored(Arc<RoomSnapshot>),
    /// Said by a client after the room was exported: for the room's successor.
    Tail(Tail),
}

/// What an operator configures for all rooms of a process.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Addresses that media is reachable at, as ICE host candidates of this shard, UDP first.
    pub candidates: Vec<Path>,
    pub ice_lite: bool,
    /// Put before every ICE ufrag: tells a shared listener which shard a client belongs to.
    pub ufrag_prefix: String,
    /// Lower is louder, in −dBov (livekit.md §5.4).
    pub audio_active_level: u8,
    /// Percentage of frames within an interval that must be active.
    pub audio_min_percentile: u8,
    pub audio_update_interval: Duration,
    pub audio_smooth_intervals: u32,
    /// Layers that nobody watches go off after this long.
    pub dynacast_pause_delay: Duration,
    /// Tracks may be paused when the subscriber's bandwidth does not suffice.
    pub allow_pause: bool,
    /// Codecs that may be published, in order of preference.
    pub enabled_codecs: Vec<rtc::Codec>,
    pub enable_remote_unmute: bool,
    /// Rooms tell what outlives their node whenever it changes: for a cluster.
    pub describe_rooms: bool,
    pub limits: Limits,
    /// Shown to clients in `ServerInfo`.
    pub server_info: proto::ServerInfo,
}

/// Upper bounds that a client can run into (livekit.md §7 `limit`).
#[derive(Clone, Debug)]
pub struct Limits {
    pub max_metadata_bytes: usize,
    pub max_attributes_bytes: usize,
    pub max_name_bytes: usize,
    /// Participants of one room, whatever the room's own limit says.
    pub max_participants_per_room: usize,
    /// Publications of one participant.
    pub max_tracks_per_participant: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_metadata_bytes: 512 * 1024,
            max_attributes_bytes: 64 * 1024,
            max_name_bytes: 256,
            max_participants_per_room: 5_000,
            max_tracks_per_participant: 64,
        }
    }
}

/// What a room starts with: `CreateRoomRequest`, the token's `roomConfig` and the defaults, merged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoomOptions {
    pub empty_timeout: Duration,
    pub departure_timeout: Duration,
    /// 0 = unlimited.
    pub max_participants: u32,
    pub metadata: String,
    pub min_playout_delay_ms: u32,
    pub max_playout_delay_ms: u32,
    pub sync_streams: bool,
}

impl Default for RoomOptions {
    fn default() -> Self {
        Self {
            empty_timeout: Duration::from_secs(300),
            departure_timeout: Duration::from_secs(20),
            max_participants: 0,
            metadata: String::new(),
            min_playout_delay_ms: 0,
            max_playout_delay_ms: 0,
            sync_streams: false,
        }
    }
}

/// Why a join was refused before anything was sent to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error(
        "room exceeds its maximum of {0} participants; raise max_participants or wait until somebody leaves"
    )]
    RoomFull(u32),
    #[error("room is closing; join again to start a new one")]
    RoomClosing,
}

/// Why a server-API request failed. Maps to a Twirp code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    #[error("participant does not exist")]
    ParticipantNotFound,
    #[error("track not found")]
    TrackNotFound,
    #[error("cannot unmute track, remote unmute is disabled")]
    RemoteUnmuteDisabled,
    #[error("{0} exceeds the limit of {1} bytes; send less")]
    TooLarge(&'static str, usize),
    #[error("{0}")]
    InvalidArgument(String),
}
