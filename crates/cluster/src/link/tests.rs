use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::{Body, to_bytes};
use axum::extract::Extension;
use axum::http::{Request, Response, StatusCode, header};
use axum::routing::{get, post};
use axum::{Router, body::Bytes};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::NodeId;
use crate::security::{Ca, NodeTls};

struct Node {
    id: NodeId,
    tls: Arc<NodeTls>,
    address: SocketAddr,
    links: Links,
    events: mpsc::Receiver<LinkEvent>,
    server: JoinHandle<()>,
}

impl Node {
    async fn start(ca: &Ca, name: &str) -> Node {
        Node::start_at(ca, name, "127.0.0.1:0".parse().unwrap()).await
    }

    async fn start_at(ca: &Ca, name: &str, address: SocketAddr) -> Node {
        let id = NodeId(name.to_owned());
        let tls = NodeTls::new(ca.clone(), "demo", &id, vec![], SystemTime::now()).unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (links, events) = Links::new(tls.clone(), None).unwrap();
        let (served_links, served_tls) = (links.clone(), tls.clone());
        let server = tokio::spawn(async move {
            serve(listener, served_tls, &served_links, router(), std::future::pending()).await.unwrap();
        });
        Node { id, tls, address, links, events, server }
    }

    async fn event(&mut self) -> LinkEvent {
        tokio::time::timeout(Duration::from_secs(10), self.events.recv()).await.unwrap().unwrap()
    }

    async fn connected(&mut self) -> (LinkId, NodeId, Side) {
        loop {
            if let LinkEvent::Connected { link, peer, side } = self.event().await {
                return (link, peer, side);
            }
        }
    }

    async fn frame(&mut self) -> (LinkId, Bytes) {
        loop {
            if let LinkEvent::Frame { link, payload, .. } = self.event().await {
                return (link, payload);
            }
        }
    }

    /// As the kernel does with a killed process: the port is closed, connections end.
    async fn kill(self) -> SocketAddr {
        self.server.abort();
        let _ = self.server.await;
        drop(self.links);
        drop(self.events);
        self.address
    }
}

fn router() -> Router {
    Router::new()
        .route("/who", get(|Extension(Peer(peer)): Extension<Peer>| async move { peer.0 }))
        .route("/echo", post(|body: Bytes| async move { body }))
        .route("/tunnel", get(tunnel))
}

/// Upgrades and echoes.
async fn tunnel(mut request: Request<Body>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    response
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "echo")
        .body(Body::empty())
        .unwrap()
}

fn request(method: &str, path: &str, body: &'static str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(body.into()).unwrap()
}

#[tokio::test]
async fn frames_pass_both_ways_between_nodes_that_know_each_other() {
    let ca = Ca::generate("demo").unwrap();
    let (mut a, mut b) = (Node::start(&ca, "a").await, Node::start(&ca, "b").await);
    a.links.set_peers(&[(b.id.clone(), b.address), (a.id.clone(), a.address)]);
    let (link, peer, side) = a.connected().await;
    assert_eq!((peer, side), (b.id.clone(), Side::Dialled));
    assert_eq!(b.connected().await.1, a.id);
    a.links.send(link, Bytes::from_static(b"heartbeat")).unwrap();
    let (back, payload) = b.frame().await;
    assert_eq!(&payload[..], b"heartbeat");
    let long = Bytes::from(vec![7; MAX_FRAME_BYTES]);
    b.links.send(back, long.clone()).unwrap();
    assert_eq!(a.frame().await, (link, long));
    assert!(matches!(a.links.send(link, vec![0; MAX_FRAME_BYTES + 1].into()), Err(SendError::TooLong(_))));
}

#[tokio::test]
async fn a_killed_peer_is_told_as_reset_then_refused_and_found_again() {
    let ca = Ca::generate("demo").unwrap();
    let (mut a, mut b) = (Node::start(&ca, "a").await, Node::start(&ca, "b").await);
    a.links.set_peers(&[(b.id.clone(), b.address)]);
    let (first, ..) = a.connected().await;
    b.connected().await;
    let address = b.kill().await;
    assert!(matches!(a.event().await, LinkEvent::Reset { link, .. } if link == first));
    assert!(matches!(a.event().await, LinkEvent::Refused { .. }));
    assert_eq!(a.links.send(first, Bytes::new()), Err(SendError::Closed));
    assert_eq!(probe(address, None, Duration::from_secs(1)).await, Probe::Refused);
    let _again = Node::start_at(&ca, "b", address).await;
    assert_ne!(a.connected().await.0, first);
}

#[tokio::test]
async fn a_stopped_peer_is_not_taken_for_a_dead_one() {
    let ca = Ca::generate("demo").unwrap();
    let mut a = Node::start(&ca, "a").await;
    // The kernel accepts for a process that does not run.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    a.links.set_peers(&[(NodeId("b".into()), address)]);
    let LinkEvent::Unreachable { error, .. } = a.event().await else { panic!() };
    assert_eq!(error, DialError::TimedOut);
    assert_eq!(probe(address, None, Duration::from_secs(1)).await, Probe::Open);
}

