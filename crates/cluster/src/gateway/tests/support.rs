//! A gateway on loopback with fake media nodes behind it, over real TLS.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use auth::{Claims, KeyStore, VideoGrant};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ws::{Message as AxumMessage, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::any;
use futures_util::future::BoxFuture;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use livekit_protocol as proto;
use prost::Message;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::gateway::*;
use crate::link::{InternalClient, Links, serve};
use crate::security::{Ca, NodeTls};
use crate::{Death, Epoch, NodeId};

/// A media node that answers with what it saw.
pub(super) struct FakeNode {
    pub(super) node: MediaNode,
    state: Arc<NodeState>,
    server: JoinHandle<()>,
    /// The node's ends of WebSockets to `/rtc`.
    pub(super) sockets: mpsc::Receiver<TokioIo<Upgraded>>,
}

struct NodeState {
    id: NodeId,
    /// Requests that are still to be refused with 421.
    refusals: AtomicUsize,
    requests: AtomicUsize,
    /// Who can resume here, as a query asks.
    known: Mutex<Option<String>>,
    sockets: mpsc::Sender<TokioIo<Upgraded>>,
}

impl FakeNode {
    async fn start(ca: &Ca, name: &str) -> FakeNode {
        let id = NodeId(name.to_owned());
        let tls = NodeTls::new(ca.clone(), "demo", &id, vec![], SystemTime::now()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, sockets) = mpsc::channel(64);
        let (refusals, requests) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let known = Mutex::default();
        let state = Arc::new(NodeState { id: id.clone(), refusals, requests, known, sockets: sender });
        let router = Router::new()
            .route("/rtc", any(upgrade))
            .route("/rtc/v1", any(echo))
            .route("/internal/knows", any(knows))
            .fallback(tell);
        let router = router.with_state(state.clone());
        let server = tokio::spawn(async move {
            let (links, _events) = Links::new(tls.clone(), None).unwrap();
            serve(listener, tls, &links, router, std::future::pending()).await.unwrap();
        });
        FakeNode { node: MediaNode { node_id: id, incarnation: 1, address }, state, server, sockets }
    }

    pub(super) fn refuse(&self, times: usize) {
        self.state.refusals.store(times, Ordering::SeqCst);
    }

    pub(super) fn know(&self, query: &str) {
        *self.state.known.lock().unwrap() = Some(query.to_owned());
    }

    pub(super) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    pub(super) async fn socket(&mut self) -> TokioIo<Upgraded> {
        tokio::time::timeout(Duration::from_secs(10), self.sockets.recv()).await.unwrap().unwrap()
    }

    /// Nobody listens any more, as after kill -9. Sockets handed out are the test's to drop.
    pub(super) async fn kill(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }
}

impl NodeState {
    fn refused(&self) -> Option<Response<Body>> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let refuse = |left: usize| left.checked_sub(1);
        let refused = self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok();
        refused.then(|| (StatusCode::MISDIRECTED_REQUEST, "not mine").into_response())
    }
}

/// Upgrades and gives the raw socket to the test.
async fn upgrade(State(state): State<Arc<NodeState>>, mut request: Request) -> Response<Body> {
    if let Some(refusal) = state.refused() {
        return refusal;
    }
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let seen = saw(&state, &request, b"");
    let upgraded = hyper::upgrade::on(&mut request);
    let sockets = state.sockets.clone();
    tokio::spawn(async move { sockets.send(TokioIo::new(upgraded.await.unwrap())).await });
    let response =
        Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).header("connection", "upgrade");
    let response = response.header("upgrade", "websocket").header("x-seen", seen.to_string());
    let response = response.header("sec-websocket-accept", derive_accept_key(key.as_bytes()));
    response.body(Body::empty()).unwrap()
}

