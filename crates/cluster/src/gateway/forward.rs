//! Carries a request to the node of its target. A node that cannot be reached, or says that it is the wrong one,
//! costs the client nothing: the request is routed anew.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, Response, StatusCode, header, request};
use hyper::body::Incoming;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::director::{MediaNode, RouteError, death_of};
use super::headers::{RoomClaim, TrustedHeaders};
use super::request::Target;
use super::server::Shared;
use crate::NodeId;
use crate::link::RequestError;

/// How often a request is routed anew, and the pauses before. Together they outlast the time in which a killed
/// node is found dead (600 ms) and a stopped one (2 s); a death ends a pause at once.
const REROUTE_PAUSES: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(700), Duration::from_millis(1_500)];

/// No attempt begins later than this.
const REROUTE_WITHIN: Duration = Duration::from_secs(5);

/// A request ready to be sent, as often as needed.
pub(super) struct Outgoing {
    /// Headers cleaned, without those of the connection.
    pub(super) head: request::Parts,
    pub(super) body: Bytes,
    pub(super) client: SocketAddr,
    /// The client wants a WebSocket.
    pub(super) upgrade: bool,
}

/// A node's response.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) node: MediaNode,
}

/// Why no node answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("{0}")]
    NoRoute(#[from] RouteError),
    #[error("{0}")]
    Node(#[from] RequestError),
    #[error("the room is moving; try again")]
    Misrouted,
    #[error("node {0} died before it answered; try again")]
    Died(NodeId),
}

impl Outgoing {
    /// The request as `node` gets it.
    pub(super) fn build(&self, master: &NodeId, room: Option<RoomClaim>) -> Request<Body> {
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.head.method.clone();
        let path = self.head.uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.clone_from(&self.head.headers);
        if self.upgrade {
            headers.insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
        }
        TrustedHeaders { room, client: self.client, master: master.clone() }.write(headers);
        request
    }

    /// Whether it does no harm if a node acts on it twice: reads, and joins, where the later one counts.
    fn is_repeatable(&self) -> bool {
        matches!(self.head.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// Sends the request until a node takes it.
    pub(super) async fn send(&self, shared: &Shared, target: &Target) -> Result<Answer, Unanswered> {
        let began = Instant::now();
        let mut deaths = shared.director.deaths();
        let mut failed: Vec<NodeId> = Vec::new();
        let mut pauses = REROUTE_PAUSES.into_iter();
        loop {
            let outcome = self.attempt(shared, target, &mut failed).await;
            let may_repeat = match &outcome {
                Ok(answer) if !is_refusal(answer.response.status()) => return outcome,
                Err(Unanswered::Node(error)) => error.is_unsent() || self.is_repeatable(),
                _ => true,
            };
            match pauses.next() {
                Some(pause) if may_repeat && began.elapsed() + pause < REROUTE_WITHIN => {
                    tracing::debug!(
                        error = outcome.err().map(tracing::field::display),
                        ?target,
                        "routing anew"
                    );
                    // Lagging means that there were deaths.
                    let death = async {
                        if let Err(RecvError::Closed) = deaths.recv().await {
                            std::future::pending().await
                        }
                    };
                    let _ = timeout(pause, death).await;
                }
                _ => break outcome,
            }
        }
        .and_then(|answer| match answer.response.status() {
            StatusCode::MISDIRECTED_REQUEST => Err(Unanswered::Misrouted),
            _ => Ok(answer),
        })
    }

    async fn attempt(
        &self,
        shared: &Shared,
        target: &Target,
        failed: &mut Vec<NodeId>,
    ) -> Result<Answer, Unanswered> {
        let routed = match target {
            Target::Room { name, create } => {
                let route = timeout(REROUTE_WITHIN, shared.director.route(name, *create)).await;
                let late = || RouteError::Unavailable("placing it took too long".into());
                match route.unwrap_or_else(|_| Err(late())) {
                    Ok(route) => Some((route.node, RoomClaim { name: name.clone(), epoch: route.epoch })),
                    // A node says so in the right words.
                    Err(RouteError::RoomNotFound) => None,
                    Err(error) => return Err(error.into()),
                }
            }
            Target::Any | Target::EveryNode => None,
        };
        let (node, room) = match routed {
            Some((node, room)) => (node, Some(room)),
            None => {
                let untried =
                    shared.director.media_nodes().into_iter().find(|n| !failed.contains(&n.node_id));
                let any = untried.or_else(|| shared.director.any_media_node());
                (any.ok_or(RouteError::NoMediaNode)?, None)
            }
        };
        let mut deaths = shared.director.deaths();
        let request = self.build(&shared.config.node_id, room);
        let sent = tokio::select! {
            sent = shared.client.request(node.address, &node.node_id, request) => sent,
            () = death_of(&node, &mut deaths, &*shared.director) => return Err(Unanswered::Died(node.node_id)),
        };
        match sent {
            Ok(response) => {
                if is_refusal(response.status()) {
                    failed.push(node.node_id.clone());
                }
                Ok(Answer { response, node })
            }
            Err(error) => {
                failed.push(node.node_id);
                Err(error.into())
            }
        }
    }
}

/// Whether a node says that another should be asked: it is not the room's, or takes nothing now.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::MISDIRECTED_REQUEST | StatusCode::SERVICE_UNAVAILABLE)
}
