//! From a request on `/rtc*` to a join: every check before the WebSocket upgrade, in LiveKit's order and with
//! its statuses and texts (livekit.md §1.4). Clients classify failures by them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::SystemTime;

use auth::{Claims, Verified};
use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use livekit_protocol as proto;
use net::JoinFailure;
use sfu::{JoinParams, Resume, RoomName, RoomOptions, SessionId};

use crate::join_request::{self, JoinRequestError};
use crate::query::Query;
use crate::{Server, client_info};

/// Which of the two endpoints the client used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/rtc`: query parameters, or a join request.
    V0,
    /// `/rtc/v1`: the join request is mandatory.
    V1,
}

/// A connect that passed every check.
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) room: RoomName,
    /// Whether the join may create the room.
    pub(crate) may_create: bool,
    /// Used if the join creates the room.
    pub(crate) room_options: RoomOptions,
    /// What the token said, with what the client was allowed to change.
    pub(crate) claims: Claims,
    pub(crate) expires_at: SystemTime,
    pub(crate) params: JoinParams,
}

/// Why a connect is refused. The body is the text of the error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no permissions to access the room")]
    NoPermission,
    #[error("permissions denied")]
    PermissionDenied,
    #[error("join_request is required")]
    NoJoinRequest,
    #[error(transparent)]
    JoinRequest(#[from] JoinRequestError),
    #[error("cannot decode attributes")]
    Attributes,
    #[error("identity cannot be empty")]
    NoIdentity,
    #[error("no room name")]
    NoRoom,
    #[error("{0}")]
    TooLong(String),
    #[error("unknown room configuration in create room request")]
    UnknownPreset,
    #[error("requested room does not exist")]
    RoomNotFound,
    #[error("{0}")]
    Unavailable(String),
    #[error("connection closed by media")]
    ClosedByRoom,
    #[error("timed out while waiting for signal response")]
    TimedOut,
}

impl ConnectError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoPermission | Self::PermissionDenied => StatusCode::UNAUTHORIZED,
            Self::RoomNotFound => StatusCode::NOT_FOUND,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::ClosedByRoom | Self::TimedOut => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoJoinRequest
            | Self::JoinRequest(_)
            | Self::Attributes
            | Self::NoIdentity
            | Self::NoRoom
            | Self::TooLong(_)
            | Self::UnknownPreset => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<JoinFailure> for ConnectError {
    fn from(failure: JoinFailure) -> Self {
        match failure {
            JoinFailure::RoomDoesNotExist => Self::RoomNotFound,
            JoinFailure::Refused(_) | JoinFailure::Overloaded | JoinFailure::ShuttingDown => {
                Self::Unavailable(failure.to_string())
            }
        }
    }
}

impl IntoResponse for ConnectError {
    fn into_response(self) -> Response<Body> {
        (self.status(), self.to_string()).into_response()
    }
}

/// What a client wants of its session, from either source.
struct Wishes {
    client: proto::ClientInfo,
    single_peer_connection: bool,
    auto_subscribe: bool,
    auto_subscribe_data_track: bool,
    adaptive_stream: bool,
    subscriber_allow_pause: Option<bool>,
    metadata: String,
    attributes: BTreeMap<String, String>,
    /// Not empty: a publish-only companion of the identity (v0 only).
    publish: String,
    add_tracks: Vec<proto::AddTrackRequest>,
    publisher_offer: Option<proto::SessionDescription>,
    resume: Option<Resume>,
}

/// Runs all checks. `strict` is the validate endpoint, which refuses attributes that the connect overlooks.
pub(crate) async fn validate(
    server: &Server,
    verified: Option<&Verified>,
    query: &Query,
    headers: &HeaderMap,
    peer: SocketAddr,
    endpoint: Endpoint,
    strict: bool,
) -> Result<Connect, ConnectError> {
    let Some(Verified { claims, expires_at, .. }) = verified else { return Err(ConnectError::NoPermission) };
    if claims.video.is_none() {
        return Err(ConnectError::NoPermission);
    }
    let mut wishes = match query.get("join_request") {
        "" if endpoint == Endpoint::V1 => return Err(ConnectError::NoJoinRequest),
        "" => Wishes::from_query(query, strict)?,
        parameter => Wishes::from_join_request(join_request::decode(parameter)?),
    };
    client_info::complete(&mut wishes.client, headers, peer);

    let mut claims = claims.clone();
    let room = check_claims(server, &claims)?;
    apply_publish(&mut claims, &wishes.publish)?;
    let may_create = server.config.room.auto_create || claims.may_create_rooms();
    if !may_create && server.shards.with_room(&room, |_, _| ()).await.is_none() {
        return Err(ConnectError::RoomNotFound);
    }
    apply_metadata(&mut claims, &mut wishes)?;
    // Presets are configured by name, and there are none here. LiveKit finds out at the connect only.
    if !strict && !claims.room_preset.is_empty() {
        return Err(ConnectError::UnknownPreset);
    }

    let room_options = server.config.room_options(claims.room_config.as_deref());
    let params = join_params(server, &claims, wishes);
    Ok(Connect { room, may_create, room_options, claims, expires_at: *expires_at, params })
}

