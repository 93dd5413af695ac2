use auth::VideoGrant;
use livekit_protocol as proto;
use prost::Message;

use super::support::{World, json_in};
use crate::gateway::RouteError;

fn admin(room: &str) -> VideoGrant {
    VideoGrant {
        room_admin: true,
        room_create: true,
        room_list: true,
        room: room.into(),
        ..VideoGrant::default()
    }
}

const JSON: &str = "application/json";

#[tokio::test]
async fn a_call_is_carried_to_the_node_of_its_room_and_back() {
    let world = World::start().await;
    world.director.routes.lock().unwrap().insert("r".into(), world.b.node.clone());
    let (status, head, body) =
        world.call("GetParticipant", admin("r"), JSON, r#"{"room":"r","identity":"i"}"#).await;
    let seen = json_in(&body);
    assert_eq!((status, seen["node"].as_str(), seen["room"].as_str()), (200, Some("b"), Some("r")));
    assert_eq!(seen["body"], r#"{"room":"r","identity":"i"}"#);
    assert!(!head.contains("x-sala-"), "{head}");

    let (status, _, body) = world.call("CreateRoom", admin(""), JSON, r#"{"name":"new"}"#).await;
    assert_eq!((status, json_in(&body)["room"].as_str()), (200, Some("new")));
    let unknown = world.call("DeleteRoom", admin("x"), JSON, r#"{"room":"unknown"}"#).await;
    assert!(json_in(&unknown.2)["room"].is_null(), "a node says that there is no such room");
    let asked = world.director.asked.lock().unwrap().clone();
    assert_eq!(asked, [("r".into(), false), ("new".into(), true), ("unknown".into(), false)]);
}

#[tokio::test]
async fn a_client_cannot_pose_as_a_master_or_as_somebody_else() {
    let world = World::start().await;
    let request = "GET /m/x HTTP/1.1\r\nhost: x\r\nx-sala-room: victim\r\nX-SALA-Epoch: 99\r\nx-sala-client: 9.9.9.9:1\r\n\
                   x-sala-master: evil\r\nx-forwarded-for: 9.9.9.9\r\nconnection: close, x-hop\r\nx-hop: 1\r\n\r\n";
    let (status, _, body) = world.http(request).await;
    let seen = json_in(&body);
    assert_eq!(status, 200);
    assert!(seen["room"].is_null() && seen["epoch"].is_null(), "{seen}");
    assert_eq!((seen["client"].as_str(), seen["master"].as_str()), (Some("127.0.0.1"), Some("m1")));
    assert!(!seen["headers"].to_string().contains("hop"), "{seen}");
}

#[tokio::test]
async fn a_refused_request_is_routed_anew_until_a_node_takes_it_or_nobody_does() {
    let world = World::start().await;
    world.a.refuse(2);
    world.director.routes.lock().unwrap().insert("r".into(), world.a.node.clone());
    let (status, _, body) = world.call("DeleteRoom", admin("r"), JSON, r#"{"room":"r"}"#).await;
    assert_eq!((status, json_in(&body)["node"].as_str(), world.a.requests()), (200, Some("a"), 3));

    world.a.refuse(100);
    let (status, head, body) = world.call("DeleteRoom", admin("r"), JSON, r#"{"room":"r"}"#).await;
    assert_eq!((status, json_in(&body)["code"].as_str(), world.a.requests()), (503, Some("unavailable"), 7));
    assert!(head.contains("retry-after"), "{head}");
}

#[tokio::test]
async fn a_request_without_room_finds_a_node_that_lives() {
    let mut world = World::start().await;
    world.a.kill().await;
    let (status, _, body) = world.http("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!((status, json_in(&body)["node"].as_str()), (200, Some("b")));
}

#[tokio::test]
async fn a_request_that_a_stopped_node_holds_is_answered_by_another_once_it_is_dead() {
    let world = World::start().await;
    let asked =
        world.http("POST /hang HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi");
    let death = async {
        while world.a.requests() == 0 {
            tokio::task::yield_now().await;
        }
        world.director.declare_dead(&world.a.node.node_id);
    };
    let ((status, _, body), ()) = tokio::join!(asked, death);
    assert_eq!(
        (status, json_in(&body)["node"].as_str(), json_in(&body)["body"].as_str()),
        (200, Some("b"), Some("hi"))
    );
}

#[tokio::test]
async fn without_media_nodes_the_gateway_says_so_and_is_healthy_itself() {
    let world = World::start().await;
    world.director.nodes.lock().unwrap().clear();
    let request = "GET /rtc/validate HTTP/1.1\r\nhost: x\r\norigin: https://app\r\nconnection: close\r\n\r\n";
    let (status, head, body) = world.http(request).await;
    assert_eq!(status, 503);
    assert!(
        body.contains("no media node") && head.contains("access-control-allow-origin: https://app"),
        "{head}{body}"
    );
    world
        .director
        .next
        .lock()
        .unwrap()
        .extend((0..4).map(|_| Err(RouteError::Unavailable("no quorum".into()))));
    let (_, _, body) = world.call("CreateRoom", admin(""), JSON, r#"{"name":"r"}"#).await;
    assert!(json_in(&body)["msg"].as_str().unwrap().contains("no quorum"), "{body}");
    let (status, _, body) = world.http("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!((status, body.as_str()), (200, "OK"));
}

#[tokio::test]
async fn the_list_of_rooms_is_that_of_all_nodes() {
    let mut world = World::start().await;
    let names = |rooms: &serde_json::Value| -> Vec<String> {
        rooms["rooms"]
            .as_array()
            .unwrap()
            .iter()
            .map(|room| room["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let (status, _, body) = world.call("ListRooms", admin(""), JSON, "{}").await;
    assert_eq!((status, names(&json_in(&body))), (200, vec!["of-a".into(), "moving".into(), "of-b".into()]));

    let (_, head, body) = world.call("ListRooms", admin(""), "application/protobuf", "").await;
    let rooms = proto::ListRoomsResponse::decode(body.as_bytes()).unwrap().rooms;
    assert!(rooms.len() == 3 && head.contains("application/protobuf"), "{rooms:?}");

    world.a.kill().await;
    let (_, _, body) = world.call("ListRooms", admin(""), JSON, "{}").await;
    assert_eq!(names(&json_in(&body)), ["of-b", "moving"]);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_it_says_so_or_not() {
    let world = World::start_with(|config| config.limits.api_request_body_bytes = 1000).await;
    let (status, _, body) = world.call("SendData", admin("r"), JSON, &" ".repeat(1001)).await;
    assert_eq!((status, body.as_str()), (413, "request body too large"));
    let chunked = format!(
        "POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        1001,
        " ".repeat(1001)
    );
    assert_eq!(world.http(&chunked).await.0, 413);
    let fits = "POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(json_in(&world.http(fits).await.2)["body"], "hello");
}

#[tokio::test]
async fn nobody_is_tunnelled_elsewhere() {
    let world = World::start().await;
    let request = "CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(world.http(request).await.0, 405);
    let absolute = "GET http://169.254.169.254/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(json_in(&world.http(absolute).await.2)["path"], "/x");
}

#[tokio::test]
async fn plain_http_can_be_sent_to_https() {
    let world = World::start_with(|config| config.redirect_to_https = true).await;
    let request = "GET /m/room?x=1 HTTP/1.1\r\nhost: meet.example:7880\r\nconnection: close\r\n\r\n";
    let (status, head, _) = world.http(request).await;
    let port = world.https.port();
    assert!(
        status == 308 && head.contains(&format!("location: https://meet.example:{port}/m/room?x=1")),
        "{head}"
    );
    assert_eq!(world.http("GET / HTTP/1.0\r\n\r\n").await.0, 400);
    assert_eq!(world.http("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.0, 200);
}

/// They were carried to a media node, whose internal port takes a master's word.
#[tokio::test]
async fn what_nodes_ask_of_each_other_is_nobody_elses() {
    let world = World::start().await;
    let spellings = [
        "/internal/rooms/abandon?room=r",
        "//internal/status",
        "/internal",
        "/Internal/rooms/import",
        "/%69nternal/mirrors?room=r",
        "/%2Finternal/knows",
    ];
    for path in spellings {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let (status, _, _) = world.http(&request).await;
        assert_eq!(status, 404, "{path}");
    }
    assert_eq!((world.a.requests(), world.b.requests()), (0, 0));
}
