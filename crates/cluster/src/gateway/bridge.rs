//! Layer-4 bridges: TCP connections to a master's port carried to the same service on a media node, such as RTMP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::config::Bridge;
use super::director::{MediaNode, death_of};
use super::listener::{Guard, next, true_client};
use super::proxy_protocol;
use super::server::Shared;

/// A node that does not accept within this time is passed over.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Nodes that are tried for one connection.
const MAX_ATTEMPTS: usize = 3;

/// Buffer of one direction: video comes in bursts.
const BUFFER_BYTES: usize = 16 * 1024;

/// Accepts for ever.
pub(super) async fn accept(
    listener: TcpListener,
    bridge: Bridge,
    shared: Arc<Shared>,
    closing: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(shared.config.limits.max_bridge_connections));
    while let Some((stream, peer, guard)) = next(&listener, &permits, &closing).await {
        tokio::spawn(carry(stream, peer, bridge.clone(), shared.clone(), guard));
    }
}

async fn carry(
    mut stream: TcpStream,
    peer: SocketAddr,
    bridge: Bridge,
    shared: Arc<Shared>,
    mut guard: Guard,
) {
    let client = match true_client(&mut stream, peer, shared.config.proxy_protocol.as_ref()).await {
        Ok(client) => client,
        Err(error) => {
            tracing::warn!(%peer, %error, "refused a connection");
            return;
        }
    };
    let mut deaths = shared.director.deaths();
    let Some((node, mut upstream)) = connect(&shared, bridge.port).await else {
        tracing::warn!(%client, port = bridge.port, "no media node accepts connections to the port");
        return;
    };
    if bridge.send_proxy_protocol {
        let destination = stream.local_addr().unwrap_or(bridge.listen);
        let header = proxy_protocol::write(client, destination);
        if upstream.write_all(&header).await.is_err() {
            return;
        }
    }
    let death = death_of(&node, &mut deaths, &*shared.director);
    tokio::select! {
        _ = copy_bidirectional_with_sizes(&mut stream, &mut upstream, BUFFER_BYTES, BUFFER_BYTES) => {}
        () = death => tracing::info!(%client, node = %node.node_id, "a bridged connection ends with its node"),
        () = guard.closing() => {}
    }
}

/// The first of the best nodes that accepts.
async fn connect(shared: &Shared, port: u16) -> Option<(MediaNode, TcpStream)> {
    for node in shared.director.media_nodes().into_iter().take(MAX_ATTEMPTS) {
        let address = SocketAddr::new(node.address.ip(), port);
        if let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            let _ = stream.set_nodelay(true);
            return Some((node, stream));
        }
    }
    None
}