/// A WebSocket that says everything twice over.
/// Answers for a room that was sent here.
async fn knows(State(state): State<Arc<NodeState>>, request: Request) -> StatusCode {
    let routed = TrustedHeaders::read(request.headers()).unwrap().room.is_some();
    let known = request.uri().query() == state.known.lock().unwrap().as_deref();
    if routed && known { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn echo(upgrade: WebSocketUpgrade) -> Response<Body> {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(Ok(message)) = socket.recv().await {
            // A close is answered by the library, when it is asked for the next message.
            if !matches!(message, AxumMessage::Close(_)) && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

async fn tell(State(state): State<Arc<NodeState>>, request: Request) -> Response<Body> {
    if let Some(refusal) = state.refused() {
        return refusal;
    }
    if request.uri().path() == "/hang" && state.id.0 == "a" {
        std::future::pending::<()>().await;
    }
    if request.uri().path().ends_with("/ListRooms") {
        let own = proto::Room { name: format!("of-{}", state.id), ..Default::default() };
        let rooms = vec![own, proto::Room { name: "moving".into(), ..Default::default() }];
        let is_json = request.headers()[header::CONTENT_TYPE] == "application/json";
        return match is_json {
            true => axum::Json(json!({"rooms": rooms})).into_response(),
            false => proto::ListRoomsResponse { rooms }.encode_to_vec().into_response(),
        };
    }
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let seen = saw(&state, &Request::from_parts(head, Body::empty()), &body);
    let mut response = axum::Json(seen).into_response();
    response.headers_mut().insert("x-sala-internal", "secret".parse().unwrap());
    response
}

/// What a node sees of a request.
fn saw(state: &NodeState, request: &Request, body: &[u8]) -> Value {
    let trusted = TrustedHeaders::read(request.headers()).unwrap();
    let names: Vec<&str> = request.headers().keys().map(|name| name.as_str()).collect();
    json!({
        "node": state.id,
        "path": request.uri().to_string(),
        "room": trusted.room.as_ref().map(|room| &room.name),
        "epoch": trusted.room.as_ref().map(|room| room.epoch.to_string()),
        "client": trusted.client.ip().to_string(),
        "master": trusted.master,
        "headers": names,
        "body": String::from_utf8_lossy(body),
    })
}

/// Says where rooms are: what `next` holds first, then `routes`, then the first node if it may create.
#[derive(Default)]
pub(super) struct FakeDirector {
    pub(super) nodes: Mutex<Vec<MediaNode>>,
    pub(super) next: Mutex<VecDeque<Result<MediaNode, RouteError>>>,
    pub(super) routes: Mutex<HashMap<String, MediaNode>>,
    pub(super) asked: Mutex<Vec<(String, bool)>>,
    dead: Mutex<HashSet<NodeId>>,
    deaths: Mutex<Option<broadcast::Sender<Death>>>,
}

impl FakeDirector {
    /// The process before the node's present one is found to be gone.
    pub(super) fn declare_former_dead(&self, node: &NodeId) {
        drop(self.deaths());
        let _ =
            self.deaths.lock().unwrap().as_ref().unwrap().send(Death { node: node.clone(), incarnation: 0 });
    }

    pub(super) fn declare_dead(&self, node: &NodeId) {
        self.dead.lock().unwrap().insert(node.clone());
        self.nodes.lock().unwrap().retain(|alive| alive.node_id != *node);
        drop(self.deaths());
        let _ =
            self.deaths.lock().unwrap().as_ref().unwrap().send(Death { node: node.clone(), incarnation: 1 });
    }
}

impl Director for FakeDirector {
    fn route<'a>(&'a self, room: &'a str, create: bool) -> BoxFuture<'a, Result<Route, RouteError>> {
        self.asked.lock().unwrap().push((room.to_owned(), create));
        let routed = self.next.lock().unwrap().pop_front().unwrap_or_else(|| {
            let known = self.routes.lock().unwrap().get(room).cloned();
            match (known, create) {
                (Some(node), _) => Ok(node),
                (None, true) => self.any_media_node().ok_or(RouteError::NoMediaNode),
                (None, false) => Err(RouteError::RoomNotFound),
            }
        });
        Box::pin(async move { Ok(Route { node: routed?, epoch: Epoch::settled(3) }) })
    }

    fn media_nodes(&self) -> Vec<MediaNode> {
        self.nodes.lock().unwrap().clone()
    }

    fn is_dead(&self, node: &NodeId) -> bool {
        self.dead.lock().unwrap().contains(node)
    }

    fn deaths(&self) -> broadcast::Receiver<Death> {
        self.deaths.lock().unwrap().get_or_insert_with(|| broadcast::channel(16).0).subscribe()
    }
}

/// A gateway with nodes `a` and `b`.
pub(super) struct World {
    pub(super) director: Arc<FakeDirector>,
    pub(super) a: FakeNode,
    pub(super) b: FakeNode,
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) plain: SocketAddr,
    pub(super) bridges: Vec<SocketAddr>,
    roots: Arc<RootCertStore>,
    keys: KeyStore,
    stop: Option<oneshot::Sender<()>>,
    dir: PathBuf,
}

static WORLDS: AtomicUsize = AtomicUsize::new(0);

impl World {
    pub(super) async fn start() -> World {
        World::start_with(|_| {}).await
    }

    pub(super) async fn start_with(configure: impl FnOnce(&mut GatewayConfig)) -> World {
        let ca = Ca::generate("demo").unwrap();
        let world = WORLDS.fetch_add(1, Ordering::SeqCst);
        let dir = std::env::temp_dir().join(format!("sala-gateway-{}-{world}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        ca.issue_files(&dir, "public", &[]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.certificate_pem().as_bytes()).unwrap()).unwrap();

        let (a, b) = (FakeNode::start(&ca, "a").await, FakeNode::start(&ca, "b").await);
        let director = Arc::new(FakeDirector::default());
        *director.nodes.lock().unwrap() = vec![a.node.clone(), b.node.clone()];
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut config = GatewayConfig {
            node_id: NodeId("m1".into()),
            https: vec![any_port],
            http: vec![any_port],
            plain: vec![any_port],
            redirect_to_https: false,
            certificate: Some(Certificate::Files(CertificateFiles {
                certificate: dir.join("public.pem"),
                key: dir.join("public.key"),
            })),
            proxy_protocol: None,
            bridges: vec![],
            auto_create_rooms: true,
            limits: Limits::default(),
        };
        configure(&mut config);
        let keys = KeyStore::new([("devkey".to_owned(), "secret".into())]).unwrap();
        let tls = NodeTls::new(ca, "demo", &config.node_id, vec![], SystemTime::now()).unwrap();
        let client = InternalClient::new(tls, None).unwrap();
        let gateway = Gateway::bind(config, keys.clone(), director.clone(), client, None).await.unwrap();
        let (http, https) = (gateway.http_addresses()[0], gateway.https_addresses()[0]);
        let (plain, bridges) = (gateway.plain_addresses()[0], gateway.bridge_addresses());
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(gateway.run(async move { drop(stopped.await) }));
        World {
            director,
            a,
            b,
            http,
            https,
            plain,
            bridges,
            roots: Arc::new(roots),
            keys,
            stop: Some(stop),
            dir,
        }
    }

    pub(super) fn stop(&mut self) {
        self.stop.take();
    }

    pub(super) fn token(&self, video: VideoGrant) -> String {
        let claims = Claims { identity: "ana".into(), video: Some(video), ..Claims::default() };
        self.keys.mint(&claims, SystemTime::now(), Duration::from_secs(60))
    }

    pub(super) fn join_token(&self, room: &str) -> String {
        self.token(VideoGrant { room_join: true, room: room.into(), ..VideoGrant::default() })
    }

    pub(super) async fn tls(&self) -> TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let stream = TcpStream::connect(self.https).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// Opens a WebSocket over TLS at `path`, with a token for `room`. The second value is what the node saw.
    pub(super) async fn join(
        &self,
        path: &str,
        room: &str,
    ) -> (WebSocketStream<TlsStream<TcpStream>>, Value) {
        let url = format!("wss://localhost{path}?access_token={}", self.join_token(room));
        let stream = self.tls().await;
        let (socket, response) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        let seen =
            response.headers().get("x-seen").map(|seen| serde_json::from_slice(seen.as_bytes()).unwrap());
        (socket, seen.unwrap_or_default())
    }

    /// One request over plain HTTP, as bytes. Returns status, headers and body as text.
    pub(super) async fn http(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        exchange(&mut stream, request.as_bytes()).await
    }

    /// A call of the server API.
    pub(super) async fn call(
        &self,
        method: &str,
        video: VideoGrant,
        kind: &str,
        body: &str,
    ) -> (u16, String, String) {
        let token = self.token(video);
        let length = body.len();
        let request = format!(
            "POST /twirp/livekit.RoomService/{method} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        self.http(&request).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Sends and reads to the end of the connection.
pub(super) async fn exchange(stream: &mut TcpStream, request: &[u8]) -> (u16, String, String) {
    stream.write_all(request).await.unwrap();
    let mut response = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut response)).await;
    let _ = read.expect("the gateway closes the connection");
    let text = String::from_utf8_lossy(&response).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, head.to_ascii_lowercase(), body.to_owned())
}

/// A JSON body whatever the transfer coding.
pub(super) fn json_in(body: &str) -> Value {
    let (from, to) = (body.find('{').unwrap(), body.rfind('}').unwrap());
    serde_json::from_str(&body[from..=to]).unwrap()
}
