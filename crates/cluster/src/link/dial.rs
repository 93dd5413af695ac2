//! One attempt to reach a node: TCP, then TLS with the check that it is the node that was meant.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::NodeId;
use crate::security::{NodeTls, PeerRefused};

/// TCP and TLS to a node of the same data centre take milliseconds. A stopped process accepts TCP (the kernel
/// does) and then says nothing.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a node could not be reached. Nothing was sent to it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DialError {
    #[error("its host is there but refuses connections to the port: the process is not running")]
    Refused,
    #[error("no answer within {} ms", DIAL_TIMEOUT.as_millis())]
    TimedOut,
    #[error("{0}")]
    Trust(PeerRefused),
    #[error("network: {0:?}")]
    Network(io::ErrorKind),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        match (PeerRefused::of(&error), error.kind()) {
            (Some(refused), _) => Self::Trust(refused),
            (None, io::ErrorKind::ConnectionRefused) => Self::Refused,
            (None, kind) => Self::Network(kind),
        }
    }
}

/// What a bare TCP connection attempt finds. See [`probe`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Probe {
    /// Somebody listens.
    Open,
    /// The host is alive and nobody listens: the process is gone.
    Refused,
    /// No answer in time, or the network says that there is no way: nothing is proved.
    Silent,
}

/// Connects by TCP and hangs up: tells a process that has ended from a host or network that is silent.
pub async fn probe(address: SocketAddr, local: Option<IpAddr>, deadline: Duration) -> Probe {
    match timeout(deadline, connect(address, local)).await {
        Ok(Ok(_)) => Probe::Open,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Probe::Refused,
        Ok(Err(_)) | Err(_) => Probe::Silent,
    }
}

/// Reaches `node` at `address`, from the address `local` if one is given.
pub(super) async fn dial(
    tls: &NodeTls,
    config: Arc<ClientConfig>,
    node: &NodeId,
    address: SocketAddr,
    local: Option<IpAddr>,
) -> Result<TlsStream<TcpStream>, DialError> {
    let bad_name =
        |error: crate::security::SecurityError| DialError::Trust(PeerRefused::Tls(error.to_string()));
    let name = tls.server_name(node).map_err(bad_name)?;
    let connected = timeout(DIAL_TIMEOUT, async {
        let stream = connect(address, local).await?;
        TlsConnector::from(config).connect(name, stream).await
    });
    Ok(connected.await.map_err(|_| DialError::TimedOut)??)
}

async fn connect(address: SocketAddr, local: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(local) = local.filter(|local| local.is_ipv4() == address.is_ipv4() && !local.is_unspecified())
    {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    // Messages are small and latency counts.
    socket.set_nodelay(true)?;
    socket.connect(address).await
}
