//! A room carried from one node to another while its meeting goes on, and what outlives a node's death.
//!
//! A [`RoomSnapshot`] is everything that clients must find unchanged after they have moved: who is there with
//! which ids, what is published and followed, how each connection was negotiated. It holds no key material
//! and no media. A [`RoomDescription`] is the little that the cluster's store keeps of each room: enough to
//! start it again under the same name when its node has died, and to know whom to expect.
//!
//! Both travel as JSON between nodes that may run different versions: fields are added with defaults and
//! never change their meaning. Messages of LiveKit's protocol are in them in encoded form: see [`wire`].

mod wire;

use std::collections::HashMap;

use livekit_protocol as proto;
use rtc::transport::Fingerprint;
use rtc::{Codec, MediaKind, Mid, PeerSnapshot, Rid};
use serde::{Deserialize, Serialize};

use crate::api::RoomOptions;

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoomSnapshot {
    pub(crate) sid: String,
    pub(crate) created_ms: i64,
    pub(crate) options: RoomOptions,
    pub(crate) sif_trailer: Vec<u8>,
    pub(crate) next_key: u32,
    /// Milliseconds since the last participant left, if nobody is there; and whether anybody ever was.
    pub(crate) empty: Option<(u64, bool)>,
    pub(crate) participants: Vec<ParticipantSnapshot>,
    pub(crate) tracks: Vec<TrackSnapshot>,
    pub(crate) recent: Vec<RecentPacket>,
    /// Who left lately: those who resume may not know.
    #[serde(default)]
    pub(crate) departed: Vec<DepartedSnapshot>,
    /// Who speaks, by track, and how loud, as everybody was told.
    #[serde(default)]
    pub(crate) speaking: Vec<(u32, f32)>,
    /// Who was here when another node died, and has not come back yet; they are waited for so many milliseconds more.
    #[serde(default)]
    pub(crate) expected: Vec<ParticipantDescription>,
    #[serde(default)]
    pub(crate) expected_ms: u64,
}

impl RoomSnapshot {
    /// The room's own id.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// How many participants move.
    pub fn participants(&self) -> usize {
        self.participants.len()
    }

