//! Server-made ids: a prefix that clients inspect and twelve random letters (livekit.md §0).

use fastrand::Rng;
use livekit_protocol::{TrackSource, TrackType};

use crate::api::{ParticipantSid, TrackSid};

/// No `0`, `O`, `I`, `l`: ids are read aloud in support calls.
const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const LEN: usize = 12;

/// `prefix` and twelve random letters.
pub(crate) fn sid(prefix: &str, rng: &mut Rng) -> String {
    let mut id = String::with_capacity(prefix.len() + LEN);
    id.push_str(prefix);
    id.extend((0..LEN).map(|_| ALPHABET[rng.usize(..ALPHABET.len())] as char));
    id
}

pub(crate) fn participant_sid(rng: &mut Rng) -> ParticipantSid {
    sid("PA_", rng).into()
}

/// `TR_` with readable letters for kind and source.
pub(crate) fn track_sid(kind: TrackType, source: TrackSource, rng: &mut Rng) -> TrackSid {
    let kind = if kind == TrackType::Video { "V" } else { "A" };
    let source = match source {
        TrackSource::Camera => "C",
        TrackSource::Microphone => "M",
        TrackSource::ScreenShare => "S",
        TrackSource::ScreenShareAudio => "s",
        TrackSource::Unknown => "",
    };
    sid(&format!("TR_{kind}{source}"), rng).into()
}
