use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use livekit_protocol as proto;
use prost::Message as _;
use proto::{leave_request::Action, signal_response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};

use super::support::World;
use crate::gateway::frames;

type Client = WebSocketStream<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>;

async fn next(client: &mut Client) -> Option<Result<Message, Error>> {
    tokio::time::timeout(Duration::from_secs(10), client.next()).await.expect("the gateway says something")
}

/// The next messages are a Leave that makes the client join anew, and an orderly close.
async fn expect_leave(client: &mut Client) {
    let response = match next(client).await.unwrap().unwrap() {
        Message::Binary(payload) => proto::SignalResponse::decode(payload).unwrap(),
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    };
    let Some(signal_response::Message::Leave(leave)) = response.message else { panic!("{response:?}") };
    assert!(leave.action() == Action::Reconnect && leave.can_reconnect, "{leave:?}");
    let closed = next(client).await.unwrap().unwrap();
    assert!(matches!(&closed, Message::Close(Some(close)) if u16::from(close.code) == 1000), "{closed:?}");
}

/// The connection ends without a close frame: clients then resume.
async fn expect_drop(client: &mut Client) {
    match next(client).await {
        Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::Io(_))) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_meets_the_node_of_its_room_which_learns_who_it_is() {
    let mut world = World::start().await;
    world.director.routes.lock().unwrap().insert("café".into(), world.b.node.clone());
    let (mut client, seen) = world.join("/rtc", "café").await;
    assert_eq!(
        (seen["node"].as_str(), seen["room"].as_str(), seen["epoch"].as_str()),
        (Some("b"), Some("café"), Some("3"))
    );
    assert_eq!((seen["client"].as_str(), seen["master"].as_str()), (Some("127.0.0.1"), Some("m1")));
    let mut node = world.b.socket().await;
    node.write_all(&frames::message(b"hello", false)).await.unwrap();
    assert_eq!(next(&mut client).await.unwrap().unwrap(), Message::binary(&b"hello"[..]));
    client.send(Message::binary(&b"hi"[..])).await.unwrap();
    let mut masked = [0; 8];
    node.read_exact(&mut masked).await.unwrap();
    assert_eq!(masked[..2], [0x82, 0x82]);
}

#[tokio::test]
async fn long_messages_pass_both_ways_and_a_close_is_answered() {
    let world = World::start().await;
    let (mut client, _) = world.join("/rtc/v1", "r").await;
    let long: Vec<u8> = (0..1_000_000u32).map(|i| i as u8).collect();
    for payload in [&b""[..], b"short", &long] {
        client.send(Message::binary(payload.to_vec())).await.unwrap();
        assert_eq!(next(&mut client).await.unwrap().unwrap(), Message::binary(payload.to_vec()));
    }
    client.close(None).await.unwrap();
    assert!(matches!(next(&mut client).await, Some(Ok(Message::Close(_)))));
    assert!(next(&mut client).await.is_none());
}

#[tokio::test]
async fn a_node_killed_within_a_frame_costs_the_client_that_frame_only() {
    let mut world = World::start().await;
    let (mut client, _) = world.join("/rtc", "r").await;
    let mut node = world.a.socket().await;
    node.write_all(&frames::message(b"whole", false)).await.unwrap();
    node.write_all(&frames::message(&[7; 3000], false)[..1000]).await.unwrap();
    node.flush().await.unwrap();
    assert_eq!(next(&mut client).await.unwrap().unwrap(), Message::binary(&b"whole"[..]));
    world.a.kill().await;
    drop(node);
    // Masters need a moment to decide.
    let (director, id) = (world.director.clone(), world.a.node.node_id.clone());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        director.declare_dead(&id);
    });
    expect_leave(&mut client).await;
}

