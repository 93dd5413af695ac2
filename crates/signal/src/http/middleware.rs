//! What every request passes, in this order: recovery from panics, CORS, the double-slash fix, the body limit
//! (livekit.md §1.1). CORS comes before everything that refuses, so that browsers can read refusals.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::SystemTime;

use auth::{TokenError, Verified};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::IntoResponse;
use futures_util::FutureExt;

use crate::Server;
use crate::query::Query;

/// How long a browser may remember what a preflight said: a day.
const PREFLIGHT_SECONDS: &str = "86400";

const ALLOWED_METHODS: [Method; 6] =
    [Method::OPTIONS, Method::HEAD, Method::GET, Method::POST, Method::PATCH, Method::DELETE];

/// A handler that panics costs its caller an answer, not everybody the server.
pub(super) async fn recover(request: Request, next: Next) -> Response<Body> {
    let path = request.uri().path().to_owned();
    AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(path, "a request handler panicked: please report the message above");
        (StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error").into_response()
    })
}

/// Any origin may talk to the server: access is by token, never by cookie.
pub(super) async fn cors(request: Request, next: Next) -> Response<Body> {
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN).filter(|origin| !origin.is_empty()).cloned();
    let wanted_method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).filter(|m| !m.is_empty());
    if request.method() == Method::OPTIONS
        && let Some(method) = wanted_method
    {
        return preflight(origin, method, headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS));
    }
    let allowed = ALLOWED_METHODS.contains(request.method());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin.filter(|_| allowed) {
        headers.entry(header::ACCESS_CONTROL_ALLOW_ORIGIN).or_insert(origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    }
    response
}

fn preflight(
    origin: Option<HeaderValue>,
    method: &HeaderValue,
    wanted_headers: Option<&HeaderValue>,
) -> Response<Body> {
    const VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static(VARY));
    let allowed = ALLOWED_METHODS.iter().any(|m| m.as_str().as_bytes() == method.as_bytes());
    if let Some(origin) = origin.filter(|_| allowed) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_SECONDS));
        if let Some(wanted) = wanted_headers.filter(|wanted| !wanted.is_empty()) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
    }
    response
}

/// SDKs join a base URL that ends in `/` with a path that begins with one.
pub(super) async fn remove_double_slash(mut request: Request, next: Next) -> Response<Body> {
    if let Some(path) = request.uri().path_and_query().map(|path| path.as_str())
        && path.starts_with("//")
        && let Ok(uri) = path[1..].parse::<Uri>()
    {
        *request.uri_mut() = uri;
    }
    next.run(request).await
}

/// Refuses a body that says it is too large. One that does not say is cut off where it is read.
pub(super) async fn limit_body(
    State(server): State<Arc<Server>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let limit = server.config.limits.api_request_body_bytes as u64;
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let declared = length.and_then(|length| length.parse::<u64>().ok()).unwrap_or(0);
    if limit > 0 && declared > limit {
        return body_too_large();
    }
    next.run(request).await
}

pub(super) fn body_too_large() -> Response<Body> {
    (StatusCode::PAYLOAD_TOO_LARGE, "request body too large").into_response()
}

/// The token of a request, checked. No token is fine here: each handler decides.
#[derive(Clone)]
pub(super) struct Authenticated(pub(super) Option<Arc<Verified>>);

/// Checks the access token, from the header or else the query (livekit.md §1.3).
pub(super) async fn authenticate(
    State(server): State<Arc<Server>>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let is_validate = matches!(request.uri().path(), "/rtc/validate" | "/rtc/v1/validate");
    let mut response = match check_token(&server, request.headers(), request.uri()) {
        Ok(verified) => {
            request.extensions_mut().insert(Authenticated(verified.map(Arc::new)));
            next.run(request).await
        }
        Err(text) => (StatusCode::UNAUTHORIZED, text).into_response(),
    };
    if is_validate {
        let any = HeaderValue::from_static("*");
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
    }
    response
}

fn check_token(server: &Server, headers: &HeaderMap, uri: &Uri) -> Result<Option<Verified>, String> {
    const AUTHORIZATION: HeaderName = header::AUTHORIZATION;
    let from_query;
    let token = match headers.get(AUTHORIZATION).filter(|value| !value.is_empty()) {
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or("invalid authorization header. Must start with Bearer ")?,
        None => {
            from_query = Query::parse(uri.query().unwrap_or_default());
            from_query.get("access_token")
        }
    };
    if token.is_empty() {
        return Ok(None);
    }
    let verified = server.config.keys.verify(token, SystemTime::now());
    verified.map(Some).map_err(|error: TokenError| error.to_string())
}
