//! The meeting page's API: an administrator creates a meeting, whoever has its link joins it. Meetings are
//! not stored: the link carries an invite code that only this deployment's secret can make.

mod error;
mod failed_logins;
mod names;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use auth::{Claims, InviteCode, VideoGrant, constant_time_eq};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use self::error::ApiError;
pub(crate) use self::failed_logins::FailedLogins;
use crate::{AdminLogin, Server};

/// Requests are a room, a code and a name.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// Room names in links stay readable; tokens made by others may use longer ones.
const MAX_ROOM_CHARS: usize = 64;

/// What fits under a video tile.
const MAX_NAME_CHARS: usize = 64;

/// A meeting is over by then; the server renews the token of whoever is still connected.
const TOKEN_TTL: Duration = Duration::from_secs(6 * 3600);

pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/", post(create))
        .route("/join", post(join))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .fallback(async || ApiError::NoSuchRoute)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

#[derive(Deserialize)]
struct CreateRequest {
    #[serde(default)]
    room: Option<String>,
}

#[derive(Serialize)]
struct Created {
    room: String,
    /// The path of the page, with the invite code as its fragment: fragments stay out of logs.
    path: String,
}

async fn create(
    State(server): State<Arc<Server>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let admin = server.config.admin.as_ref().ok_or(ApiError::Disabled)?;
    if !server.failed_logins.may_try(peer.ip(), Instant::now()) {
        return Err(ApiError::TooManyAttempts);
    }
    if !login_matches(admin, &headers) {
        server.failed_logins.record(peer.ip(), Instant::now());
        tracing::warn!(%peer, "wrong administrator login for the meeting API");
        return Err(ApiError::WrongLogin);
    }
    let request: CreateRequest = if body.is_empty() { CreateRequest { room: None } } else { parse(&body)? };
    let room = match request.room.as_deref().map(str::trim) {
        None | Some("") => names::random_room(),
        Some(room) => check_text("room", room, MAX_ROOM_CHARS)?,
    };
    Ok((StatusCode::CREATED, axum::Json(Created { path: meeting_path(&server.config.keys, &room), room })))
}

#[derive(Deserialize)]
struct JoinRequest {
    room: String,
    invite: String,
    name: String,
}

#[derive(Serialize)]
struct Joined {
    token: String,
    identity: String,
    room: String,
}

async fn join(State(server): State<Arc<Server>>, body: Bytes) -> Result<impl IntoResponse, ApiError> {
    if server.config.admin.is_none() {
        return Err(ApiError::Disabled);
    }
    let request: JoinRequest = parse(&body)?;
    if !InviteCode::of_room(&server.config.keys, &request.room).matches(&request.invite) {
        return Err(ApiError::WrongInvite);
    }
    let name = check_text("name", request.name.trim(), MAX_NAME_CHARS)?;
    let identity = names::identity_for(&name);
    let video = VideoGrant {
        room_join: true,
        room: request.room.clone(),
        can_update_own_metadata: Some(true),
        ..VideoGrant::default()
    };
    let claims = Claims { identity: identity.clone(), name, video: Some(video), ..Claims::default() };
    let token = server.config.keys.mint(&claims, SystemTime::now(), TOKEN_TTL);
    Ok(axum::Json(Joined { token, identity, room: request.room }))
}

/// The way to a meeting's page, for whoever shows links: `/m/<room>#<invite>`.
pub fn meeting_path(keys: &auth::KeyStore, room: &str) -> String {
    let encoded: String = form_urlencoded::byte_serialize(room.as_bytes()).collect();
    format!("/m/{}#{}", encoded.replace('+', "%20"), InviteCode::of_room(keys, room).as_str())
}

/// A room name that reads well in a link, such as `calm-otter-42`.
pub fn random_room() -> String {
    names::random_room()
}

fn parse<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::BadRequest(format!("body: {error}")))
}

fn check_text(field: &'static str, text: &str, max_chars: usize) -> Result<String, ApiError> {
    if text.is_empty() {
        return Err(ApiError::BadRequest(format!("{field} is empty; give one")));
    }
    if text.chars().count() > max_chars {
        return Err(ApiError::BadRequest(format!(
            "{field} is longer than {max_chars} characters; shorten it"
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(ApiError::BadRequest(format!("{field} has control characters; remove them")));
    }
    Ok(text.to_owned())
}

/// HTTP Basic, compared in constant time.
fn login_matches(admin: &AdminLogin, headers: &HeaderMap) -> bool {
    let credentials = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|encoded| STANDARD.decode(encoded.trim()).ok());
    let Some(credentials) = credentials else { return false };
    let Some(colon) = credentials.iter().position(|byte| *byte == b':') else { return false };
    let (user, password) = (&credentials[..colon], &credentials[colon + 1..]);
    let user_matches = constant_time_eq(user, admin.user.as_bytes());
    let password_matches = constant_time_eq(password, admin.password.as_bytes());
    user_matches & password_matches
}
