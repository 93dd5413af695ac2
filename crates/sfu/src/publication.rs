//! A published track and what precedes it: the request to publish, waiting for its media section.

use livekit_protocol as proto;
use proto::{TrackSource, TrackType, VideoQuality};
use rtc::{Codec, MediaKind, Mid, Rid};

use crate::api::TrackSid;
use crate::dynacast::Dynacast;
use crate::media::TrackMedia;
use crate::participant::ParticipantKey;
use crate::subscription::Subscription;

/// Index of a publication in its room; never used twice in the room's life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct TrackKey(pub u32);

/// Spatial layers that are told apart: LiveKit's LOW, MEDIUM, HIGH.
pub(crate) const MAX_SPATIAL_LAYERS: usize = 3;

/// A track that was announced with AddTrack and has no media section yet.
pub(crate) struct PendingTrack {
    pub(crate) cid: String,
    pub(crate) info: proto::TrackInfo,
}

impl PendingTrack {
    pub(crate) fn new(request: &proto::AddTrackRequest, sid: &TrackSid) -> PendingTrack {
        PendingTrack { cid: request.cid.clone(), info: track_info(request, sid) }
    }

    /// Whether a section with this `msid` carries the track.
    pub(crate) fn matches(&self, stream: &str, track: &str) -> bool {
        let cids = std::iter::once(&self.cid).chain(self.info.codecs.iter().map(|codec| &codec.cid));
        cids.filter(|cid| !cid.is_empty()).any(|cid| cid == track || cid == stream)
    }

    pub(crate) fn kind(&self) -> MediaKind {
        track_kind(&self.info)
    }

    /// The codec that the client put first.
    pub(crate) fn preferred_codec(&self) -> Option<Codec> {
        self.info.codecs.first().and_then(|codec| codec_of_mime(&codec.mime_type))
    }
}

/// A track that exists: it has a media section on the publisher's connection.
pub(crate) struct TrackPublication {
    pub(crate) key: TrackKey,
    pub(crate) sid: TrackSid,
    pub(crate) publisher: ParticipantKey,
    /// The id that the client used for it.
    pub(crate) cid: String,
    pub(crate) info: proto::TrackInfo,
    pub(crate) mid: Mid,
    pub(crate) kind: MediaKind,
    pub(crate) codec: Codec,
    /// Simulcast encodings in ascending order; empty when there is one stream.
    pub(crate) rids: Vec<Rid>,
    pub(crate) media: TrackMedia,
    pub(crate) dynacast: Dynacast,
    pub(crate) subscriptions: Vec<Subscription>,
    /// The publisher was told that somebody watches.
    pub(crate) told_subscribed: bool,
}

impl TrackPublication {
    /// The spatial layer of a simulcast encoding.
    pub(crate) fn layer_of(&self, rid: Option<Rid>) -> usize {
        rid.and_then(|rid| self.rids.iter().position(|known| *known == rid))
            .unwrap_or(0)
            .min(MAX_SPATIAL_LAYERS - 1)
    }

    /// The highest spatial layer that exists, by what the publisher announced.
    pub(crate) fn max_spatial(&self) -> u8 {
        let layers = if self.rids.len() > 1 { self.rids.len() } else { self.info.layers.len().max(1) };
        (layers.min(MAX_SPATIAL_LAYERS) - 1) as u8
    }

    /// The spatial layer for a quality that a subscriber asks for.
    pub(crate) fn spatial_for_quality(&self, quality: i32) -> u8 {
        if self.kind == MediaKind::Audio {
            return 0;
        }
        let index = self.info.layers.iter().rposition(|layer| layer.quality <= quality).unwrap_or(0) as u8;
        if self.info.layers.is_empty() { self.max_spatial() } else { index.min(self.max_spatial()) }
    }

    /// The smallest layer that fills `width_px` × `height_px`; a layer a tenth short counts as filling it.
    pub(crate) fn spatial_for_size(&self, width_px: u32, height_px: u32) -> u8 {
        let wanted = width_px.max(height_px);
        let fills = |layer: &proto::VideoLayer| layer.width.max(layer.height) * 10 >= wanted * 9;
        let index = self.info.layers.iter().position(fills);
        index.map_or(self.max_spatial(), |index| (index as u8).min(self.max_spatial()))
    }

    pub(crate) fn source(&self) -> TrackSource {
        self.info.source()
    }
}

/// `video/vp8`, `vp8`, `VP8` → the codec.
pub(crate) fn codec_of_mime(mime: &str) -> Option<Codec> {
    Codec::from_name(mime.rsplit('/').next().unwrap_or(mime))
}

pub(crate) fn track_kind(info: &proto::TrackInfo) -> MediaKind {
    if info.r#type() == TrackType::Video { MediaKind::Video } else { MediaKind::Audio }
}

/// What a request to publish becomes (livekit.md §2.8).
#[allow(deprecated)]
fn track_info(request: &proto::AddTrackRequest, sid: &TrackSid) -> proto::TrackInfo {
    use proto::video_layer::Mode;

    let source = request.source();
    let stream = if !request.stream.is_empty() {
        request.stream.clone()
    } else {
        match source {
            TrackSource::Camera | TrackSource::Microphone => "camera",
            TrackSource::ScreenShare | TrackSource::ScreenShareAudio => "screen",
            TrackSource::Unknown => "unknown",
        }
        .to_owned()
    };
    let mut layers = request.layers.clone();
    if layers.is_empty() && request.r#type() == TrackType::Video {
        layers.push(proto::VideoLayer {
            quality: VideoQuality::High as i32,
            width: request.width,
            height: request.height,
            ..Default::default()
        });
    }
    layers.sort_by_key(|layer| layer.quality);
    let codecs = request.simulcast_codecs.iter().map(|codec| {
        let parsed = codec_of_mime(&codec.codec);
        let mut layers = if codec.layers.is_empty() { layers.clone() } else { codec.layers.clone() };
        layers.sort_by_key(|layer| layer.quality);
        let svc = matches!(parsed, Some(Codec::Vp9 | Codec::Av1));
        let mode = match codec.video_layer_mode {
            0 if request.r#type() != TrackType::Video => Mode::Unused as i32,
            0 if svc => Mode::MultipleSpatialLayersPerStream as i32,
            0 => Mode::OneSpatialLayerPerStream as i32,
            given => given,
        };
        proto::SimulcastCodecInfo {
            mime_type: parsed.map(Codec::mime).unwrap_or_else(|| codec.codec.clone()),
            cid: codec.cid.clone(),
            layers,
            video_layer_mode: mode,
            ..Default::default()
        }
    });
    let codecs: Vec<_> = codecs.collect();
    proto::TrackInfo {
        sid: sid.to_string(),
        r#type: request.r#type,
        name: request.name.clone(),
        muted: request.muted,
        width: request.width,
        height: request.height,
        simulcast: layers.len() > 1,
        disable_dtx: request.disable_dtx,
        source: request.source,
        mime_type: codecs.first().map(|codec| codec.mime_type.clone()).unwrap_or_default(),
        layers,
        codecs,
        stereo: request.stereo,
        disable_red: request.disable_red,
        encryption: request.encryption,
        stream,
        audio_features: request.audio_features.clone(),
        backup_codec_policy: request.backup_codec_policy,
        packet_trailer_features: request.packet_trailer_features.clone(),
        ..Default::default()
    }
}
