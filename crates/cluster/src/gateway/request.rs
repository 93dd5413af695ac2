//! Which room a request is for, and so which node. The gateway only looks: what is wrong with a request is said
//! by a node, to which it goes unrouted, so that the texts are the same as without a cluster.

use std::time::SystemTime;

use auth::{Claims, KeyStore};
use axum::http::{HeaderMap, Method, header, request};
use prost::Message;
use serde::Deserialize;

/// Where the server API's methods live.
const ROOM_SERVICE: &str = "/twirp/livekit.RoomService/";

/// Where a request goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// The node that serves this room; it is placed if there is none and `create` says so.
    Room { name: String, create: bool },
    /// Any media node: no room is named, or the node will refuse.
    Any,
    /// Every media node, and the answers are put together.
    EveryNode,
}

/// What the decision depends on besides the request.
pub(super) struct Rules<'a> {
    pub(super) keys: &'a KeyStore,
    pub(super) auto_create_rooms: bool,
    pub(super) max_room_name_bytes: usize,
}

impl Rules<'_> {
    /// Decides where a request goes. `body` is whole.
    pub(super) fn target(&self, head: &request::Parts, body: &[u8]) -> Target {
        let path = head.uri.path();
        // SDKs join a base URL that ends in `/` with a path that begins with one.
        let path = if path.starts_with("//") { &path[1..] } else { path };
        let room = match path {
            "/rtc" | "/rtc/v1" if wants_websocket(&head.headers) => self.joined_room(head, true),
            "/rtc/validate" | "/rtc/v1/validate" => self.joined_room(head, false),
            _ => match path.strip_prefix(ROOM_SERVICE) {
                Some("ListRooms") if self.may_list_rooms(head) => return Target::EveryNode,
                Some(method) if head.method == Method::POST => self.named_room(head, method, body),
                _ => None,
            },
        };
        let usable = |name: &String| !name.is_empty() && name.len() <= self.max_room_name_bytes;
        match room.filter(|(name, _)| usable(name)) {
            Some((name, create)) => Target::Room { name, create },
            None => Target::Any,
        }
    }

    /// The room of a join or its validation is said by the token.
    fn joined_room(&self, head: &request::Parts, is_join: bool) -> Option<(String, bool)> {
        let claims = self.claims(head)?;
        let room = claims.joinable_room().filter(|_| !claims.identity.is_empty())?;
        Some((room.to_owned(), is_join && (self.auto_create_rooms || claims.may_create_rooms())))
    }

    /// Who joins.
    pub(super) fn identity(&self, head: &request::Parts) -> Option<String> {
        self.claims(head).map(|claims| claims.identity)
    }

    fn may_list_rooms(&self, head: &request::Parts) -> bool {
        head.method == Method::POST && self.claims(head).is_some_and(|claims| claims.may_list_rooms())
    }

    /// The room of a call is said by its body, as JSON or protobuf: field 1 in every request of the service.
    fn named_room(&self, head: &request::Parts, method: &str, body: &[u8]) -> Option<(String, bool)> {
        let claims = self.claims(head)?;
        let content_type = head.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let names = match media_type.as_str() {
            "application/json" => serde_json::from_slice::<Names>(body).ok()?,
            "application/protobuf" => {
                let room = FirstField::decode(body).ok()?.text;
                Names { name: Some(room.clone()), room: Some(room) }
            }
            _ => return None,
        };
        match method {
            "CreateRoom" => Some((names.name?, true)).filter(|_| claims.may_create_rooms()),
            _ => Some((names.room?, false)),
        }
    }

    fn claims(&self, head: &request::Parts) -> Option<Claims> {
        let verified = self.keys.verify(&token(head)?, SystemTime::now()).ok()?;
        verified.claims.video.is_some().then_some(verified.claims)
    }
}

/// The access token, from the header or else the query (livekit.md §1.3).
fn token(head: &request::Parts) -> Option<String> {
    match head.headers.get(header::AUTHORIZATION).filter(|value| !value.is_empty()) {
        Some(value) => Some(value.to_str().ok()?.strip_prefix("Bearer ")?.to_owned()),
        None => {
            let mut query = form_urlencoded::parse(head.uri.query()?.as_bytes());
            Some(query.find(|(name, _)| name == "access_token")?.1.into_owned())
        }
    }
}

/// Whether `Connection` and `Upgrade` name a WebSocket, in any case, among other tokens.
pub(super) fn wants_websocket(headers: &HeaderMap) -> bool {
    let names = |header, wanted: &str| {
        let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
    };
    names(header::CONNECTION, "upgrade") && names(header::UPGRADE, "websocket")
}

#[derive(Deserialize)]
struct Names {
    room: Option<String>,
    name: Option<String>,
}

