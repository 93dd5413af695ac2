//! A client's connection from TCP to HTTP: the bound on their number, PROXY protocol, TLS, and the deadlines that
//! keep slow clients from holding a place.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::config::ProxyProtocol;
use super::proxy_protocol::{self, ProxyError, ProxyHeader};
use super::server::{Shared, handle};

/// A balancer sends its header with the first packet.
const PROXY_TIMEOUT: Duration = Duration::from_secs(5);

/// TLS over a bad mobile network.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Browsers send about twenty.
const MAX_HEADERS: usize = 100;

/// After a failed `accept` (no file descriptors left) the loop breathes before it tries again.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The fixed part of a PROXY protocol header.
const PROXY_FIXED_BYTES: usize = 16;

/// A client's connection counts, against the limit and for the drain, while a clone of its guard lives.
#[derive(Clone)]
pub(super) struct Guard {
    _permit: Arc<OwnedSemaphorePermit>,
    closing: watch::Receiver<bool>,
}

impl Guard {
    pub(super) fn new(permit: OwnedSemaphorePermit, closing: watch::Receiver<bool>) -> Guard {
        Guard { _permit: Arc::new(permit), closing }
    }

    /// Completes when the gateway shuts down.
    pub(super) async fn closing(&mut self) {
        let _ = self.closing.wait_for(|closing| *closing).await;
    }
}

/// What a request's handler knows of its connection.
#[derive(Clone)]
pub(super) struct ClientConnection {
    /// The true client's, also behind a balancer.
    pub(super) address: SocketAddr,
    /// It came over TLS.
    pub(super) secure: bool,
    /// It came in by the plain door: no redirect.
    pub(super) plain: bool,
    pub(super) guard: Guard,
}

/// What a listener is for.
#[derive(Clone)]
pub(super) enum Door {
    Https(Arc<ServerConfig>),
    Http,
    /// Within the private network: no balancer before it, no redirect.
    Plain,
}

/// Accepts for ever.
pub(super) async fn accept(
    listener: TcpListener,
    door: Door,
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
    closing: watch::Receiver<bool>,
) {
    while let Some((stream, peer, guard)) = next(&listener, &permits, &closing).await {
        tokio::spawn(serve(stream, peer, door.clone(), shared.clone(), guard));
    }
}

/// The next connection, once there is room for it.
pub(super) async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    closing: &watch::Receiver<bool>,
) -> Option<(TcpStream, SocketAddr, Guard)> {
    let permit = permits.clone().acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Messages are small and latency counts.
                let _ = stream.set_nodelay(true);
                return Some((stream, peer, Guard::new(permit, closing.clone())));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; if it persists raise the limit of open files");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn serve(mut stream: TcpStream, peer: SocketAddr, door: Door, shared: Arc<Shared>, guard: Guard) {
    let balancers = shared.config.proxy_protocol.as_ref().filter(|_| !matches!(door, Door::Plain));
    let address = match true_client(&mut stream, peer, balancers).await {
        Ok(address) => address,
        Err(error) => {
            tracing::warn!(%peer, %error, "refused a connection");
            return;
        }
    };
    let (secure, plain) = (matches!(door, Door::Https(_)), matches!(door, Door::Plain));
    let client = ClientConnection { address, secure, plain, guard };
    match door {
        Door::Http | Door::Plain => serve_http(stream, shared, client).await,
        Door::Https(config) => {
            match timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await {
                Ok(Ok(stream)) => serve_http(stream, shared, client).await,
                Ok(Err(error)) => tracing::debug!(%address, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(%address, "TLS handshake took too long"),
            }
        }
    }
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    shared: Arc<Shared>,
    client: ClientConnection,
) {
    let mut guard = client.guard.clone();
    let address = client.address;
    let limits = shared.config.limits.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, client) = (shared.clone(), client.clone());
        async move { Ok::<_, Infallible>(handle(shared, client, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(limits.max_header_bytes)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = guard.closing() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "a client connection ended");
    }
}

/// Why a balancer's connection is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoClient {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("no PROXY protocol header within {} s; switch it on at the balancer", PROXY_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the connection ended within the PROXY protocol header: {0}")]
    Network(#[from] io::Error),
}

/// Who is at the other end: the peer, or whom a trusted balancer names in its header, which is read.
pub(super) async fn true_client(
    stream: &mut TcpStream,
    peer: SocketAddr,
    proxy: Option<&ProxyProtocol>,
) -> Result<SocketAddr, NoClient> {
    if !proxy.is_some_and(|proxy| proxy.trusts(peer.ip())) {
        return Ok(peer);
    }
    let header =
        timeout(PROXY_TIMEOUT, read_proxy_header(stream)).await.map_err(|_| NoClient::TimedOut)??;
    Ok(match header {
        ProxyHeader::Proxied { source, .. } => source,
        ProxyHeader::Local => peer,
    })
}

/// Reads exactly the header: what follows is the client's.
async fn read_proxy_header(stream: &mut TcpStream) -> Result<ProxyHeader, NoClient> {
    let mut header = vec![0; PROXY_FIXED_BYTES];
    stream.read_exact(&mut header).await?;
    if let Some((header, _)) = proxy_protocol::parse(&header)? {
        return Ok(header);
    }
    let rest = u16::from_be_bytes([header[14], header[15]]);
    header.resize(PROXY_FIXED_BYTES + usize::from(rest), 0);
    stream.read_exact(&mut header[PROXY_FIXED_BYTES..]).await?;
    let parsed = proxy_protocol::parse(&header)?;
    Ok(parsed.map_or(ProxyHeader::Local, |(header, _)| header))
}
