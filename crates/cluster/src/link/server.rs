//! The internal port: accepts mutual TLS and hands each connection to the links or to the owner's router.

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
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use super::links::{Links, WeakLinks};
use super::{HTTP_ALPN, LINK_ALPN};
use crate::NodeId;
use crate::security::{NodeTls, PeerRefused, SecurityError};

/// Every client of a media node comes through a master on a connection of its own: twice the default limit of
/// clients, plus the nodes' own.
const MAX_CONNECTIONS: usize = 40_000;

/// A handshake takes milliseconds; who takes this long holds a place for nothing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// An idle connection of a peer's pool is kept this long.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// Requests in flight get this long when the server shuts down.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// After a failed `accept` (no file descriptors left) the loop breathes before it tries again.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Request extension: the node at the other end, proved by its certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer(pub NodeId);

/// Serves the internal port until `shutdown` completes, then lets requests in flight finish (2 s). Requests to
/// `router` carry the extensions [`Peer`] and [`ConnectInfo`] (the peer's socket address).
///
/// The error is one of set-up; a peer that is refused is only logged.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<NodeTls>,
    links: &Links,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> Result<(), SecurityError> {
    let acceptor = TlsAcceptor::from(tls.server_config(&[LINK_ALPN, HTTP_ALPN])?);
    let (closing, closing_receiver) = watch::channel(false);
    let server = Server { acceptor, links: links.downgrade(), router, closing: closing_receiver };
    tokio::select! {
        () = server.accept(listener) => {}
        () = shutdown => {}
    }
    drop(server);
    closing.send_replace(true);
    if timeout(DRAIN_TIMEOUT, closing.closed()).await.is_err() {
        tracing::warn!(connections = closing.receiver_count(), "internal connections cut off at shutdown");
    }
    Ok(())
}

#[derive(Clone)]
struct Server {
    acceptor: TlsAcceptor,
    links: WeakLinks,
    router: Router,
    closing: watch::Receiver<bool>,
}

impl Server {
    async fn accept(&self, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while let Ok(permit) = permits.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, address)) => {
                    tokio::spawn(self.clone().serve_connection(stream, address, permit));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a node's connection; if it persists raise the limit of open files");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    async fn serve_connection(self, stream: TcpStream, address: SocketAddr, permit: OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let stream = match timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                // A probe connects and hangs up without a word: nothing to tell.
                if let Some(refused) = PeerRefused::of(&error) {
                    tracing::warn!(%address, %refused, "refused a connection to the internal port");
                }
                return;
            }
            Err(_) => return,
        };
        let connection = stream.get_ref().1;
        let Some(peer) = NodeTls::peer_of(connection.peer_certificates()) else { return };
        if connection.alpn_protocol() == Some(LINK_ALPN) {
            let mut closing = self.closing.clone();
            let Some(links) = self.links.upgrade() else { return };
            tokio::select! {
                () = links.run_accepted(stream, peer) => {}
                _ = closing.wait_for(|closing| *closing) => {}
            }
        } else {
            self.serve_http(stream, address, Peer(peer)).await;
        }
        drop(permit);
    }

    async fn serve_http(self, stream: TlsStream<TcpStream>, address: SocketAddr, peer: Peer) {
        let mut closing = self.closing.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(address));
            request.extensions_mut().insert(peer.clone());
            self.router.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = async { closing.wait_for(|closing| *closing).await.is_ok() } => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%address, %error, "an internal connection ended");
        }
    }
}
