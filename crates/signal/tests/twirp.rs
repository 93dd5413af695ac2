//! The server API as SDKs use it.

mod common;

use auth::VideoGrant;
use common::{Reply, TestServer};
use livekit_protocol as proto;
use prost::Message;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const PROTOBUF: (&str, &str) = ("Content-Type", "application/protobuf");

struct Api {
    server: TestServer,
    token: String,
}

impl Api {
    async fn start() -> Self {
        let server = TestServer::start().await;
        let token = server.token(
            "backend",
            VideoGrant {
                room_create: true,
                room_list: true,
                room_admin: true,
                room: "r".into(),
                ..Default::default()
            },
        );
        Self { server, token }
    }

    async fn call(&self, method: &str, request: &Value) -> Reply {
        self.post(method, &[JSON], request.to_string().as_bytes()).await
    }

    async fn post(&self, method: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend(headers);
        self.server.send("POST", &format!("/twirp/livekit.RoomService/{method}"), &all, body).await
    }
}

#[tokio::test]
async fn a_room_is_created_listed_changed_and_deleted() {
    let api = Api::start().await;
    let request = json!({"name": "r", "emptyTimeout": 99, "max_participants": 3, "metadata": "hi", "unknown": 1,
                         "departureTimeout": null});
    let created = api.call("CreateRoom", &request).await;
    assert_eq!((created.status, created.header("content-type")), (200, Some("application/json")));
    let created = created.json();
    assert_eq!(created["name"], "r");
    assert_eq!(created["empty_timeout"], 99);
    assert_eq!(created["max_participants"], 3);
    assert_eq!(created["metadata"], "hi");
    assert_eq!(created["num_participants"], 0, "zeros are written");
    assert!(created["creation_time"].is_string(), "64-bit numbers are strings");

    let again = api.call("CreateRoom", &json!({"name": "r", "emptyTimeout": 5})).await.json();
    assert_eq!(
        (&again["sid"], &again["empty_timeout"]),
        (&created["sid"], &json!(99)),
        "a live room is left alone"
    );

    let listed = api.call("ListRooms", &json!({"names": ["r", "ghost"]})).await.json();
    assert_eq!(listed["rooms"].as_array().unwrap().len(), 1);
    assert_eq!(listed["rooms"][0]["sid"], created["sid"]);
    assert_eq!(api.call("ListRooms", &json!({"names": ["ghost"]})).await.text(), r#"{"rooms":[]}"#);

    let updated = api.call("UpdateRoomMetadata", &json!({"room": "r", "metadata": "new"})).await.json();
    assert_eq!(updated["metadata"], "new");

    assert_eq!(api.call("DeleteRoom", &json!({"room": "r"})).await.text(), "{}");
    let gone = api.call("DeleteRoom", &json!({"room": "r"})).await;
    assert_eq!(gone.status, 404);
    assert_eq!(
        gone.text(),
        r#"{"code":"not_found","msg":"twirp error unknown: requested room does not exist"}"#
    );
}

#[tokio::test]
async fn protobuf_is_answered_in_protobuf() {
    let api = Api::start().await;
    let request = proto::CreateRoomRequest { name: "r".into(), ..Default::default() };
    let created = api.post("CreateRoom", &[PROTOBUF], &request.encode_to_vec()).await;
    assert_eq!((created.status, created.header("content-type")), (200, Some("application/protobuf")));
    assert_eq!(proto::Room::decode(&*created.body).unwrap().name, "r");
    let listed = api.post("ListRooms", &[PROTOBUF], b"").await;
    assert_eq!(proto::ListRoomsResponse::decode(&*listed.body).unwrap().rooms.len(), 1);
}

#[tokio::test]
async fn bodies_that_are_not_what_they_say_are_malformed() {
    let api = Api::start().await;
    for body in ["{", "", r#"{"names":3}"#, "\u{0}"] {
        let reply = api.post("ListRooms", &[JSON], body.as_bytes()).await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.text(), r#"{"code":"malformed","msg":"the json request could not be decoded"}"#);
    }
    let reply = api.post("ListRooms", &[PROTOBUF], &[0xff, 0xff]).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.text(), r#"{"code":"malformed","msg":"the protobuf request could not be decoded"}"#);
}

#[tokio::test]
async fn wrong_routes_are_told_in_twirps_words() {
    let api = Api::start().await;
    let reply = api.server.get("/twirp/livekit.RoomService/ListRooms").await;
    assert_eq!(reply.status, 404);
    assert_eq!(
        reply.text(),
        concat!(
            r#"{"code":"bad_route","msg":"unsupported method \"GET\" (only POST is allowed)","#,
            r#""meta":{"twirp_invalid_route":"GET /twirp/livekit.RoomService/ListRooms"}}"#
        )
    );
    let reply = api.call("Nope", &json!({})).await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.json()["msg"], r#"no handler for path "/twirp/livekit.RoomService/Nope""#);
    let reply = api.post("ListRooms", &[("Content-Type", "text/plain")], b"{}").await;
    assert_eq!(reply.json()["msg"], r#"unexpected Content-Type: "text/plain""#);
}

#[tokio::test]
async fn every_method_wants_its_grant() {
    let server = TestServer::start().await;
    let api = Api { token: server.token("x", VideoGrant { room: "r".into(), ..Default::default() }), server };
    let requests = [
        ("CreateRoom", json!({"name": "r"})),
        ("ListRooms", json!({})),
        ("DeleteRoom", json!({"room": "r"})),
        ("ListParticipants", json!({"room": "r"})),
        ("GetParticipant", json!({"room": "r", "identity": "a"})),
        ("RemoveParticipant", json!({"room": "r", "identity": "a"})),
        ("MutePublishedTrack", json!({"room": "r", "identity": "a"})),
        ("UpdateParticipant", json!({"room": "r", "identity": "a"})),
        ("UpdateSubscriptions", json!({"room": "r", "identity": "a"})),
        ("SendData", json!({"room": "r", "data": "aGk="})),
        ("UpdateRoomMetadata", json!({"room": "r"})),
        ("ForwardParticipant", json!({"room": "r", "destinationRoom": "s"})),
        ("MoveParticipant", json!({"room": "r", "destinationRoom": "s"})),
        ("PerformRpc", json!({"room": "r", "destinationIdentity": "a"})),
    ];
    for (method, request) in requests {
        let reply = api.call(method, &request).await;
        assert_eq!(reply.status, 401, "{method}");
        assert_eq!(reply.text(), r#"{"code":"unauthenticated","msg":"permissions denied"}"#, "{method}");
    }
}

#[tokio::test]
async fn administration_of_another_room_is_refused() {
    let api = Api::start().await;
    assert_eq!(api.call("ListParticipants", &json!({"room": "other"})).await.status, 401);
}

#[tokio::test]
async fn who_is_not_there_is_not_found() {
    let api = Api::start().await;
    for exists in [false, true] {
        if exists {
            api.call("CreateRoom", &json!({"name": "r"})).await;
        }
        assert_eq!(
            api.call("ListParticipants", &json!({"room": "r"})).await.text(),
            r#"{"participants":[]}"#
        );
        for method in ["GetParticipant", "RemoveParticipant", "UpdateParticipant", "MutePublishedTrack"] {
            let reply = api.call(method, &json!({"room": "r", "identity": "a"})).await;
            assert_eq!((reply.status, &reply.json()["code"]), (404, &json!("not_found")), "{method}");
            assert_eq!(reply.json()["msg"], "twirp error unknown: participant does not exist", "{method}");
        }
    }
}

#[tokio::test]
async fn limits_are_told_in_livekits_words() {
    let api = Api::start().await;
    let long_name = api.call("CreateRoom", &json!({"name": "r".repeat(257)})).await;
    assert_eq!(
        long_name.text(),
        r#"{"code":"invalid_argument","msg":"twirp error unknown: room name length exceeds limits: max length 256"}"#
    );
    let metadata = api.call("CreateRoom", &json!({"name": "r", "metadata": "m".repeat(524_289)})).await;
    assert_eq!(
        metadata.text(),
        concat!(
            r#"{"code":"invalid_argument","msg":"metadata size exceeds limits 524288","#,
            r#""meta":{"argument":"metadata size exceeds limits"}}"#
        )
    );
    let nonce = api.call("SendData", &json!({"room": "r", "data": "aGk=", "nonce": "aGk="})).await;
    assert_eq!(nonce.json()["msg"], "nonce should be 16-bytes or not present, got: 2 bytes");
    let rpc = api.call("PerformRpc", &json!({"room": "r"})).await;
    assert_eq!(rpc.json()["msg"], "twirp error unknown: destination identity is required");
}

#[tokio::test]
async fn what_is_not_served_says_so() {
    let api = Api::start().await;
    let reply = api.call("PerformRpc", &json!({"room": "r", "destinationIdentity": "a"})).await;
    assert_eq!((reply.status, &reply.json()["code"]), (501, &json!("unimplemented")));
    let egress = api.server.send("POST", "/twirp/livekit.Egress/ListEgress", &[JSON], b"{}").await;
    assert_eq!(egress.status, 501);
    assert_eq!(egress.json()["msg"], "Egress is not served by this version of Sala");
}
