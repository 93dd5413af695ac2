//! The server API: Twirp over HTTP POST, as JSON or protobuf (livekit.md §3). This module is the transport:
//! routes, content types, decoding, errors. What the methods do is in [`room_service`].

mod error;
mod room_service;
mod shape;

use std::future::Future;
use std::sync::Arc;

use auth::Claims;
use axum::body::{Body, Bytes};
use axum::http::{Method, Response, StatusCode, header, request};
use axum::response::IntoResponse;
use prost::Message;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::error::{Code, TwirpError};
use self::shape::Shaped;
use crate::Server;

/// Where the methods of the only service live.
const ROOM_SERVICE: &str = "/twirp/livekit.RoomService/";

/// Services of LiveKit's server that this one lacks: their callers are told so in Twirp's form.
const NOT_SERVED: [&str; 4] = ["AgentDispatchService", "Egress", "Ingress", "SIP"];

/// Whether the path belongs to a service that exists. Others get a plain 404.
pub(crate) fn serves(path: &str) -> bool {
    path.starts_with(ROOM_SERVICE) || not_served(path).is_some()
}

fn not_served(path: &str) -> Option<&str> {
    let (service, _method) = path.strip_prefix("/twirp/livekit.")?.split_once('/')?;
    Some(service).filter(|service| NOT_SERVED.contains(service))
}

/// Answers one call. `claims` are those of the caller's token, if it came with one.
pub(crate) async fn handle(
    server: &Arc<Server>,
    claims: Option<&Claims>,
    head: &request::Parts,
    body: Bytes,
) -> Response<Body> {
    let path = head.uri.path();
    let bad_route =
        |message: String| TwirpError::bad_route(message, head.method.as_str(), path).into_response();
    if head.method != Method::POST {
        return bad_route(format!("unsupported method {:?} (only POST is allowed)", head.method.as_str()));
    }
    if let Some(service) = not_served(path) {
        let text = format!("{service} is not served by this version of Sala");
        return TwirpError::new(Code::Unimplemented, text).into_response();
    }
    let Some(method) =
        path.strip_prefix(ROOM_SERVICE).filter(|method| room_service::METHODS.contains(method))
    else {
        return bad_route(format!("no handler for path {path:?}"));
    };
    let content_type =
        head.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let format = match media_type.as_str() {
        "application/json" => Format::Json,
        "application/protobuf" => Format::Protobuf,
        _ => return bad_route(format!("unexpected Content-Type: {content_type:?}")),
    };
    room_service::dispatch(method, &Call { server, claims, format, body }).await
}

/// How request and response are written.
#[derive(Clone, Copy)]
enum Format {
    Json,
    Protobuf,
}

/// One call on its way to a method.
struct Call<'a> {
    server: &'a Arc<Server>,
    claims: Option<&'a Claims>,
    format: Format,
    body: Bytes,
}

impl<'a> Call<'a> {
    /// Decodes the request, runs the method, encodes its response.
    async fn answer<Req, Res, F, Fut>(&'a self, method: F) -> Response<Body>
    where
        Req: Message + Default + DeserializeOwned,
        Res: Message + Shaped,
        F: FnOnce(&'a Call<'a>, Req) -> Fut,
        Fut: Future<Output = Result<Res, TwirpError>>,
    {
        let outcome = match self.decode::<Req>() {
            Ok(request) => method(self, request).await,
            Err(error) => Err(error),
        };
        match outcome.and_then(|response| self.encode(&response)) {
            Ok(response) => response,
            Err(error) => error.into_response(),
        }
    }

    fn decode<Req: Message + Default + DeserializeOwned>(&self) -> Result<Req, TwirpError> {
        match self.format {
            Format::Json => from_json(&self.body)
                .map_err(|_| TwirpError::new(Code::Malformed, "the json request could not be decoded")),
            Format::Protobuf => Req::decode(self.body.clone())
                .map_err(|_| TwirpError::new(Code::Malformed, "the protobuf request could not be decoded")),
        }
    }

    fn encode<Res: Message + Shaped>(&self, response: &Res) -> Result<Response<Body>, TwirpError> {
        let (content_type, body) = match self.format {
            Format::Json => {
                let json = shape::to_json(response);
                let json = json.map_err(|e| {
                    TwirpError::new(Code::Internal, format!("failed to marshal json response: {e}"))
                })?;
                ("application/json", json)
            }
            Format::Protobuf => ("application/protobuf", response.encode_to_vec()),
        };
        Ok((StatusCode::OK, [(header::CONTENT_TYPE, content_type)], body).into_response())
    }
}

/// Proto3 JSON: unknown fields are ignored, `null` is the same as absent.
fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(body)?;
    drop_nulls(&mut value);
    serde_json::from_value(value)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