#[derive(prost::Message)]
struct FirstField {
    #[prost(string, tag = "1")]
    text: String,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use auth::VideoGrant;
    use axum::http::Request;
    use livekit_protocol as proto;
    use proptest::prelude::*;

    use super::*;

    fn keys() -> KeyStore {
        KeyStore::new([("devkey".to_owned(), "secret".into())]).unwrap()
    }

    fn target_with(auto_create: bool, request: Request<Vec<u8>>) -> Target {
        let keys = keys();
        let rules = Rules { keys: &keys, auto_create_rooms: auto_create, max_room_name_bytes: 20 };
        let (head, body) = request.into_parts();
        rules.target(&head, &body)
    }

    fn target(request: Request<Vec<u8>>) -> Target {
        target_with(true, request)
    }

    fn grant(room: &str) -> VideoGrant {
        VideoGrant { room_join: true, room: room.into(), ..VideoGrant::default() }
    }

    fn token(video: VideoGrant) -> String {
        let claims = Claims { identity: "ana".into(), video: Some(video), ..Claims::default() };
        keys().mint(&claims, SystemTime::now(), Duration::from_secs(60))
    }

    fn join(path: &str, token: &str) -> Request<Vec<u8>> {
        let request = Request::builder().uri(format!("{path}?access_token={token}"));
        request
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .body(vec![])
            .unwrap()
    }

    fn call(
        method: &str,
        video: VideoGrant,
        content_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> Request<Vec<u8>> {
        let request = Request::post(format!("{ROOM_SERVICE}{method}"));
        let request = request.header("authorization", format!("Bearer {}", token(video)));
        request.header("content-type", content_type).body(body.into()).unwrap()
    }

    fn room(name: &str, create: bool) -> Target {
        Target::Room { name: name.into(), create }
    }

    #[test]
    fn a_join_goes_by_its_token() {
        for path in ["/rtc", "/rtc/v1", "//rtc"] {
            assert_eq!(target(join(path, &token(grant("café")))), room("café", true), "{path}");
        }
        assert_eq!(target_with(false, join("/rtc", &token(grant("a")))), room("a", false));
        let creator = VideoGrant { room_create: true, ..grant("a") };
        assert_eq!(target_with(false, join("/rtc", &token(creator))), room("a", true));
        assert_eq!(target(join("/rtc/validate", &token(grant("a")))), room("a", false));
    }

    #[test]
    fn what_a_node_will_refuse_places_no_room() {
        assert_eq!(target(join("/rtc", "garbage")), Target::Any);
        assert_eq!(
            target(join("/rtc", &token(VideoGrant { room: "a".into(), ..Default::default() }))),
            Target::Any
        );
        assert_eq!(target(join("/rtc", &token(grant("")))), Target::Any);
        assert_eq!(target(join("/rtc", &token(grant("a name that is far too long")))), Target::Any);
        let mut both = join("/rtc", &token(grant("a")));
        both.headers_mut().insert("authorization", "Basic x".parse().unwrap());
        assert_eq!(target(both), Target::Any, "the header counts before the query");
        let plain = Request::get(format!("/rtc?access_token={}", token(grant("a")))).body(vec![]).unwrap();
        assert_eq!(target(plain), Target::Any, "no WebSocket is asked for");
        let json = r#"{"name":"a"}"#;
        assert_eq!(target(call("CreateRoom", grant("a"), "application/json", json)), Target::Any);
    }

    #[test]
    fn a_call_goes_by_its_body() {
        let admin = || VideoGrant { room_admin: true, room_create: true, room_list: true, ..grant("a") };
        let json = r#"{"room":"a","identity":null,"x":1}"#;
        let charset = "application/json; charset=utf-8";
        assert_eq!(target(call("GetParticipant", admin(), charset, json)), room("a", false));
        let create = proto::CreateRoomRequest { name: "b".into(), empty_timeout: 5, ..Default::default() };
        let protobuf = "application/protobuf";
        assert_eq!(target(call("CreateRoom", admin(), protobuf, create.encode_to_vec())), room("b", true));
        let send = proto::SendDataRequest { room: "c".into(), data: vec![1], ..Default::default() };
        assert_eq!(target(call("SendData", admin(), protobuf, send.encode_to_vec())), room("c", false));
        assert_eq!(target(call("ListRooms", admin(), protobuf, "")), Target::EveryNode);
        assert_eq!(target(call("ListRooms", grant("a"), protobuf, "")), Target::Any);
        assert_eq!(target(call("DeleteRoom", admin(), charset, "{")), Target::Any);
        assert_eq!(target(call("DeleteRoom", admin(), "text/plain", json)), Target::Any);
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), json: bool) {
            let content_type = if json { "application/json" } else { "application/protobuf" };
            target(call("DeleteRoom", grant("a"), content_type, body));
        }
    }
}
