//! A server with real shards on loopback, and a client that sees the bytes of HTTP.

#![allow(dead_code, unreachable_pub)] // a module of each test file, which uses a part of it

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth::{Claims, KeyStore, VideoGrant};
use livekit_protocol as proto;
use net::{NetConfig, Shards};
use sfu::{EngineConfig, RoomOptions};
use signal::{AdminLogin, Config, Limits, Page, Pages, RoomPolicy, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

pub const ANY_PORT: RangeInclusive<u16> = 0..=0;

pub struct TestServer {
    pub address: SocketAddr,
    pub keys: KeyStore,
    pub shards: Shards,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

pub fn config() -> Config {
    Config {
        keys: KeyStore::new([("devkey".to_owned(), "secret".into())]).unwrap(),
        room: RoomPolicy { auto_create: true, defaults: RoomOptions::default() },
        limits: Limits::default(),
        ice_servers: Vec::new(),
        admin: Some(AdminLogin { user: "admin".into(), password: "pass:word".into() }),
    }
}

fn engine() -> EngineConfig {
    EngineConfig {
        candidates: Vec::new(),
        ice_lite: false,
        ufrag_prefix: String::new(),
        audio_active_level: 35,
        audio_min_percentile: 40,
        audio_update_interval: Duration::from_millis(400),
        audio_smooth_intervals: 2,
        dynacast_pause_delay: Duration::from_secs(5),
        allow_pause: false,
        enabled_codecs: vec![rtc::Codec::Opus, rtc::Codec::Vp8],
        enable_remote_unmute: false,
        describe_rooms: false,
        limits: sfu::Limits::default(),
        server_info: proto::ServerInfo { version: "1.13.5".into(), protocol: 17, ..Default::default() },
    }
}

impl TestServer {
    pub async fn start() -> Self {
        Self::start_with(config()).await
    }

    pub async fn start_with(config: Config) -> Self {
        let shards = Shards::start(NetConfig {
            addresses: vec![std::net::IpAddr::from(Ipv4Addr::LOCALHOST).into()],
            udp_ports: ANY_PORT,
            tcp_port: None,
            shards: Some(1),
            fence: std::sync::Arc::new(net::Fence::open()),
            engine: engine(),
        });
        let shards = shards.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keys = config.keys.clone();
        let server = Arc::new(Server::new(config, shards.clone(), pages()));
        let (stop, stopped) = oneshot::channel::<()>();
        let to_stop = shards.clone();
        let task = tokio::spawn(signal::serve(server, vec![listener], async move {
            let _ = stopped.await;
            to_stop.shutdown().await;
        }));
        Self { address, keys, shards, stop, task }
    }

    /// Stops the way `sala` does at SIGTERM.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }

    pub fn token(&self, identity: &str, video: VideoGrant) -> String {
        let claims = Claims { identity: identity.into(), video: Some(video), ..Claims::default() };
        self.sign(&claims)
    }

    pub fn sign(&self, claims: &Claims) -> String {
        self.keys.mint(claims, SystemTime::now(), Duration::from_secs(600))
    }

    /// A token to join room `r`.
    pub fn join_token(&self, identity: &str) -> String {
        self.token(identity, join_grant())
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"").await
    }

    pub async fn get_as(&self, path: &str, token: &str) -> Reply {
        self.send("GET", path, &[("Authorization", &format!("Bearer {token}"))], b"").await
    }

    /// One request on a connection of its own.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let connection =
            if headers.iter().any(|(name, _)| *name == "Connection") { "" } else { "Connection: close\r\n" };
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{connection}");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !headers.iter().any(|(name, _)| *name == "Content-Length") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        Reply::parse(&answer)
    }
}

pub fn join_grant() -> VideoGrant {
    VideoGrant { room_join: true, room: "r".into(), ..VideoGrant::default() }
}

fn pages() -> Pages {
    let page = |path: &str, content: &'static [u8]| Page { path: path.into(), content: content.into() };
    Pages::new([
        page("index.html", b"<html>the page</html>"),
        page("assets/app-1a2b.js", &[b' '; 4096]),
        page("favicon.svg", b"<svg/>"),
    ])
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    fn parse(answer: &[u8]) -> Self {
        let end =
            answer.windows(4).position(|w| w == b"\r\n\r\n").expect("the server answers with a whole head");
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HashMap::<String, String>::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            let all = headers.entry(name.to_ascii_lowercase()).or_default();
            if !all.is_empty() {
                all.push_str(", ");
            }
            all.push_str(value);
        }
        Self { status, headers, body: answer[end + 4..].to_vec() }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}
