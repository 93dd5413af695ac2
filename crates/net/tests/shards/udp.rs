//! Datagrams from honest and dishonest clients, over real sockets.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::support::*;
use net::Shards;
use rtc::Proto;
use tokio::net::UdpSocket;

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// RTP by its looks: version 2, some payload type, sealed or not nobody can tell.
const RTP: [u8; 40] = {
    let mut packet = [0x5a; 40];
    packet[0] = 0x80;
    packet[1] = 96;
    packet
};

/// Sends a check until it is answered: the answer proves that the way is valid.
async fn validate(socket: &UdpSocket, request: &[u8], server: std::net::SocketAddr) {
    let mut answer = [0; 1_500];
    for _ in 0..100 {
        socket.send_to(request, server).await.unwrap();
        if tokio::time::timeout(Duration::from_millis(100), socket.recv_from(&mut answer)).await.is_ok() {
            return;
        }
    }
    panic!("the server answers no connectivity check");
}

#[tokio::test]
async fn garbage_is_counted_and_forgotten() {
    let shards = shards(1);
    let server = candidate(&shards, Proto::Udp);
    let socket = socket().await;
    for round in 0..50_u8 {
        socket.send_to(&[], server).await.unwrap();
        socket.send_to(&[64 + round % 64; 1_400], server).await.unwrap();
        socket.send_to(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, round], server).await.unwrap();
        socket.send_to(&vec![200; 9_000], server).await.unwrap();
    }
    eventually(&shards, "the garbage", |stats| stats.dropped.malformed >= 150).await;
    assert!(shards.create_room(&"still there".into(), Default::default()).await.is_ok());
    assert_eq!(shards.stats().await.room_panics, 0);
    shards.shutdown().await;
}

#[tokio::test]
async fn media_from_a_way_that_ice_has_not_validated_reaches_no_room() {
    let shards = shards(1);
    let server = candidate(&shards, Proto::Udp);
    let mut session = join(&shards, "r", "alice").await;
    let credentials = credentials(&mut session).await;
    let (alice, mallory) = (socket().await, socket().await);

    alice.send_to(&RTP, server).await.unwrap();
    eventually(&shards, "the early packet", |stats| stats.dropped.unvalidated == 1).await;

    validate(&alice, &credentials.binding_request(), server).await;
    for _ in 0..10 {
        mallory.send_to(&RTP, server).await.unwrap();
    }
    let before = eventually(&shards, "the spoofed packets", |stats| stats.dropped.unvalidated == 11).await;
    alice.send_to(&RTP, server).await.unwrap();
    let after = eventually(&shards, "Alice's packet", |stats| stats.packets_in > before.packets_in).await;
    assert_eq!(after.dropped, before.dropped, "hers goes to the room");
    shards.shutdown().await;
}

#[tokio::test]
async fn a_check_for_nobody_here_is_not_answered() {
    let shards = shards(1);
    let socket = socket().await;
    let stranger = Credentials { ufrag: "00nobody".into(), password: "x".repeat(22) };
    socket.send_to(&stranger.binding_request(), candidate(&shards, Proto::Udp)).await.unwrap();
    let stats = eventually(&shards, "the check", |stats| stats.dropped.unknown_ufrag == 1).await;
    assert_eq!(stats.packets_out, 0);
    shards.shutdown().await;
}

#[tokio::test]
async fn a_transport_that_closes_takes_its_ways_along() {
    let shards = shards(1);
    let server = candidate(&shards, Proto::Udp);
    let mut session = join(&shards, "r", "alice").await;
    let check = credentials(&mut session).await.binding_request();
    let alice = socket().await;
    validate(&alice, &check, server).await;
    shards.with_room(&"r".into(), |room, now| room.close(now, Default::default())).await.unwrap();
    alice.send_to(&RTP, server).await.unwrap();
    alice.send_to(&check, server).await.unwrap();
    let gone = |stats: &net::ShardStats| stats.dropped.unvalidated == 1 && stats.dropped.unknown_ufrag == 1;
    let stats = eventually(&shards, "the late packets", gone).await;
    assert_eq!((stats.rooms, stats.transports, stats.sessions), (0, 0, 0));
    shards.shutdown().await;
}

#[tokio::test]
async fn each_shard_answers_at_its_own_port_and_over_ipv6() {
    let Ok(probe) = UdpSocket::bind("[::1]:0").await else { return };
    let shards = Shards::start(config(2, Ipv6Addr::LOCALHOST.into())).unwrap();
    let ports: Vec<_> = shards.candidates().iter().filter(|path| path.proto == Proto::Udp).collect();
    assert_eq!(ports.len(), 2);
    let mut sessions = Vec::new();
    for room in ["one", "two"] {
        let mut session = join(&shards, room, "alice").await;
        let credentials = credentials(&mut session).await;
        let shard: usize = credentials.ufrag[..2].parse().unwrap();
        validate(&probe, &credentials.binding_request(), ports[shard].local).await;
        sessions.push(session);
    }
    shards.shutdown().await;
}
