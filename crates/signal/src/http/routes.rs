//! Which path leads where (livekit.md §1.2), and the two handlers of `/rtc`: validation and connect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, Extension, FromRequestParts, Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header, request};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::any;
use sfu::SessionOutput;
use tokio::time::timeout;

use super::ConnectionGuard;
use super::middleware::{
    Authenticated, authenticate, body_too_large, cors, limit_body, recover, remove_double_slash,
};
use crate::connect::{self, Connect, ConnectError, Endpoint};
use crate::query::Query;
use crate::session::{self, TokenState};
use crate::{Server, meeting, twirp};

/// Extension of a request that a cluster's gateway could not route by its room, as its token was not accepted
/// there. It may be refused here, with the usual words, but never join a room.
#[derive(Clone, Copy, Debug)]
pub struct Unrouted;

/// The first signal message must come from the room within this time, or the client gets a 500.
const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(4);

/// Read buffer of one WebSocket. Signal messages are small; tungstenite's default is 128 KiB for each client.
const WEBSOCKET_BUFFER_BYTES: usize = 8 * 1024;

/// The whole HTTP application, for a listener of the caller's own: requests carry the client's address as
/// [`ConnectInfo`]. The middlewares see a request before it is routed.
pub fn router(server: Arc<Server>) -> Router {
    let livekit = Router::new()
        .route("/rtc", any(connect_v0))
        .route("/rtc/v1", any(connect_v1))
        .route("/rtc/validate", any(validate_v0))
        .route("/rtc/v1/validate", any(validate_v1))
        .fallback(everything_else)
        .layer(from_fn_with_state(server.clone(), authenticate));
    let routes = Router::new()
        .nest("/api/v1/meetings", meeting::routes())
        .fallback_service(livekit.with_state(server.clone()))
        .with_state(server.clone());
    Router::new()
        .fallback_service(routes)
        .layer(from_fn_with_state(server, limit_body))
        .layer(from_fn(remove_double_slash))
        .layer(from_fn(cors))
        .layer(from_fn(recover))
}

/// The server API, the pages, or nothing.
async fn everything_else(
    State(server): State<Arc<Server>>,
    Extension(Authenticated(verified)): Extension<Authenticated>,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    if !twirp::serves(head.uri.path()) {
        return server.pages.answer(&head);
    }
    let limit = match server.config.limits.api_request_body_bytes {
        0 => usize::MAX,
        limit => limit,
    };
    match to_bytes(body, limit).await {
        Ok(body) => twirp::handle(&server, verified.as_ref().map(|v| &v.claims), &head, body).await,
        Err(_) => body_too_large(),
    }
}

async fn validate_v0(request: RtcRequest) -> Response<Body> {
    validate(request, Endpoint::V0).await
}

async fn validate_v1(request: RtcRequest) -> Response<Body> {
    validate(request, Endpoint::V1).await
}

async fn connect_v0(request: RtcRequest) -> Response<Body> {
    connect(request, Endpoint::V0).await
}

async fn connect_v1(request: RtcRequest) -> Response<Body> {
    connect(request, Endpoint::V1).await
}

/// What the four endpoints of `/rtc` look at.
struct RtcRequest {
    server: Arc<Server>,
    authenticated: Authenticated,
    peer: SocketAddr,
    head: request::Parts,
}

impl FromRequestParts<Arc<Server>> for RtcRequest {
    type Rejection = Response<Body>;

    async fn from_request_parts(
        head: &mut request::Parts,
        server: &Arc<Server>,
    ) -> Result<Self, Self::Rejection> {
        let Extension(authenticated) =
            Extension::from_request_parts(head, server).await.map_err(IntoResponse::into_response)?;
        let ConnectInfo(peer) =
            ConnectInfo::from_request_parts(head, server).await.map_err(IntoResponse::into_response)?;
        Ok(Self { server: server.clone(), authenticated, peer, head: head.clone() })
    }
}

impl RtcRequest {
    async fn checked(&self, endpoint: Endpoint, strict: bool) -> Result<Connect, ConnectError> {
        let query = Query::parse(self.head.uri.query().unwrap_or_default());
        let verified = self.authenticated.0.as_deref();
        let checked = connect::validate(
            &self.server,
            verified,
            &query,
            &self.head.headers,
            self.peer,
            endpoint,
            strict,
        );
        checked.await
    }
}

async fn validate(request: RtcRequest, endpoint: Endpoint) -> Response<Body> {
    match request.checked(endpoint, true).await {
        Ok(_) => "success".into_response(),
        Err(error) => refuse(&request.head, error),
    }
}

/// Joins the room first and upgrades only when the first signal message is there: a client can tell from an
/// HTTP status what is wrong, but not from a closed WebSocket.
async fn connect(mut request: RtcRequest, endpoint: Endpoint) -> Response<Body> {
    if !wants_websocket(&request.head.headers) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let checked = match request.checked(endpoint, false).await {
        Ok(checked) => checked,
        Err(error) => return refuse(&request.head, error),
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut request.head, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };

    if request.head.extensions.get::<Unrouted>().is_some() {
        return (StatusCode::MISDIRECTED_REQUEST, "the room was not looked up; connect again")
            .into_response();
    }
    let Connect { room, may_create, room_options, claims, expires_at, params } = checked;
    let server = request.server;
    let mut session = match server.shards.join(&room, room_options, may_create, params).await {
        Ok(session) => session,
        Err(failure) => return refuse(&request.head, failure.into()),
    };
    let first = match timeout(FIRST_MESSAGE_TIMEOUT, session.recv()).await {
        Ok(Some(first @ SessionOutput::Response(_))) => first,
        Ok(_) => return refuse(&request.head, ConnectError::ClosedByRoom),
        Err(_) => return refuse(&request.head, ConnectError::TimedOut),
    };
    tracing::info!(%room, identity = %claims.identity, peer = %request.peer, "client connects");

    let guard = request.head.extensions.get::<ConnectionGuard>().cloned();
    let limit = match server.config.limits.signal_message_bytes {
        0 => usize::MAX,
        limit => limit,
    };
    upgrade.max_message_size(limit).max_frame_size(limit).read_buffer_size(WEBSOCKET_BUFFER_BYTES).on_upgrade(
        async move |socket| {
            session::run(server, socket, session, first, TokenState { claims, expires_at }).await;
            drop(guard);
        },
    )
}

fn refuse(head: &request::Parts, error: ConnectError) -> Response<Body> {
    tracing::info!(path = head.uri.path(), %error, "connect refused");
    error.into_response()
}

/// Whether `Connection` and `Upgrade` name a WebSocket, in any case, among other tokens.
fn wants_websocket(headers: &HeaderMap) -> bool {
    let names = |header, wanted: &str| {
        let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
    };
    names(header::CONNECTION, "upgrade") && names(header::UPGRADE, "websocket")
}