/// The token alone: grant, identity, room.
fn check_claims(server: &Server, claims: &Claims) -> Result<RoomName, ConnectError> {
    let limits = &server.config.limits;
    let room = claims.joinable_room().ok_or(ConnectError::PermissionDenied)?;
    if claims.identity.is_empty() {
        return Err(ConnectError::NoIdentity);
    }
    limits.check_identity(&claims.identity).map_err(ConnectError::TooLong)?;
    if room.is_empty() {
        return Err(ConnectError::NoRoom);
    }
    limits.check_room_name(room).map_err(ConnectError::TooLong)?;
    Ok(room.into())
}

/// A publish-only companion joins under an identity of its own and subscribes to nothing.
fn apply_publish(claims: &mut Claims, publish: &str) -> Result<(), ConnectError> {
    if publish.is_empty() {
        return Ok(());
    }
    let video =
        claims.video.as_mut().filter(|video| video.can_publish()).ok_or(ConnectError::NoPermission)?;
    video.can_subscribe = Some(false);
    claims.identity = format!("{}#{publish}", claims.identity);
    Ok(())
}

/// What the client wants to be known by overlays what the token says, if the token allows it.
fn apply_metadata(claims: &mut Claims, wishes: &mut Wishes) -> Result<(), ConnectError> {
    if wishes.metadata.is_empty() && wishes.attributes.is_empty() {
        return Ok(());
    }
    if !claims.video.as_ref().is_some_and(|video| video.can_update_own_metadata()) {
        return Err(ConnectError::NoPermission);
    }
    if !wishes.metadata.is_empty() {
        claims.metadata = std::mem::take(&mut wishes.metadata);
    }
    // An empty value would delete what the token granted.
    let attributes = std::mem::take(&mut wishes.attributes);
    claims.attributes.extend(attributes.into_iter().filter(|(_, value)| !value.is_empty()));
    Ok(())
}

fn join_params(server: &Server, claims: &Claims, wishes: Wishes) -> JoinParams {
    JoinParams {
        session: SessionId(server.next_session_id()),
        identity: claims.identity.as_str().into(),
        name: claims.name.clone(),
        metadata: claims.metadata.clone(),
        attributes: claims.attributes.clone().into_iter().collect::<HashMap<_, _>>(),
        kind: claims.participant_kind(),
        kind_details: claims.participant_kind_details(),
        permission: claims.video.as_ref().map(|video| video.to_permission()).unwrap_or_default(),
        client: wishes.client,
        single_peer_connection: wishes.single_peer_connection,
        auto_subscribe: wishes.auto_subscribe,
        auto_subscribe_data_track: wishes.auto_subscribe_data_track,
        adaptive_stream: wishes.adaptive_stream,
        subscriber_allow_pause: wishes.subscriber_allow_pause,
        add_tracks: wishes.add_tracks,
        publisher_offer: wishes.publisher_offer,
        resume: wishes.resume,
        ice_servers: server.config.ice_servers.clone(),
    }
}

impl Wishes {
    fn from_query(query: &Query, strict: bool) -> Result<Self, ConnectError> {
        let attributes = match (decode_attributes(query.get("attributes")), strict) {
            (Some(attributes), _) => attributes,
            (None, true) => return Err(ConnectError::Attributes),
            (None, false) => BTreeMap::new(),
        };
        let resume = query.flag("reconnect").unwrap_or(false).then(|| Resume {
            participant_sid: query.get("sid").to_owned(),
            reason: query.get("reconnect_reason").parse().unwrap_or(0),
        });
        Ok(Self {
            client: client_info::from_query(query),
            single_peer_connection: false,
            auto_subscribe: query.flag("auto_subscribe").unwrap_or(true),
            auto_subscribe_data_track: query.flag("auto_subscribe_data_track").unwrap_or(false),
            adaptive_stream: query.flag("adaptive_stream").unwrap_or(false),
            subscriber_allow_pause: query.flag("subscriber_allow_pause"),
            metadata: String::new(),
            attributes,
            publish: query.get("publish").to_owned(),
            add_tracks: Vec::new(),
            publisher_offer: None,
            resume,
        })
    }

    fn from_join_request(request: proto::JoinRequest) -> Self {
        let reason = request.reconnect_reason;
        let settings = request.connection_settings.unwrap_or_default();
        let resume = request.reconnect.then_some(Resume { participant_sid: request.participant_sid, reason });
        Self {
            client: request.client_info.unwrap_or_default(),
            single_peer_connection: true,
            auto_subscribe: settings.auto_subscribe,
            auto_subscribe_data_track: settings.auto_subscribe_data_track.unwrap_or(false),
            adaptive_stream: settings.adaptive_stream,
            subscriber_allow_pause: settings.subscriber_allow_pause,
            metadata: request.metadata,
            attributes: request.participant_attributes.into_iter().collect(),
            publish: String::new(),
            add_tracks: request.add_track_requests,
            publisher_offer: request.publisher_offer,
            resume,
        }
    }
}

/// Base64url of a JSON object of strings. Absent is empty; `None` is undecodable.
fn decode_attributes(parameter: &str) -> Option<BTreeMap<String, String>> {
    if parameter.is_empty() {
        return Some(BTreeMap::new());
    }
    let json = URL_SAFE.decode(parameter).ok()?;
    serde_json::from_slice::<Option<BTreeMap<String, String>>>(&json).ok().map(Option::unwrap_or_default)
}
