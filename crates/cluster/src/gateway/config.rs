//! What an operator configures for the gateway, with its limits.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use auth::Secret;

use crate::NodeId;
use crate::acme::{BadAcme, CertificateShare};
use crate::security::SecurityError;

/// The gateway of one master.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// This master, as nodes are told.
    pub node_id: NodeId,
    pub https: Vec<SocketAddr>,
    pub http: Vec<SocketAddr>,
    /// Plain HTTP that is neither redirected nor behind the balancer: health checks and clients within the network.
    pub plain: Vec<SocketAddr>,
    /// Plain HTTP answers with a redirect instead of service (`/healthz` and challenges are still answered).
    pub redirect_to_https: bool,
    /// The public certificate; needed where `https` has a listener.
    pub certificate: Option<Certificate>,
    /// Set when a layer-4 balancer in front tells the clients' addresses.
    pub proxy_protocol: Option<ProxyProtocol>,
    pub bridges: Vec<Bridge>,
    /// Whether a join creates its room, as in `signal::RoomPolicy`.
    pub auto_create_rooms: bool,
    pub limits: Limits,
}

/// Where the public certificate comes from.
#[derive(Clone, Debug)]
pub enum Certificate {
    Files(CertificateFiles),
    /// PEM: the chain, leaf first, and its key.
    Inline {
        chain: String,
        key: Secret,
    },
    /// From the store: all masters show the same, self-signed or issued by an ACME server.
    Shared(Arc<CertificateShare>),
}

/// PEM files, read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Who speaks PROXY protocol v2 to the listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Balancers. Connections from other addresses are clients that came directly. Empty: everybody is a
    /// balancer, which only a network that lets nobody else through makes safe.
    pub trusted: Vec<Cidr>,
}

impl ProxyProtocol {
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.is_empty() || self.trusted.iter().any(|cidr| cidr.contains(peer))
    }
}

/// A TCP port that is carried to the same service on a media node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    pub listen: SocketAddr,
    /// Port on the media node, at the address of its internal port.
    pub port: u16,
    /// Tells the node the client's address by PROXY protocol v2.
    pub send_proxy_protocol: bool,
}

/// Upper bounds of what clients can make the gateway hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at a time over all HTTP listeners; more wait in the listeners' backlog.
    pub max_connections: usize,
    /// Connections at a time of each bridge.
    pub max_bridge_connections: usize,
    /// Request line and headers. A join request carries an SDP offer in its query.
    pub max_header_bytes: usize,
    /// A client that does not finish its request line and headers within this time is dropped: slow-loris. Idle
    /// connections are kept as long.
    pub header_timeout: Duration,
    /// One request's body; 0 switches the limit off.
    pub api_request_body_bytes: usize,
    pub max_room_name_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_bridge_connections: 2_000,
            max_header_bytes: 128 * 1024,
            header_timeout: Duration::from_secs(15),
            api_request_body_bytes: 10 << 20,
            max_room_name_bytes: 256,
        }
    }
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error(
        "cannot listen on {address}: {error}; is another process there, or the port below 1024 without CAP_NET_BIND_SERVICE?"
    )]
    Listen { address: SocketAddr, error: io::Error },
    #[error("cannot read {}: {error}; check gateway.certificate_file and gateway.key_file", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error(
        "the public certificate cannot be used: {0}; check gateway.certificate_file (chain, leaf first) and gateway.key_file, or \
         $SALA_GATEWAY_CERTIFICATE and $SALA_GATEWAY_KEY"
    )]
    Certificate(String),
    #[error("redirect_to_https needs a listener under gateway.https")]
    NoHttps,
    #[error("a listener under gateway.https needs a certificate")]
    NoCertificate,
    #[error(transparent)]
    Acme(#[from] BadAcme),
    #[error(transparent)]
    Security(#[from] SecurityError),
}

/// A range of addresses: `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Whether `address` is in the range. An IPv4 address that came as IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let masked = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(v4) => {
                (4, u128::from(v4.to_bits()).unbounded_shr(32 - u32::from(self.prefix.min(32))))
            }
            IpAddr::V6(v6) => (6, v6.to_bits().unbounded_shr(128 - u32::from(self.prefix))),
        };
        masked(address) == masked(self.address)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Text that is no [`Cidr`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address range; write it as 10.0.0.0/8, or one address")]
pub struct BadCidr(String);

impl FromStr for Cidr {
    type Err = BadCidr;

    fn from_str(text: &str) -> Result<Self, BadCidr> {
        let bad = || BadCidr(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(bits);
        if prefix > bits { Err(bad()) } else { Ok(Cidr { address, prefix }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_say_and_nonsense_is_refused() {
        let holds =
            |range: &str, address: &str| range.parse::<Cidr>().unwrap().contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.1.2") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("127.0.0.1", "127.0.0.1") && !holds("127.0.0.1", "127.0.0.2"));
        assert!(holds("0.0.0.0/0", "9.9.9.9") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "fe00::1") && holds("::/0", "::1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.1.1"));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::1/129", "a/b", "1.2.3.4/"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
