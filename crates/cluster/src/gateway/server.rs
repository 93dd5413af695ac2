//! The gateway as a whole: its listeners while it starts, what all connections share, and the way of one request.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use auth::KeyStore;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use futures_util::future::join_all;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::body::Budget;
use super::bridge;
use super::certificate::PublicCertificate;
use super::config::{GatewayConfig, GatewayError};
use super::director::Director;
use super::forward::{Answer, Outgoing, Unanswered};
use super::headers::{clean_request, clean_response};
use super::list_rooms::list_rooms;
use super::listener::{self, ClientConnection, Door};
use super::member::Member;
use super::request::{Rules, Target, wants_websocket};
use super::splice::splice;
use crate::link::InternalClient;

/// Requests in flight get this long at shutdown. WebSockets are dropped at once: their clients resume through
/// another master.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What all connections share.
pub(super) struct Shared {
    pub(super) config: GatewayConfig,
    pub(super) keys: KeyStore,
    pub(super) director: Arc<dyn Director>,
    pub(super) client: InternalClient,
    /// Where connections to nodes start.
    pub(super) local_ip: Option<IpAddr>,
    certificate: Option<Arc<PublicCertificate>>,
    bodies: Budget,
    /// Where plain HTTP is redirected to.
    https_port: Option<u16>,
}

/// A gateway whose ports are open.
pub struct Gateway {
    shared: Arc<Shared>,
    https: Vec<TcpListener>,
    http: Vec<TcpListener>,
    plain: Vec<TcpListener>,
    bridges: Vec<TcpListener>,
}

impl Gateway {
    /// Opens all ports and loads the certificate. `client` reaches the nodes, from `local_ip` if given.
    pub async fn bind(
        config: GatewayConfig,
        keys: KeyStore,
        director: Arc<dyn Director>,
        client: InternalClient,
        local_ip: Option<IpAddr>,
    ) -> Result<Gateway, GatewayError> {
        if config.redirect_to_https && config.https.is_empty() {
            return Err(GatewayError::NoHttps);
        }
        let https = listen(config.https.iter()).await?;
        let http = listen(config.http.iter()).await?;
        let plain = listen(config.plain.iter()).await?;
        let bridges = listen(config.bridges.iter().map(|bridge| &bridge.listen)).await?;
        let certificate = config.certificate.clone().map(PublicCertificate::new).transpose()?;
        if certificate.is_none() && !config.https.is_empty() {
            return Err(GatewayError::NoCertificate);
        }
        let https_port = addresses(&https).next().map(|address| address.port());
        let bodies = Budget::default();
        let shared = Shared { config, keys, director, client, local_ip, certificate, bodies, https_port };
        Ok(Gateway { shared: Arc::new(shared), https, http, plain, bridges })
    }

    pub fn https_addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.https).collect()
    }

    pub fn http_addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.http).collect()
    }

    pub fn plain_addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.plain).collect()
    }

    pub fn bridge_addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.bridges).collect()
    }

    /// Serves until `shutdown` completes. Then nothing is accepted any more, WebSockets and bridges are dropped,
    /// and requests in flight get 2 s.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), GatewayError> {
        let Gateway { shared, https, http, plain, bridges } = self;
        let permits = Arc::new(Semaphore::new(shared.config.limits.max_connections));
        let (closing, closing_receiver) = watch::channel(false);
        let mut tasks = tokio::task::JoinSet::new();
        let mut doors: Vec<(TcpListener, Door)> = Vec::new();
        if let Some(certificate) = shared.certificate.clone() {
            let tls = certificate.server_config()?;
            doors.extend(https.into_iter().map(|socket| (socket, Door::Https(tls.clone()))));
            tasks.spawn(async move { certificate.keep_fresh().await });
        }
        doors.extend(http.into_iter().map(|socket| (socket, Door::Http)));
        doors.extend(plain.into_iter().map(|socket| (socket, Door::Plain)));
        for (socket, door) in doors {
            let (shared, permits, closing) = (shared.clone(), permits.clone(), closing_receiver.clone());
            tasks.spawn(listener::accept(socket, door, shared, permits, closing));
        }
        for (socket, bridge) in bridges.into_iter().zip(shared.config.bridges.clone()) {
            tasks.spawn(bridge::accept(socket, bridge, shared.clone(), closing_receiver.clone()));
        }
        drop(closing_receiver);
        shutdown.await;
        tasks.shutdown().await;
        closing.send_replace(true);
        if timeout(DRAIN_TIMEOUT, closing.closed()).await.is_err() {
            tracing::warn!(connections = closing.receiver_count(), "client connections cut off at shutdown");
        }
        Ok(())
    }
}

async fn listen(wanted: impl Iterator<Item = &SocketAddr>) -> Result<Vec<TcpListener>, GatewayError> {
    let bound = wanted.map(|address| async move {
        let refused = |error| GatewayError::Listen { address: *address, error };
        TcpListener::bind(address).await.map_err(refused)
    });
    join_all(bound).await.into_iter().collect()
}

fn addresses(listeners: &[TcpListener]) -> impl Iterator<Item = SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok())
}

