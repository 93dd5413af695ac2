//! A room carried from one node to another while its meeting goes on, and what outlives a node's death.
//!
//! A [`RoomSnapshot`] is everything that clients must find unchanged after they have moved: who is there with
//! which ids, what is published and followed, how each connection was negotiated. It holds no key material
//! and no media. A [`RoomDescription`] is the little that the cluster's store keeps of each room: enough to
//! start it again under the same name when its node has died, and to know whom to expect.
//!
//! Both travel as JSON between nodes that may run different versions: fields are added with defaults and
//! never change their meaning.

use std::collections::HashMap;

use livekit_protocol as proto;
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
    /// That of the description which was told last.
    #[serde(default)]
    pub(crate) version: u64,
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

    /// Whether a room can go on from this where `description` was its last: it is as new.
    pub fn mirrors(&self, description: &RoomDescription) -> bool {
        self.sid == description.sid && self.version >= description.version
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
    pub(crate) permission: proto::ParticipantPermission,
    pub(crate) client: proto::ClientInfo,
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
    pub(crate) policy: Option<Vec<proto::TrackPermission>>,
    pub(crate) pending: Vec<(String, proto::TrackInfo)>,
    pub(crate) queued: Vec<proto::AddTrackRequest>,
    pub(crate) published: Vec<u32>,
    pub(crate) data_sequence: u32,
    pub(crate) waiting_data: Vec<Vec<u8>>,
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
pub(crate) struct ForwarderSnapshot {
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
    /// Counts the descriptions of the room, on all its nodes.
    #[serde(default)]
    pub version: u64,
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
    #[serde(default)]
    pub tracks: Vec<proto::TrackInfo>,
    /// As a webhook shows them.
    pub info: proto::ParticipantInfo,
}
