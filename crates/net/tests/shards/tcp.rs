//! ICE over TCP, end to end.

use crate::support::*;
use net::Shards;
use rtc::Proto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn connect(shards: &Shards) -> TcpStream {
    let stream = TcpStream::connect(candidate(shards, Proto::Tcp)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    [&(datagram.len() as u16).to_be_bytes()[..], datagram].concat()
}

async fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let read = async {
        let len = stream.read_u16().await.unwrap();
        let mut frame = vec![0; usize::from(len)];
        stream.read_exact(&mut frame).await.unwrap();
        frame
    };
    tokio::time::timeout(PATIENCE, read).await.expect("a frame in time")
}

#[tokio::test]
async fn a_check_in_any_number_of_pieces_is_answered_by_the_right_shard() {
    let shards = shards(3);
    let mut clients = Vec::new();
    for room in ["a", "b", "c"] {
        let mut session = join(&shards, room, "alice").await;
        let credentials = credentials(&mut session).await;
        let mut stream = connect(&shards).await;
        // The handover happens somewhere in the middle of the second frame.
        let two = [framed(&credentials.binding_request()), framed(&credentials.binding_request())].concat();
        for piece in two.chunks(7) {
            stream.write_all(piece).await.unwrap();
        }
        for _ in 0..2 {
            let answer = read_frame(&mut stream).await;
            assert!(answer[0] < 4, "an answer to a connectivity check");
        }
        clients.push((session, stream));
    }
    eventually(&shards, "three connections", |stats| stats.tcp_connections == 3).await;
    shards.shutdown().await;
}

#[tokio::test]
async fn the_end_of_the_room_ends_its_connections() {
    let shards = shards(1);
    let mut session = join(&shards, "r", "alice").await;
    let credentials = credentials(&mut session).await;
    let mut stream = connect(&shards).await;
    stream.write_all(&framed(&credentials.binding_request())).await.unwrap();
    read_frame(&mut stream).await;
    shards.with_room(&"r".into(), |room, now| room.close(now, Default::default())).await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the end in time").unwrap();
    eventually(&shards, "no connection", |stats| stats.tcp_connections == 0).await;
    shards.shutdown().await;
}

#[tokio::test]
async fn an_impossible_frame_ends_the_connection() {
    let shards = shards(1);
    let mut session = join(&shards, "r", "alice").await;
    let credentials = credentials(&mut session).await;
    let mut stream = connect(&shards).await;
    stream.write_all(&framed(&credentials.binding_request())).await.unwrap();
    read_frame(&mut stream).await;
    stream.write_all(&[0xff, 0xff, 0x80]).await.unwrap();
    eventually(&shards, "no connection", |stats| stats.tcp_connections == 0).await;
    shards.shutdown().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_is_forgotten() {
    let shards = shards(1);
    let mut session = join(&shards, "r", "alice").await;
    let credentials = credentials(&mut session).await;
    let mut stream = connect(&shards).await;
    stream.write_all(&framed(&credentials.binding_request())).await.unwrap();
    read_frame(&mut stream).await;
    drop(stream);
    eventually(&shards, "no connection", |stats| stats.tcp_connections == 0).await;
    shards.shutdown().await;
}
