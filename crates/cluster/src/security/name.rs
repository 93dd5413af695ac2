//! The name of a node in its certificate: the URI `sala://<cluster>/<node>` is what counts, the DNS name
//! `<node>.<cluster>.sala.internal` is for tools that know nothing else.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use super::SecurityError;
use crate::NodeId;

/// Longest id of a cluster or of a node: a DNS label.
const MAX_ID_BYTES: usize = 63;

const SCHEME: &str = "sala://";
const DOMAIN: &str = "sala.internal";

/// Who a certificate says its bearer is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PeerName {
    pub cluster: String,
    pub node: NodeId,
}

impl PeerName {
    /// Checks that both ids can be part of a DNS name: labels of letters, digits, `-` and `_`; the node's may
    /// have several with dots between, as host names have.
    pub fn new(cluster: &str, node: &NodeId) -> Result<PeerName, SecurityError> {
        let label = |text: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.chars().all(plain)
        };
        if cluster.len() > MAX_ID_BYTES || !label(cluster) {
            return Err(SecurityError::BadId { what: "cluster.id", id: cluster.to_owned() });
        }
        if node.0.len() > MAX_ID_BYTES || !node.0.split('.').all(label) {
            return Err(SecurityError::BadId { what: "cluster.node_id", id: node.0.clone() });
        }
        Ok(PeerName { cluster: cluster.to_owned(), node: node.clone() })
    }

    pub(super) fn dns(&self) -> String {
        format!("{}.{}.{DOMAIN}", self.node, self.cluster)
    }

    pub(super) fn uri(&self) -> String {
        format!("{SCHEME}{}/{}", self.cluster, self.node)
    }

    /// Reads the name in a certificate. `None`: it has none, so it is not a node's.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<PeerName> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let names = &parsed.subject_alternative_name().ok()??.value.general_names;
        names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => {
                let (cluster, node) = uri.strip_prefix(SCHEME)?.split_once('/')?;
                PeerName::new(cluster, &NodeId(node.to_owned())).ok()
            }
            _ => None,
        })
    }
}