#[tokio::test]
async fn a_silent_link_is_dialled_anew() {
    let ca = Ca::generate("demo").unwrap();
    let (mut a, b) = (Node::start(&ca, "a").await, Node::start(&ca, "b").await);
    a.links.set_peers(&[(b.id.clone(), b.address)]);
    let (first, ..) = a.connected().await;
    assert!(matches!(a.event().await, LinkEvent::Reset { link, .. } if link == first));
    assert!(a.connected().await.0 > first);
}

#[tokio::test]
async fn a_node_of_another_authority_gets_no_link_and_is_told_why() {
    let mut a = Node::start(&Ca::generate("demo").unwrap(), "a").await;
    let b = Node::start(&Ca::generate("demo").unwrap(), "b").await;
    a.links.set_peers(&[(b.id.clone(), b.address)]);
    let LinkEvent::Unreachable { error, .. } = a.event().await else { panic!() };
    assert!(error.to_string().contains("ca.pem"), "{error}");
}

#[tokio::test]
async fn a_peer_that_reads_nothing_blocks_neither_the_owner_nor_other_peers() {
    let ca = Ca::generate("demo").unwrap();
    let (mut a, mut b, mut c) =
        (Node::start(&ca, "a").await, Node::start(&ca, "b").await, Node::start(&ca, "c").await);
    a.links.set_peers(&[(b.id.clone(), b.address), (c.id.clone(), c.address)]);
    let links = [a.connected().await, a.connected().await];
    let to = |id: &NodeId| links.iter().find(|(_, peer, _)| peer == id).unwrap().0;
    // b's owner takes no events, so b stops reading, and what is sent to it piles up until there is no room.
    let full = (0..100_000).find(|_| a.links.send(to(&b.id), vec![0; 64 * 1024].into()).is_err());
    assert!(full.is_some());
    a.links.send(to(&c.id), Bytes::from_static(b"still here")).unwrap();
    assert_eq!(&c.frame().await.1[..], b"still here");
    drop(b.events.try_recv());
}

#[tokio::test]
async fn set_peers_closes_links_to_those_who_left() {
    let ca = Ca::generate("demo").unwrap();
    let (mut a, mut b) = (Node::start(&ca, "a").await, Node::start(&ca, "b").await);
    a.links.set_peers(&[(b.id.clone(), b.address)]);
    a.connected().await;
    b.connected().await;
    a.links.set_peers(&[]);
    assert!(matches!(b.event().await, LinkEvent::Reset { .. }));
}

#[tokio::test]
async fn requests_reuse_connections_and_carry_the_callers_name() {
    let ca = Ca::generate("demo").unwrap();
    let (a, b) = (Node::start(&ca, "a").await, Node::start(&ca, "b").await);
    let client = InternalClient::new(a.tls.clone(), None).unwrap();
    for _ in 0..3 {
        let response = client.request(b.address, &b.id, request("GET", "/who", "")).await.unwrap();
        assert_eq!(&to_bytes(Body::new(response.into_body()), 100).await.unwrap()[..], b"a");
        let response = client.request(b.address, &b.id, request("POST", "/echo", "hello")).await.unwrap();
        assert_eq!(&to_bytes(Body::new(response.into_body()), 100).await.unwrap()[..], b"hello");
    }
    let wrong = client.request(b.address, &NodeId("c".into()), request("GET", "/who", "")).await.unwrap_err();
    assert!(wrong.is_unsent() && wrong.to_string().contains("expected `c.demo"), "{wrong}");
    let (id, address) = (b.id.clone(), b.kill().await);
    let gone = client.request(address, &id, request("GET", "/who", "")).await.unwrap_err();
    assert!(matches!(
        gone,
        RequestError::Unreachable { error: DialError::Refused, .. } | RequestError::Broken { .. }
    ));
}

#[tokio::test]
async fn an_upgraded_request_is_a_tunnel() {
    let ca = Ca::generate("demo").unwrap();
    let (a, b) = (Node::start(&ca, "a").await, Node::start(&ca, "b").await);
    let client = InternalClient::new(a.tls.clone(), None).unwrap();
    let mut request = request("GET", "/tunnel", "");
    request.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
    request.headers_mut().insert(header::UPGRADE, "echo".parse().unwrap());
    let mut response = client.request(b.address, &b.id, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut tunnel = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    tunnel.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    tunnel.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping");
}

#[tokio::test]
async fn the_internal_port_serves_nobody_without_a_certificate() {
    let b = Node::start(&Ca::generate("demo").unwrap(), "b").await;
    let mut stream = TcpStream::connect(b.address).await.unwrap();
    stream.write_all(b"GET /who HTTP/1.1\r\nhost: b\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}