#[tokio::test]
async fn a_node_that_is_silent_and_declared_dead_loses_its_clients_at_once() {
    let mut world = World::start().await;
    let (mut client, _) = world.join("/rtc", "r").await;
    let mut node = world.a.socket().await;
    node.write_all(&frames::message(br#"{"pong":"1"}"#, true)).await.unwrap();
    assert!(next(&mut client).await.unwrap().unwrap().is_text());
    world.director.declare_dead(&world.b.node.node_id);
    world.director.declare_dead(&world.a.node.node_id);
    expect_leave(&mut client).await;
    drop(node);
}

#[tokio::test]
async fn who_is_known_where_the_room_goes_on_resumes_there() {
    for (known, resumes) in [("room=r&identity=ana", true), ("room=r&identity=bert", false)] {
        let mut world = World::start().await;
        let (mut client, _) = world.join("/rtc", "r").await;
        let _node = world.a.socket().await;
        world.b.know(known);
        world.director.routes.lock().unwrap().insert("r".into(), world.b.node.clone());
        world.director.declare_dead(&world.a.node.node_id);
        match resumes {
            true => expect_drop(&mut client).await,
            false => expect_leave(&mut client).await,
        }
    }
}

/// A node had been restarted, and the end of its former process was confirmed a second later.
#[tokio::test]
async fn the_death_of_a_former_process_leaves_the_clients_of_the_present_one_alone() {
    let mut world = World::start().await;
    let (mut client, _) = world.join("/rtc", "r").await;
    let mut node = world.a.socket().await;
    world.director.declare_former_dead(&world.a.node.node_id);
    node.write_all(&frames::message(b"still here", false)).await.unwrap();
    assert_eq!(next(&mut client).await.unwrap().unwrap(), Message::binary(&b"still here"[..]));
}

#[tokio::test]
async fn a_node_that_died_while_it_answered_is_noticed() {
    let mut world = World::start().await;
    world.director.declare_dead(&world.a.node.node_id);
    world.director.routes.lock().unwrap().insert("r".into(), world.a.node.clone());
    let (mut client, _) = world.join("/rtc", "r").await;
    let _node = world.a.socket().await;
    expect_leave(&mut client).await;
}

#[tokio::test]
async fn a_living_node_that_hangs_up_makes_the_client_resume_without_delay() {
    let mut world = World::start().await;
    let (mut client, _) = world.join("/rtc", "r").await;
    let mut node = world.a.socket().await;
    node.write_all(&frames::message(b"last", false)).await.unwrap();
    node.flush().await.unwrap();
    assert_eq!(next(&mut client).await.unwrap().unwrap(), Message::binary(&b"last"[..]));
    let began = Instant::now();
    drop(node);
    expect_drop(&mut client).await;
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
}

#[tokio::test]
async fn no_leave_is_put_into_a_message_that_has_begun() {
    let mut world = World::start().await;
    let (mut client, _) = world.join("/rtc", "r").await;
    let mut node = world.a.socket().await;
    node.write_all(&[0x02, 1, b'a']).await.unwrap();
    node.write_all(&frames::message(b"", false)[..1]).await.unwrap();
    // A ping within the fragmented message shows that its first fragment has passed.
    node.flush().await.unwrap();
    world.director.declare_dead(&world.a.node.node_id);
    match next(&mut client).await {
        Some(Err(_)) => {}
        // The death was told before the fragment was read.
        Some(Ok(Message::Binary(payload))) => assert!(proto::SignalResponse::decode(payload).is_ok()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stopping_master_drops_its_websockets_so_that_clients_resume_through_another() {
    let mut world = World::start().await;
    let (mut client, _) = world.join("/rtc", "r").await;
    let mut node = world.a.socket().await;
    world.stop();
    expect_drop(&mut client).await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), node.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_vanishes_is_told_to_the_node() {
    let mut world = World::start().await;
    let (client, _) = world.join("/rtc", "r").await;
    let mut node = world.a.socket().await;
    drop(client);
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), node.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn a_join_goes_to_the_node_that_takes_it() {
    let mut world = World::start().await;
    world.a.refuse(1);
    world.director.next.lock().unwrap().extend([Ok(world.a.node.clone()), Ok(world.b.node.clone())]);
    let (_client, seen) = world.join("/rtc", "r").await;
    assert_eq!((seen["node"].as_str(), world.a.requests()), (Some("b"), 1));
    world.b.socket().await;

    // The next one is sent to a node that was just killed.
    world.a.kill().await;
    world.director.next.lock().unwrap().extend([Ok(world.a.node.clone()), Ok(world.b.node.clone())]);
    let (_client, seen) = world.join("/rtc", "r").await;
    assert_eq!(seen["node"], "b");
}