    /// Whether some client may have seen this certificate last. The room's next node must show it another, or the
    /// client would not notice that there is a new one.
    pub fn knows(&self, certificate: &Fingerprint) -> bool {
        self.participants.iter().any(|participant| {
            let subscriber = participant.subscriber.as_ref();
            std::iter::once(&participant.publisher)
                .chain(subscriber)
                .any(|transport| transport.peer.knows(certificate))
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ParticipantSnapshot {
    pub(crate) key: u32,
    pub(crate) sid: String,
    pub(crate) identity: String,
    pub(crate) name: String,
    pub(crate) metadata: String,
    pub(crate) attributes: HashMap<String, String>,
    pub(crate) kind: i32,
    pub(crate) kind_details: Vec<i32>,
    #[serde(with = "wire::message")]
    pub(crate) permission: proto::ParticipantPermission,
    #[serde(with = "wire::message")]
    pub(crate) client: proto::ClientInfo,
    #[serde(with = "wire::messages")]
    pub(crate) ice_servers: Vec<proto::IceServer>,
    pub(crate) state: i32,
    pub(crate) joined_at_ms: i64,
    pub(crate) version: u32,
    pub(crate) announced_active: bool,
    pub(crate) publisher: TransportSnapshot,
    /// Absent over a single connection.
    pub(crate) subscriber: Option<TransportSnapshot>,
    pub(crate) sections: [u32; 2],
    pub(crate) offer_id: u32,
    pub(crate) last_offer_id: u32,
    pub(crate) auto_subscribe: bool,
    pub(crate) adaptive_stream: bool,
    pub(crate) allow_pause: bool,
    pub(crate) wanted: Vec<WantedSnapshot>,
    pub(crate) unbound: Vec<u32>,
    /// `None`: everyone may subscribe.
    #[serde(with = "wire::maybe_messages")]
    pub(crate) policy: Option<Vec<proto::TrackPermission>>,
    pub(crate) pending: Vec<PendingSnapshot>,
    #[serde(with = "wire::messages")]
    pub(crate) queued: Vec<proto::AddTrackRequest>,
    pub(crate) published: Vec<u32>,
    pub(crate) data_sequence: u32,
    pub(crate) waiting_data: Vec<Vec<u8>>,
}

/// A track that awaits its media section, with the client's id for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PendingSnapshot(
    pub(crate) String,
    #[serde(with = "wire::message")] pub(crate) proto::TrackInfo,
);

/// A participant that has left.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DepartedSnapshot {
    pub(crate) age_ms: u64,
    #[serde(with = "wire::message")]
    pub(crate) info: proto::ParticipantInfo,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TransportSnapshot {
    pub(crate) peer: PeerSnapshot,
    pub(crate) bandwidth_cap_bps: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WantedSnapshot {
    pub(crate) sid: String,
    pub(crate) subscribe: Option<bool>,
    pub(crate) settings: Option<crate::subscription::TrackSettings>,
    pub(crate) told_allowed: Option<bool>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TrackSnapshot {
    pub(crate) key: u32,
    pub(crate) sid: String,
    pub(crate) publisher: u32,
    pub(crate) cid: String,
    #[serde(with = "wire::message")]
    pub(crate) info: proto::TrackInfo,
    pub(crate) mid: Mid,
    pub(crate) kind: MediaKind,
    pub(crate) codec: Codec,
    pub(crate) rids: Vec<Rid>,
    pub(crate) told_subscribed: bool,
    pub(crate) subscriptions: Vec<SubscriptionSnapshot>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SubscriptionSnapshot {
    pub(crate) subscriber: u32,
    pub(crate) mid: Mid,
    pub(crate) forwarder: ForwarderSnapshot,
    pub(crate) disabled: bool,
    pub(crate) paused: bool,
    pub(crate) wanted_spatial: u8,
    pub(crate) wanted_temporal: u8,
}

/// Where the numbers of a subscription stand.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ForwarderSnapshot {
    pub(crate) seq: u16,
    pub(crate) timestamp: u32,
    /// Since the last packet; `None` when there was none.
    pub(crate) idle_ms: Option<u64>,
    pub(crate) picture_id: u16,
    pub(crate) tl0_pic_idx: u8,
    pub(crate) key_idx: u8,
    /// The encoding that was forwarded, and what was subtracted from its numbers.
    pub(crate) source: Option<SourceSnapshot>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct SourceSnapshot {
    pub(crate) layer: u8,
    pub(crate) seq_offset: u16,
    pub(crate) timestamp_offset: u32,
}

/// A reliable packet that a receiver may not have got before it moved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RecentPacket {
    pub(crate) age_ms: u64,
    pub(crate) from: u32,
    pub(crate) sequence: u32,
    pub(crate) to: Vec<u32>,
    pub(crate) packet: Vec<u8>,
}

/// What a client still said to a room after the room had been exported: to be told to the room's successor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Tail {
    /// A reliable data packet in encoded form.
    Data { from: u32, packet: Vec<u8> },
    /// A signal message in encoded form.
    Signal { from: u32, request: Vec<u8> },
    /// A message of a channel of the application's own, reliable and as it came.
    Raw { from: u32, message: Vec<u8> },
    /// What the server API asked for.
    Admin(AdminTail),
    /// A receiver has gone over: where its streams, by track, stopped.
    Stopped { receiver: u32, streams: Vec<(u32, ForwarderSnapshot)> },
}

/// A request of the server API, with LiveKit's messages in encoded form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum AdminTail {
    Remove { identity: String },
    Mute { identity: String, sid: String, muted: bool },
    Update { request: Vec<u8> },
    Subscriptions { request: Vec<u8> },
    Metadata { metadata: String },
    Send { request: Vec<u8> },
    Close { reason: i32 },
}

/// What of a room outlives its node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoomDescription {
    pub sid: String,
    pub created_ms: i64,
    pub options: RoomOptions,
    #[serde(default)]
    pub participants: Vec<ParticipantDescription>,
    /// As the server API lists the room.
    #[serde(default)]
    pub num_participants: u32,
    #[serde(default)]
    pub num_publishers: u32,
}

/// Somebody who was in the room when its node died.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParticipantDescription {
    pub identity: String,
    pub sid: String,
    pub joined_at_ms: i64,
    /// Their arrival was told by webhook: their leave must be, too.
    pub announced: bool,
    /// Sids of their tracks, whose end must be told if they do not come back with them.
    #[serde(default, with = "wire::messages")]
    pub tracks: Vec<proto::TrackInfo>,
    /// As a webhook shows them.
    #[serde(with = "wire::message")]
    pub info: proto::ParticipantInfo,
}
