//! HTTP/1.1 on a socket: bodies whole and bounded, answers from one function.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Shared;
use crate::api::{Answer, Refusal, Request};
use crate::cloud::storage::MAX_OBJECT_BYTES;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 2000;

/// What becomes of a request.
pub(crate) enum Reply {
    Answer(Answer),
    /// The connection ends.
    Silence,
    /// Nothing ever.
    Hang,
}

/// Answers on a socket for ever.
pub(super) async fn listen<F, R>(listener: TcpListener, shared: Arc<Shared>, answer: F)
where
    F: Fn(Arc<Shared>, Request) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors: some will be free in a moment.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (shared, answer) = (shared.clone(), answer.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| one(shared.clone(), answer.clone(), request));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new());
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

/// The connection is to end without an answer.
#[derive(thiserror::Error, Debug)]
#[error("no answer")]
struct NoAnswer;

async fn one<F, R>(
    shared: Arc<Shared>,
    answer: F,
    request: http::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, NoAnswer>
where
    F: Fn(Arc<Shared>, Request) -> R,
    R: Future<Output = Reply>,
{
    let (head, body) = request.into_parts();
    let is_head = head.method == http::Method::HEAD;
    let body = match Limited::new(body, MAX_OBJECT_BYTES + 1).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            let refusal =
                Refusal::new(413, "RequestEntityTooLarge", "The simulator takes bodies up to 64 MiB.");
            return Ok(response(refusal.into(), "", is_head));
        }
    };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let request_id = match head.headers.get("opc-request-id").and_then(|id| id.to_str().ok()) {
        Some(id) => format!("{id}/{}", crate::ocid::hex(16)),
        None => crate::ocid::hex(16),
    };
    let Some(request) = Request::new(head.method, &target, head.headers, body) else {
        return Ok(response(Refusal::invalid("The path cannot be decoded.").into(), &request_id, is_head));
    };
    match answer(shared, request).await {
        Reply::Answer(answer) => Ok(response(answer, &request_id, is_head)),
        Reply::Silence => Err(NoAnswer),
        Reply::Hang => match std::future::pending::<Infallible>().await {},
    }
}

fn response(answer: Answer, request_id: &str, is_head: bool) -> Response<Full<Bytes>> {
    let mut builder = Response::builder().status(answer.status).header("opc-request-id", request_id);
    for (name, value) in &answer.headers {
        builder = builder.header(&**name, value);
    }
    let body = if is_head { Bytes::new() } else { answer.body };
    // A header that cannot be sent is a fault of the simulator's own.
    builder.body(Full::new(body)).unwrap_or_else(|error| {
        let mut response = Response::new(Full::new(Bytes::from(error.to_string())));
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
