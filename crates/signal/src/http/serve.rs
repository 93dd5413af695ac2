//! The listener's loop: accepts connections up to a bound, serves each on a task of its own, and on
//! shutdown lets those in flight finish. Dropping the future ends the listener.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

use super::router;
use crate::Server;

/// A client that does not finish its request line and headers within this time is dropped: slow-loris.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);

/// Requests in flight and WebSockets get this long at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// After a failed `accept` (no file descriptors left) the loop breathes before it tries again.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A connection counts, against the limit and for the drain, while a clone of its guard lives: the task of an
/// upgraded WebSocket holds one too.
#[derive(Clone)]
pub(crate) struct ConnectionGuard {
    _permit: Arc<OwnedSemaphorePermit>,
    /// Becomes true when the server shuts down.
    closing: watch::Receiver<bool>,
}

/// Serves HTTP and WebSocket on all `listeners` until `shutdown` completes, then for up to 5 s more whoever is
/// connected. `shutdown` ends the rooms, which ends their WebSockets.
pub async fn serve(server: Arc<Server>, listeners: Vec<TcpListener>, shutdown: impl Future<Output = ()>) {
    let permits = Arc::new(Semaphore::new(server.config.limits.max_connections));
    let (closing, closing_receiver) = watch::channel(false);
    let app = router(server);
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, app.clone(), permits.clone(), closing_receiver.clone()));
    }
    drop(closing_receiver);
    shutdown.await;
    accepting.shutdown().await;
    closing.send_replace(true);
    if tokio::time::timeout(DRAIN_TIMEOUT, closing.closed()).await.is_err() {
        tracing::warn!(connections = closing.receiver_count(), "connections cut off at shutdown");
    }
}

async fn accept(listener: TcpListener, app: Router, permits: Arc<Semaphore>, closing: watch::Receiver<bool>) {
    while let Ok(permit) = permits.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let guard = ConnectionGuard { _permit: Arc::new(permit), closing: closing.clone() };
                tokio::spawn(serve_connection(stream, peer, app.clone(), guard));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; if it persists raise the limit of open files");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, app: Router, guard: ConnectionGuard) {
    // Signal messages are small and latency counts.
    let _ = stream.set_nodelay(true);
    let mut closing = guard.closing.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(guard.clone());
        app.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let closing = async move { closing.wait_for(|closing| *closing).await.is_ok() };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = closing => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
