//! The contract of a function's container with Oracle's service (that of the Fn project): requests come over a Unix
//! socket as `POST /call`, HTTP/1.1, one after the other.
//!
//! The service watches for the socket's name and connects at once, so the socket is made under another name, opened
//! for everybody, and then appears under its own as a symbolic link that also holds in the service's view of the
//! directory.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::wire::{Answer, MAX_REQUEST_BYTES};
use crate::parse_rfc3339;

/// Connections at a time. The service has one.
const MAX_CONNECTIONS: usize = 32;

/// What a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// Without `Fn-Deadline`: the service's own default.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// Longest a call may take, whatever the header says: the service allows five minutes.
const MAX_DEADLINE: Duration = Duration::from_secs(300);

/// The answer leaves this much before the service gives up.
const SPARE: Duration = Duration::from_secs(1);

/// Why the function does not run.
#[derive(Debug, thiserror::Error)]
pub enum FnError {
    #[error("FN_FORMAT is {0:?}; only http-stream is understood")]
    Format(String),
    #[error(
        "FN_LISTENER is {0:?}; it must be unix:/DIRECTORY/NAME. Oracle's service sets it; for a try on your own: \
         FN_FORMAT=http-stream FN_LISTENER=unix:/tmp/fn/lsnr.sock"
    )]
    Listener(String),
    #[error("cannot make the socket {}: {error}; may this user write there?", .path.display())]
    Socket { path: PathBuf, error: io::Error },
}

/// A call, as far as the contract goes.
#[derive(Debug)]
pub struct Call {
    /// `Fn-Call-Id`, for logs.
    pub id: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A function's socket, open.
#[derive(Debug)]
pub struct FnServer {
    listener: UnixListener,
    path: PathBuf,
    private: PathBuf,
}

impl FnServer {
    /// Opens the socket that `FN_LISTENER` names, for the `FN_FORMAT` given.
    pub fn bind(format: &str, listener: &str) -> Result<FnServer, FnError> {
        if format != "http-stream" {
            return Err(FnError::Format(format.to_owned()));
        }
        let path = listener.strip_prefix("unix:").map(Path::new);
        let named = |path: &&Path| path.is_absolute() && path.file_name().is_some();
        let path = path.filter(named).ok_or_else(|| FnError::Listener(listener.to_owned()))?;
        let bad = |error| FnError::Socket { path: path.to_owned(), error };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let private_name = format!("{:016x}-{name}", fastrand::u64(..));
        let private = path.with_file_name(&private_name);
        let listener = UnixListener::bind(&private).map_err(bad)?;
        let server = FnServer { listener, path: path.to_owned(), private };
        std::fs::set_permissions(&server.private, PermissionsExt::from_mode(0o666)).map_err(bad)?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(bad(error)),
            _ => {}
        }
        symlink(&private_name, path).map_err(bad)?;
        Ok(server)
    }

    /// Answers calls for ever.
    pub async fn serve<F, R>(self, function: F) -> Infallible
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        let function = Arc::new(function);
        let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = free.clone().acquire_owned().await else { continue };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let function = function.clone();
                    tokio::spawn(async move {
                        converse(stream, function).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

impl Drop for FnServer {
    fn drop(&mut self) {
        for path in [&self.path, &self.private] {
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn converse<F, R>(stream: UnixStream, function: Arc<F>)
where
    F: Fn(Call) -> R + Send + Sync + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request| {
        let function = function.clone();
        async move { Ok::<_, Infallible>(respond(request, &*function).await) }
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection of the service ended");
    }
}

async fn respond<F, R>(request: Request<Incoming>, function: &F) -> Response<Full<Bytes>>
where
    F: Fn(Call) -> R,
    R: Future<Output = Answer>,
{
    let (head, body) = request.into_parts();
    if (head.method, head.uri.path()) != (Method::POST, "/call") {
        let mut response = Response::new(Full::from("a function is called by POST /call\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    let id = text(&head.headers, "fn-call-id").unwrap_or("-").chars().take(64).collect::<String>();
    frame_log(&head.headers);
    let within = time_left(&head.headers, SystemTime::now());
    let body = Limited::new(body, MAX_REQUEST_BYTES).collect();
    let answer = match tokio::time::timeout(BODY_DEADLINE, body).await {
        Err(_) => Answer::refused("the body did not arrive in time"),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Answer::refused(format!("the body is longer than {MAX_REQUEST_BYTES} bytes"))
        }
        Ok(Err(error)) => Answer::refused(format!("the body broke off: {error}")),
        Ok(Ok(body)) => {
            let call = Call { id: id.clone(), headers: head.headers, body: body.to_bytes() };
            match tokio::time::timeout(within, function(call)).await {
                Ok(answer) => answer,
                Err(_) => Answer::kept(format!("there was no decision within {} s", within.as_secs())),
            }
        }
    };
    let Answer { decision, reason, .. } = &answer;
    tracing::info!(call = id, ?decision, instance = ?answer.instance_id, reason, "answered");
    written(&answer)
}

/// Always 200: of another status the caller would see nothing but that the function has failed.
fn written(answer: &Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(serde_json::to_vec(answer).unwrap_or_default()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What is left until `Fn-Deadline`.
fn time_left(headers: &HeaderMap, now: SystemTime) -> Duration {
    let deadline = text(headers, "fn-deadline").and_then(parse_rfc3339);
    let left = deadline.map(|deadline| deadline.duration_since(now).unwrap_or_default());
    left.unwrap_or(DEFAULT_DEADLINE).min(MAX_DEADLINE).saturating_sub(SPARE)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Says to the service's log where the lines of this call begin, if it wants to know.
fn frame_log(headers: &HeaderMap) {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(name), Some(header)) = (set("FN_LOGFRAME_NAME"), set("FN_LOGFRAME_HDR")) else { return };
    if let Some(value) = text(headers, &header.to_ascii_lowercase()) {
        println!("\n{name}={value}");
        eprintln!("\n{name}={value}");
    }
}

#[cfg(test)]
mod tests;
