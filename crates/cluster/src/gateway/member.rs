//! Whose WebSocket it is: what a master must know to ask, when the client's node has died, whether the room's new node
//! can go on with it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, StatusCode};
use tokio::time::timeout;

use super::forward::Outgoing;
use super::request::Target;
use super::server::Shared;

/// A room that does not go on within this is better joined anew.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// A participant with a connection through this master.
pub(super) struct Member {
    pub(super) room: String,
    pub(super) identity: String,
    pub(super) client: SocketAddr,
}

impl Member {
    /// Whether the participant can resume where its room is now.
    pub(super) async fn may_resume(&self, shared: &Shared) -> bool {
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("room", &self.room)
            .append_pair("identity", &self.identity)
            .finish();
        let request = Request::get(format!("/internal/knows?{query}")).body(());
        let head = request.expect("the query is encoded").into_parts().0;
        let question = Outgoing { head, body: Bytes::new(), client: self.client, upgrade: false };
        let target = Target::Room { name: self.room.clone(), create: false };
        let answer = timeout(ANSWER_TIMEOUT, question.send(shared, &target)).await;
        matches!(answer, Ok(Ok(answer)) if answer.response.status() == StatusCode::NO_CONTENT)
    }
}
