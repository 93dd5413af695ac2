use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::support::{World, exchange, json_in};
use crate::gateway::{Bridge, ProxyProtocol, proxy_protocol};

const PLAIN: &[u8] = b"GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

fn proxy_header() -> Vec<u8> {
    proxy_protocol::write("203.0.113.7:4711".parse().unwrap(), "198.51.100.1:443".parse().unwrap())
}

async fn send(address: SocketAddr, bytes: &[u8]) -> (u16, String, String) {
    exchange(&mut TcpStream::connect(address).await.unwrap(), bytes).await
}

#[tokio::test]
async fn behind_a_balancer_the_client_is_whom_its_header_names() {
    let trust_all =
        |config: &mut crate::gateway::GatewayConfig| config.proxy_protocol = Some(ProxyProtocol::default());
    let world = World::start_with(trust_all).await;
    let (status, _, body) = send(world.http, &[&proxy_header()[..], PLAIN].concat()).await;
    assert_eq!((status, json_in(&body)["client"].as_str()), (200, Some("203.0.113.7")));

    assert_eq!(send(world.http, PLAIN).await.0, 0, "no header: hung up");
    let v1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n";
    assert_eq!(send(world.http, &[v1, PLAIN].concat()).await.0, 0, "version 1: hung up");
    let garbage: Vec<u8> = (0..64u8).map(|i| i.wrapping_mul(37)).collect();
    assert_eq!(send(world.http, &garbage).await.0, 0);
}

#[tokio::test]
async fn the_plain_door_knows_no_balancer_and_no_redirect() {
    let world = World::start_with(|config| {
        config.proxy_protocol = Some(ProxyProtocol::default());
        config.redirect_to_https = true;
    });
    let world = world.await;
    let (status, _, body) = send(world.plain, PLAIN).await;
    assert_eq!((status, json_in(&body)["client"].as_str()), (200, Some("127.0.0.1")));
    let health = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(send(world.plain, health).await.0, 200);
    assert_eq!(send(world.http, &[&proxy_header()[..], PLAIN].concat()).await.0, 308);
}

#[tokio::test]
async fn a_header_from_an_address_that_is_no_balancer_is_not_believed() {
    let world = World::start_with(|config| {
        config.proxy_protocol = Some(ProxyProtocol { trusted: vec!["10.0.0.0/8".parse().unwrap()] });
    });
    let world = world.await;
    let (status, _, body) = send(world.http, PLAIN).await;
    assert_eq!((status, json_in(&body)["client"].as_str()), (200, Some("127.0.0.1")));
    assert_ne!(send(world.http, &[&proxy_header()[..], PLAIN].concat()).await.0, 200);
}

#[tokio::test]
async fn a_client_that_dribbles_its_headers_is_dropped() {
    let world = World::start_with(|config| config.limits.header_timeout = Duration::from_millis(300)).await;
    let mut slow = TcpStream::connect(world.http).await.unwrap();
    let dribble = async {
        loop {
            if slow.write_all(b"GET / HTTP/1.1\r\nx: ").await.is_err() || slow.read_u8().await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), dribble).await.expect("dropped");
    let mut silent = TcpStream::connect(world.http).await.unwrap();
    let mut nothing = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(10), silent.read_to_end(&mut nothing));
    let _ = end.await.expect("dropped");
    assert_eq!(send(world.http, PLAIN).await.0, 200);
}

#[tokio::test]
async fn headers_have_a_bound() {
    let world = World::start_with(|config| config.limits.max_header_bytes = 16 * 1024).await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(32 * 1024));
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    let _ = stream.write_all(long.as_bytes()).await;
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    assert!(!response.starts_with(b"HTTP/1.1 200"));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    assert_eq!(send(world.http, many.as_bytes()).await.0, 431);
}

#[tokio::test]
async fn idle_connections_are_bounded_and_make_room_when_they_end() {
    const LIMIT: usize = 200;
    let world = World::start_with(|config| config.limits.max_connections = LIMIT).await;
    let mut idle = Vec::new();
    for _ in 0..LIMIT + 20 {
        idle.push(TcpStream::connect(world.http).await.unwrap());
    }
    let late = tokio::spawn(send(world.http, PLAIN));
    assert!(
        tokio::time::timeout(Duration::from_millis(300), async {
            while !late.is_finished() {
                tokio::task::yield_now().await
            }
        })
        .await
        .is_err()
    );
    drop(idle);
    assert_eq!(late.await.unwrap().0, 200);
}

#[tokio::test]
async fn a_bridge_carries_tcp_to_a_living_media_node_and_tells_the_client() {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = service.local_addr().unwrap().port();
    let world = World::start_with(|config| {
        let listen = "127.0.0.1:0".parse().unwrap();
        config.bridges = vec![Bridge { listen, port, send_proxy_protocol: true }];
    });
    let world = world.await;
    let mut client = TcpStream::connect(world.bridges[0]).await.unwrap();
    client.write_all(b"rtmp").await.unwrap();
    let (mut served, _) = service.accept().await.unwrap();
    let mut got = vec![0; 28 + 4];
    served.read_exact(&mut got).await.unwrap();
    let (header, length) = proxy_protocol::parse(&got).unwrap().unwrap();
    let source = client.local_addr().unwrap();
    assert_eq!(header, proxy_protocol::ProxyHeader::Proxied { source, destination: world.bridges[0] });
    assert_eq!(&got[length..], b"rtmp");
    served.write_all(b"back").await.unwrap();
    let mut back = [0; 4];
    client.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"back");

    world.director.declare_dead(&world.a.node.node_id);
    assert_eq!(client.read(&mut back).await.unwrap_or(0), 0, "ends with its node");
}
