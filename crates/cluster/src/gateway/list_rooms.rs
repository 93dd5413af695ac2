//! The list of all rooms: every media node is asked, and the answers are put together.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use futures_util::future::join_all;
use livekit_protocol as proto;
use prost::Message;
use serde_json::Value;

use super::director::RouteError;
use super::forward::{Outgoing, Unanswered};
use super::headers::clean_response;
use super::server::Shared;

/// One node's list: 100,000 rooms of some 300 bytes, and twice that for JSON.
const MAX_LIST_BYTES: usize = 64 << 20;

/// Answers `ListRooms`. A node's refusal (of the request, not of its room) is the answer. A node that does not
/// answer is left out: its rooms are about to be found elsewhere.
pub(super) async fn list_rooms(shared: &Shared, call: &Outgoing) -> Result<Response<Body>, Unanswered> {
    let nodes = shared.director.media_nodes();
    let asked = nodes.iter().map(|node| async {
        let request = call.build(&shared.config.node_id, None);
        let response = shared.client.request(node.address, &node.node_id, request).await?;
        let (head, body) = response.into_parts();
        let body = to_bytes(Body::new(body), MAX_LIST_BYTES).await;
        Ok::<_, Unanswered>((head, body.unwrap_or_default()))
    });
    let mut lists = Vec::new();
    for (node, answer) in nodes.iter().zip(join_all(asked).await) {
        match answer {
            Ok((head, list)) if head.status == StatusCode::OK => lists.push(list),
            Ok((mut head, body)) if head.status.is_client_error() => {
                clean_response(&mut head.headers);
                return Ok(Response::from_parts(head, body.into()));
            }
            Ok((head, _)) => {
                tracing::warn!(node = %node.node_id, status = %head.status, "a node has no list of rooms")
            }
            Err(error) => tracing::warn!(node = %node.node_id, %error, "a node has no list of rooms"),
        }
    }
    if lists.is_empty() {
        return Err(RouteError::NoMediaNode.into());
    }
    let content_type = call.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_json = content_type
        .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("application/json"));
    let (content_type, body) = if is_json {
        ("application/json", merge_json(&lists))
    } else {
        ("application/protobuf", merge_protobuf(&lists))
    };
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// While a room moves two nodes may name it: the first counts.
fn merge_protobuf(lists: &[Bytes]) -> Vec<u8> {
    let decoded = lists.iter().filter_map(|list| proto::ListRoomsResponse::decode(list.clone()).ok());
    let mut rooms: Vec<proto::Room> = decoded.flat_map(|list| list.rooms).collect();
    let mut seen = std::collections::HashSet::new();
    rooms.retain(|room| seen.insert(room.name.clone()));
    proto::ListRoomsResponse { rooms }.encode_to_vec()
}

fn merge_json(lists: &[Bytes]) -> Vec<u8> {
    let decoded = lists.iter().filter_map(|list| serde_json::from_slice::<Value>(list).ok());
    let rooms = decoded.filter_map(|mut list| match list.get_mut("rooms").map(Value::take) {
        Some(Value::Array(rooms)) => Some(rooms),
        _ => None,
    });
    let mut rooms: Vec<Value> = rooms.flatten().collect();
    let mut seen = std::collections::HashSet::new();
    rooms.retain(|room| seen.insert(room["name"].as_str().unwrap_or_default().to_owned()));
    serde_json::json!({ "rooms": rooms }).to_string().into_bytes()
}
