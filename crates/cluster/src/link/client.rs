//! Requests to other nodes: a small pool of HTTP/1.1 connections to each, and connections of their own for what
//! upgrades to WebSocket.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::time::timeout;

use super::HTTP_ALPN;
use super::dial::{DialError, dial};
use crate::NodeId;
use crate::security::{NodeTls, SecurityError};

/// Connections kept for the next request, per node. More are opened when needed and closed afterwards.
const MAX_IDLE_PER_NODE: usize = 8;

/// An idle connection is not used after this; the server's end keeps it longer.
const MAX_IDLE_AGE: Duration = Duration::from_secs(30);

/// Nodes with idle connections at a time: far above what a cluster has, so that strays do not gather.
const MAX_POOLED_NODES: usize = 1_024;

/// A join waits up to 4 s for the room's first message; nothing takes longer to begin its answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a request to a node has no response.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// Nothing was sent: the request can go to another node.
    #[error("node {node} at {address} cannot be reached: {error}")]
    Unreachable { node: NodeId, address: SocketAddr, error: DialError },
    /// The node may have acted on the request.
    #[error("the connection to node {node} broke: {error}")]
    Broken { node: NodeId, error: String },
    /// The same.
    #[error("node {node} did not answer within {} s", RESPONSE_TIMEOUT.as_secs())]
    TimedOut { node: NodeId },
}

impl RequestError {
    /// Whether the request certainly was not acted on.
    pub fn is_unsent(&self) -> bool {
        matches!(self, RequestError::Unreachable { .. })
    }
}

/// Makes requests to nodes of the cluster. Clones share the pool.
#[derive(Clone)]
pub struct InternalClient {
    shared: Arc<Shared>,
}

struct Shared {
    tls: Arc<NodeTls>,
    config: Arc<ClientConfig>,
    local: Option<IpAddr>,
    idle: Mutex<HashMap<(SocketAddr, NodeId), Vec<Idle>>>,
}

struct Idle {
    sender: SendRequest<Body>,
    since: Instant,
}

impl InternalClient {
    /// `local` is the address to connect from, as for [`super::Links::new`].
    pub fn new(tls: Arc<NodeTls>, local: Option<IpAddr>) -> Result<InternalClient, SecurityError> {
        let config = tls.client_config(HTTP_ALPN)?;
        Ok(InternalClient { shared: Arc::new(Shared { tls, config, local, idle: Mutex::default() }) })
    }

    /// Sends `request`, whose URI is a path with its query, to `node` at `address` and waits for the head of
    /// the response (up to 10 s, and 1 s for the connection). A `101` response can be upgraded with
    /// [`hyper::upgrade::on`]. A request is sent twice only if the first connection certainly did not carry it.
    pub async fn request(
        &self,
        address: SocketAddr,
        node: &NodeId,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, RequestError> {
        if let Ok(host) = HeaderValue::from_str(&address.to_string()) {
            request.headers_mut().entry(header::HOST).or_insert(host);
        }
        let is_upgrade = request.headers().contains_key(header::UPGRADE);
        let exchange = async {
            // An upgrade keeps its connection: one from the pool would only be lost to others.
            while let Some(sender) = (!is_upgrade).then(|| self.checkout(address, node)).flatten() {
                match self.send(sender, address, node, request).await {
                    Ok(response) => return Ok(response),
                    Err(Unanswered { request: Some(unsent), .. }) => request = unsent,
                    Err(Unanswered { error, .. }) => return Err(broken(node, error)),
                }
            }
            let sender = self.connect(address, node).await?;
            let sent = self.send(sender, address, node, request).await;
            sent.map_err(|unanswered| broken(node, unanswered.error))
        };
        let timed_out = |_| RequestError::TimedOut { node: node.clone() };
        timeout(RESPONSE_TIMEOUT, exchange).await.map_err(timed_out)?
    }

    async fn connect(&self, address: SocketAddr, node: &NodeId) -> Result<SendRequest<Body>, RequestError> {
        let Shared { tls, config, local, .. } = &*self.shared;
        let unreachable = |error| RequestError::Unreachable { node: node.clone(), address, error };
        let stream = dial(tls, config.clone(), node, address, *local).await.map_err(unreachable)?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| broken(node, error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to a node ended");
            }
        });
        Ok(sender)
    }

    async fn send(
        &self,
        mut sender: SendRequest<Body>,
        address: SocketAddr,
        node: &NodeId,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Unanswered> {
        match sender.try_send_request(request).await {
            Ok(response) => {
                self.checkin(address, node, sender);
                Ok(response)
            }
            Err(mut error) => Err(Unanswered { request: error.take_message(), error: error.into_error() }),
        }
    }

    /// A connection whose last response has been read, the latest used first.
    fn checkout(&self, address: SocketAddr, node: &NodeId) -> Option<SendRequest<Body>> {
        let mut pool = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pool.get_mut(&(address, node.clone()))?;
        idle.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < MAX_IDLE_AGE);
        let ready = idle.iter().rposition(|idle| idle.sender.is_ready())?;
        Some(idle.swap_remove(ready).sender)
    }

    /// Keeps a connection. It is ready for the next request once the body of this response has been read.
    fn checkin(&self, address: SocketAddr, node: &NodeId, sender: SendRequest<Body>) {
        let mut pool = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() >= MAX_POOLED_NODES {
            pool.retain(|_, idle| idle.iter().any(|idle| !idle.sender.is_closed()));
        }
        let idle = pool.entry((address, node.clone())).or_default();
        idle.retain(|idle| !idle.sender.is_closed());
        if idle.len() < MAX_IDLE_PER_NODE {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }
}

/// A request without response, and the request itself if it was not sent.
struct Unanswered {
    request: Option<Request<Body>>,
    error: hyper::Error,
}

fn broken(node: &NodeId, error: hyper::Error) -> RequestError {
    RequestError::Broken { node: node.clone(), error: error.to_string() }
}