/// Answers one request of a client.
pub(super) async fn handle(
    shared: Arc<Shared>,
    client: ClientConnection,
    request: Request<Incoming>,
) -> Response<Body> {
    if request.uri().path() == "/healthz" && matches!(*request.method(), Method::GET | Method::HEAD) {
        return match shared.director.is_ready() {
            true => "OK".into_response(),
            false => (StatusCode::SERVICE_UNAVAILABLE, "this master is not ready").into_response(),
        };
    }
    // Before the redirect: the ACME server comes to port 80, and to whichever master the balancer picks.
    if let Some(certificate) = &shared.certificate
        && matches!(*request.method(), Method::GET | Method::HEAD)
        && let Some(answer) = certificate.challenge(request.uri().path()).await
    {
        return match answer {
            Some(answer) => answer.into_response(),
            None => (StatusCode::NOT_FOUND, "no such challenge").into_response(),
        };
    }
    // What nodes ask of each other is nobody else's, whoever carries it.
    if is_internal(request.uri().path()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    // It would make a tunnel to wherever.
    if request.method() == Method::CONNECT {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if shared.config.redirect_to_https && !client.secure && !client.plain {
        return redirect(&shared, &request);
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let is_twirp = request.uri().path().starts_with("/twirp/");
    match answer(&shared, client, request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(%error, "a request was not answered by any node");
            unavailable(&error, is_twirp, origin)
        }
    }
}

async fn answer(
    shared: &Arc<Shared>,
    client: ClientConnection,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Unanswered> {
    let upgrade = wants_websocket(request.headers()).then(|| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    let limits = &shared.config.limits;
    let read = shared.bodies.read(Body::new(body), &head.headers, limits.api_request_body_bytes);
    let body = match read.await {
        Ok(body) => body,
        Err(refusal) => return Ok(refusal.into_response()),
    };
    let rules = Rules {
        keys: &shared.keys,
        auto_create_rooms: shared.config.auto_create_rooms,
        max_room_name_bytes: limits.max_room_name_bytes,
    };
    let target = rules.target(&head, &body.bytes);
    let member = match &target {
        Target::Room { name, .. } if upgrade.is_some() => rules.identity(&head).map(|identity| Member {
            room: name.clone(),
            identity,
            client: client.address,
        }),
        _ => None,
    };
    clean_request(&mut head.headers, client.address, client.secure);
    let outgoing =
        Outgoing { head, body: body.bytes.clone(), client: client.address, upgrade: upgrade.is_some() };
    if target == Target::EveryNode {
        return list_rooms(shared, &outgoing).await;
    }
    // Before a node is asked: a death in between is not missed.
    let deaths = shared.director.deaths();
    let Answer { mut response, node } = outgoing.send(shared, &target).await?;
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let upstream = switched.then(|| hyper::upgrade::on(&mut response));
    let (mut head, body) = response.into_parts();
    clean_response(&mut head.headers);
    let (Some(upgrade), Some(upstream)) = (upgrade, upstream) else {
        return Ok(Response::from_parts(head, Body::new(body)));
    };
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let shared = shared.clone();
    tokio::spawn(async move {
        let mut guard = client.guard;
        let (Ok(below), Ok(above)) = tokio::join!(upgrade, upstream) else { return };
        let address = client.address;
        let node_id = node.node_id.clone();
        let spliced = splice(shared, TokioIo::new(below), TokioIo::new(above), node, deaths, member);
        let end = tokio::select! {
            end = spliced => Some(end),
            () = guard.closing() => None,
        };
        tracing::debug!(%address, node = %node_id, ?end, "a WebSocket ended");
    });
    Ok(Response::from_parts(head, Body::empty()))
}

/// Whether a path is one of the nodes' own, in any spelling that a router might take for it.
fn is_internal(path: &str) -> bool {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    decoded
        .split('/')
        .find(|part| !part.is_empty())
        .is_some_and(|first| first.eq_ignore_ascii_case("internal"))
}

/// Sends plain HTTP to the HTTPS listener, with the same host and path.
fn redirect(shared: &Shared, request: &Request<Incoming>) -> Response<Body> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = host.and_then(|host| host.parse::<axum::http::uri::Authority>().ok());
    let (Some(authority), Some(port)) = (authority, shared.https_port) else {
        return (
            StatusCode::BAD_REQUEST,
            "this server is reached by https; no Host header says under which name",
        )
            .into_response();
    };
    let host = authority.host();
    let authority = if port == 443 { host.to_owned() } else { format!("{host}:{port}") };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let location = Uri::builder().scheme("https").authority(authority).path_and_query(path).build();
    match location {
        Ok(location) => {
            (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, location.to_string())]).into_response()
        }
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// 503 in the caller's form, readable by browsers of other origins too.
fn unavailable(error: &Unanswered, is_twirp: bool, origin: Option<HeaderValue>) -> Response<Body> {
    let mut response = match is_twirp {
        true => {
            let body = serde_json::json!({"code": "unavailable", "msg": error.to_string()});
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
        }
        false => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}
