//! Joining, asking and ending from the asynchronous side.

use crate::support::*;
use livekit_protocol as proto;
use net::{JoinFailure, SendFailure, Shards};
use sfu::{RoomEvent, SessionOutput};

/// A request that every room answers, whatever the client may do.
fn request() -> proto::SignalRequest {
    let update = proto::UpdateParticipantMetadata { metadata: "m".into(), ..Default::default() };
    let message = proto::signal_request::Message::UpdateMetadata(update);
    proto::SignalRequest { message: Some(message) }
}

#[tokio::test]
async fn without_create_a_room_must_exist() {
    let shards = shards(2);
    let room = "r".into();
    let refused = shards.join(&room, Default::default(), false, params("a")).await.err();
    assert_eq!(refused, Some(JoinFailure::RoomDoesNotExist));
    assert!(shards.with_room(&room, |_, _| ()).await.is_none());
    shards.create_room(&room, Default::default()).await.unwrap();
    assert!(shards.join(&room, Default::default(), false, params("a")).await.is_ok());
    shards.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_that_opens_a_room_at_once_meets_in_one() {
    let shards = shards(4);
    let joins: Vec<_> = (0..32)
        .map(|number| {
            let shards = shards.clone();
            tokio::spawn(async move { join(&shards, "party", &format!("p{number}")).await })
        })
        .collect();
    let mut sessions = Vec::new();
    for join in joins {
        sessions.push(join.await.unwrap());
    }
    let rooms = shards.rooms().await;
    assert_eq!(rooms.len(), 1);
    assert_eq!(rooms[0].num_participants, 32);
    shards.shutdown().await;
}

#[tokio::test]
async fn rooms_spread_over_the_shards() {
    let shards = shards(2);
    let (mut homes, mut sessions) = (Vec::new(), Vec::new());
    for number in 0..4 {
        let mut session = join(&shards, &format!("r{number}"), "a").await;
        homes.push(credentials(&mut session).await.ufrag[..2].to_owned());
        sessions.push(session);
    }
    homes.sort();
    assert_eq!(homes, ["00", "00", "01", "01"]);
    shards.shutdown().await;
}

#[tokio::test]
async fn the_room_learns_when_a_session_is_dropped() {
    let shards = shards(1);
    let session = join(&shards, "r", "a").await;
    eventually(&shards, "the session", |stats| stats.sessions == 1).await;
    drop(session);
    eventually(&shards, "its end", |stats| stats.sessions == 0).await;
    let left = shards.with_room(&"r".into(), |room, _| room.info().num_participants).await;
    assert_eq!(left.unwrap_or(0), 0);
    shards.shutdown().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_the_others_are_not() {
    let shards = shards(1);
    let mut lazy = join(&shards, "r", "lazy").await;
    let mut keen = join(&shards, "r", "keen").await;
    let flood = async {
        while shards.stats().await.dropped.slow_sessions == 0 {
            match lazy.send(request()) {
                Ok(()) | Err(SendFailure::Overloaded) => {}
                Err(SendFailure::Closed) => panic!("the shard lives"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, flood).await.expect("a cut in time");
    let mut last = None;
    while let Some(output) = lazy.recv().await {
        last = Some(output);
    }
    assert!(matches!(last, Some(SessionOutput::Abort)), "the client shall resume");
    assert!(keen.recv().await.is_some());
    keen.send(request()).unwrap();
    shards.shutdown().await;
}

#[tokio::test]
async fn observers_hear_of_rooms_by_name() {
    let shards = shards(1);
    let mut events = shards.subscribe_events();
    shards.create_room(&"r".into(), Default::default()).await.unwrap();
    let (room, event) = events.recv().await.unwrap();
    assert_eq!(room.as_str(), "r");
    assert!(matches!(event, RoomEvent::RoomStarted(_)));
    shards.with_room(&"r".into(), |room, now| room.close(now, Default::default())).await.unwrap();
    let (_, event) = events.recv().await.unwrap();
    assert!(matches!(event, RoomEvent::RoomFinished(_)));
    shards.shutdown().await;
}

#[tokio::test]
async fn a_room_that_has_ended_makes_way_for_a_new_one_of_its_name() {
    let shards = shards(1);
    let mut first = join(&shards, "r", "a").await;
    shards.with_room(&"r".into(), |room, now| room.close(now, Default::default())).await.unwrap();
    let second = join(&shards, "r", "a").await;
    while first.recv().await.is_some() {}
    assert_eq!(shards.rooms().await.len(), 1);
    drop(second);
    shards.shutdown().await;
}

/// The room moved to another node, that node died a moment later, and the room is this one's again.
#[tokio::test]
async fn a_room_that_comes_back_does_not_wait_for_what_it_left_behind() {
    let shards = shards(1);
    let room = "r".into();
    let _former = join(&shards, "r", "a").await;
    let description = shards.with_room(&room, |room, _| room.describe()).await.unwrap();
    let snapshot = shards.with_room(&room, |room, now| room.export(now)).await.unwrap();
    shards.with_room(&room, |room, now| room.release(now)).await.unwrap();
    let lingers = shards.import(&room, snapshot).await;
    assert_eq!(lingers, Err(net::InstallError::Lingers), "clients may still come by the bridges");
    shards.restore(&room, description).await.unwrap();
    let _back = join(&shards, "r", "a").await;
    shards.shutdown().await;
}

#[tokio::test]
async fn a_fault_in_one_room_ends_that_room_alone() {
    let shards = shards(1);
    let mut victim = join(&shards, "faulty", "a").await;
    let mut bystander = join(&shards, "sound", "b").await;
    let outcome = shards.with_room(&"faulty".into(), |_, _| -> () { panic!("on purpose") }).await;
    assert!(outcome.is_none());
    let mut last = None;
    while let Some(output) = victim.recv().await {
        last = Some(output);
    }
    assert!(matches!(last, Some(SessionOutput::Abort)));
    bystander.send(request()).unwrap();
    assert!(bystander.recv().await.is_some());
    let stats = shards.stats().await;
    assert_eq!((stats.rooms, stats.room_panics), (1, 1));
    join(&shards, "faulty", "a").await;
    shards.shutdown().await;
}

#[tokio::test]
async fn shutdown_says_goodbye_and_then_refuses() {
    let shards = shards(2);
    let mut session = join(&shards, "r", "a").await;
    shards.shutdown().await;
    let mut last = None;
    while let Some(output) = session.recv().await {
        last = Some(output);
    }
    assert!(matches!(last, Some(SessionOutput::Close)));
    let refused = shards.join(&"r".into(), Default::default(), true, params("b")).await.err();
    assert_eq!(refused, Some(JoinFailure::ShuttingDown));
    assert_eq!(session.send(request()), Err(SendFailure::Closed));
    assert!(shards.rooms().await.is_empty());
}

#[tokio::test]
async fn configurations_that_cannot_work_say_why() {
    let mut none = config(1, std::net::Ipv4Addr::LOCALHOST.into());
    none.addresses.clear();
    assert!(matches!(Shards::start(none).err(), Some(net::NetError::NoAddress)));
    let mut narrow = config(3, std::net::Ipv4Addr::LOCALHOST.into());
    narrow.udp_ports = 50_000..=50_001;
    let refused = Shards::start(narrow).err().map(|error| error.to_string());
    assert!(refused.is_some_and(|text| text.contains("widen the range")));
}
