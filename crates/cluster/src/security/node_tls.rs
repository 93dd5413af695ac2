//! This node's side of mutual TLS: a leaf that is renewed at half its life, and the configurations of both ends
//! that use whichever leaf is the current one. Connections outlive the leaf they began with.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};

use super::SecurityError;
use super::ca::{Ca, Leaf};
use super::name::PeerName;
use super::verify::Verifier;
use crate::NodeId;

/// How often the leaf's age is looked at. Not one long sleep: machines are suspended, and clocks are set.
const ROTATION_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Certificates and TLS configurations of this node.
pub struct NodeTls {
    ca: Ca,
    name: PeerName,
    addresses: Vec<IpAddr>,
    current: Arc<Current>,
    verifier: Arc<Verifier>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for NodeTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeTls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The leaf in use. rustls asks for it at each handshake.
struct Current(ArcSwap<Leaf>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current(…)")
    }
}

impl NodeTls {
    /// Issues this node's first leaf, valid from `now` on. `addresses` are those that others reach it by.
    pub fn new(
        ca: Ca,
        cluster: &str,
        node: &NodeId,
        addresses: Vec<IpAddr>,
        now: SystemTime,
    ) -> Result<Arc<NodeTls>, SecurityError> {
        let name = PeerName::new(cluster, node)?;
        let leaf = ca.issue(&name, &addresses, now)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = ca.roots()?;
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let clients = clients.map_err(|error| SecurityError::Tls(error.to_string()))?;
        let verifier = Verifier { cluster: cluster.to_owned(), roots, clients, provider: provider.clone() };
        let current = Arc::new(Current(ArcSwap::from_pointee(leaf)));
        Ok(Arc::new(NodeTls { ca, name, addresses, current, verifier: Arc::new(verifier), provider }))
    }

    pub fn node(&self) -> &NodeId {
        &self.name.node
    }

    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    /// The leaf in use.
    pub fn leaf(&self) -> Arc<Leaf> {
        self.current.0.load_full()
    }

    /// Issues a new leaf when the current one is in the second half of its life. True when it did.
    pub fn rotate_if_due(&self, now: SystemTime) -> Result<bool, SecurityError> {
        if !self.current.0.load().is_due(now) {
            return Ok(false);
        }
        self.current.0.store(Arc::new(self.ca.issue(&self.name, &self.addresses, now)?));
        Ok(true)
    }

    /// Rotates for ever. Dropping the future ends it.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut check = tokio::time::interval(ROTATION_CHECK_INTERVAL);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            check.tick().await;
            match self.rotate_if_due(SystemTime::now()) {
                Ok(false) => {}
                Ok(true) => tracing::info!(node = %self.name.node, "issued a new certificate for this node"),
                Err(error) => {
                    tracing::warn!(%error, "cannot renew this node's certificate; trying again in a minute")
                }
            }
        }
    }

    /// TLS 1.3 that demands a certificate of a node of this cluster. `alpn` in order of preference.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, SecurityError> {
        let config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| SecurityError::Tls(error.to_string()))?;
        let mut config =
            config.with_client_cert_verifier(self.verifier.clone()).with_cert_resolver(self.current.clone());
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        // Every connection shows a certificate that is valid now: nothing is resumed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// TLS 1.3 with this node's certificate. Connect with the name from [`NodeTls::server_name`].
    pub fn client_config(&self, alpn: &[u8]) -> Result<Arc<ClientConfig>, SecurityError> {
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| SecurityError::Tls(error.to_string()))?;
        let mut config = config
            .dangerous() // ours checks more than the usual one: chain, cluster and node
            .with_custom_certificate_verifier(self.verifier.clone())
            .with_client_cert_resolver(self.current.clone());
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// The name that `node`'s certificate must have.
    pub fn server_name(&self, node: &NodeId) -> Result<ServerName<'static>, SecurityError> {
        let name = PeerName::new(&self.name.cluster, node)?;
        let bad = |_| SecurityError::BadId { what: "node id", id: node.0.clone() };
        ServerName::try_from(name.dns()).map_err(bad)
    }

    #[cfg(test)]
    pub(super) fn verifier(&self) -> Arc<dyn rustls::client::danger::ServerCertVerifier> {
        self.verifier.clone()
    }

    /// Who is at the other end of an accepted connection.
    pub fn peer_of(certificates: Option<&[CertificateDer<'_>]>) -> Option<NodeId> {
        Some(PeerName::of(certificates?.first()?)?.node)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().certified.clone())
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
