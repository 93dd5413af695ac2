//! A subscription: one participant's view of one published track, from the wish to the packets.

use std::time::Instant;

use livekit_protocol as proto;
use rtc::SenderKey;
use serde::{Deserialize, Serialize};

use crate::media::forwarder::Forwarder;
use crate::participant::ParticipantKey;

/// What a subscriber has said about a track, before or after it exists; survives resubscription and resume.
#[derive(Clone, Debug, Default)]
pub(crate) struct WantedTrack {
    /// Explicit wish; `None` follows `auto_subscribe`.
    pub(crate) subscribe: Option<bool>,
    pub(crate) settings: Option<TrackSettings>,
    /// The last `SubscriptionPermissionUpdate` that was sent.
    pub(crate) told_allowed: Option<bool>,
    /// Explicitly wanted but unknown since.
    pub(crate) missing_since: Option<Instant>,
}

/// `UpdateTrackSettings`, reduced to what the engine uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrackSettings {
    pub(crate) disabled: bool,
    pub(crate) quality: i32,
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) fps: u32,
}

impl From<&proto::UpdateTrackSettings> for TrackSettings {
    fn from(settings: &proto::UpdateTrackSettings) -> Self {
        TrackSettings {
            disabled: settings.disabled,
            quality: settings.quality,
            width_px: settings.width,
            height_px: settings.height,
            fps: settings.fps,
        }
    }
}

/// A subscription that has a media section on the subscriber's connection.
pub(crate) struct Subscription {
    pub(crate) subscriber: ParticipantKey,
    pub(crate) sender: SenderKey,
    pub(crate) forwarder: Forwarder,
    /// The client has disabled the track (adaptive stream: not visible).
    pub(crate) disabled: bool,
    /// Paused for want of bandwidth, as told to the client.
    pub(crate) paused: bool,
    /// Highest spatial layer that the settings ask for.
    pub(crate) wanted_spatial: u8,
    /// Highest temporal layer that the settings ask for.
    pub(crate) wanted_temporal: u8,
}
