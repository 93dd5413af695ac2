//! Waiting for something to be ready: asked again and again, shortly, until it is. The caller sets the limit.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

/// Between two looks.
const STEP: Duration = Duration::from_millis(50);

/// Returns when the question is answered with yes.
pub(crate) async fn until<F: Future<Output = bool>>(mut question: impl FnMut() -> F) {
    while !question().await {
        tokio::time::sleep(STEP).await;
    }
}

/// Whether a port takes connections.
pub(crate) async fn accepts(address: SocketAddr) -> bool {
    matches!(tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(address)).await, Ok(Ok(_)))
}
