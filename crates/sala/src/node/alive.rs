//! Whether a node works, asked as others would ask: by its internal port, and by the threads that carry media.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use cluster::NodeId;
use cluster::link::InternalClient;
use net::Shards;

/// What must answer.
pub(super) struct Alive {
    pub(super) id: NodeId,
    pub(super) address: SocketAddr,
    pub(super) client: InternalClient,
    pub(super) shards: Option<Shards>,
}

impl Alive {
    /// # Errors
    /// When something does not answer; one that hangs never returns.
    pub(super) async fn check(self: Arc<Self>) -> Result<(), String> {
        let request =
            Request::get("/internal/ready").body(Body::empty()).map_err(|error| error.to_string())?;
        // Which answer does not matter: a node without quorum lives.
        let answer = self.client.request(self.address, &self.id, request).await;
        answer.map_err(|error| format!("the internal port does not answer: {error}"))?;
        match &self.shards {
            Some(shards) if !shards.all_answer().await => Err("a thread of media has ended".to_owned()),
            _ => Ok(()),
        }
    }
}
