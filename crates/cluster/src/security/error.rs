//! What can be wrong with an authority, an id or a peer, each with its remedy.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::{CertificateError, OtherError};

use crate::NodeId;

/// Why this node cannot make or use certificates.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    #[error("cannot read {}: {error}; make the cluster's authority once with `sala cluster ca --dir` and copy ca.pem and ca.key to every node", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("cannot write {}: {error}; check the directory and its owner", path.display())]
    Unwritable { path: PathBuf, error: io::Error },
    #[error("{} exists; nodes trust the authority in it: delete it first if no node uses it", .0.display())]
    Exists(PathBuf),
    #[error("{from} holds no {what} in PEM form; use the file that `sala cluster ca` wrote")]
    NotPem { from: String, what: &'static str },
    #[error("{from} is not the certificate of an authority; use the ca.pem that `sala cluster ca` wrote")]
    NotACa { from: String },
    #[error("{key} is not the key of {certificate}; copy both from the same place")]
    KeyMismatch { certificate: String, key: String },
    #[error(
        "{what} `{id}` cannot be part of a certificate's name; use 1 to 63 letters, digits, `-`, `_` (and dots in a node id)"
    )]
    BadId { what: &'static str, id: String },
    #[error("cannot make a certificate: {0}; check the authority's files")]
    Certificate(#[from] rcgen::Error),
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Why a connection with another node was refused, by this side or the other.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PeerRefused {
    #[error(
        "the peer is of cluster `{theirs}`, this node of `{ours}`; check cluster.masters and cluster.id on both"
    )]
    OtherCluster { theirs: String, ours: String },
    #[error(
        "the peer is node `{found}`, expected `{expected}`; its address has changed owner: check cluster.internal_address of both"
    )]
    OtherNode { expected: String, found: NodeId },
    #[error(
        "the peer's certificate names no node; only nodes of the cluster may connect to the internal port"
    )]
    NoName,
    #[error("the peer's certificate is of another authority; copy the same ca.pem and ca.key to every node")]
    OtherCa,
    #[error("the peer showed no certificate; only nodes of the cluster may connect to the internal port")]
    NoCertificate,
    #[error("the peer's certificate begins to be valid in {} s by this machine's clock; one of the two clocks is wrong by at least that: run NTP on both", ahead.as_secs())]
    NotYetValid { ahead: Duration },
    #[error("the peer's certificate expired {} s ago by this machine's clock; one of the two clocks is wrong, or the peer failed to renew: run NTP on both and see the peer's log", since.as_secs())]
    Expired { since: Duration },
    #[error(
        "the peer refused this node's certificate ({0}); its log says why: usually another ca.pem, another cluster.id or a wrong clock"
    )]
    ByPeer(String),
    #[error("TLS failed: {0}; is this the internal port of a node?")]
    Tls(String),
}

impl PeerRefused {
    /// Finds the reason in an error of a TLS stream. `None`: the network failed, not the trust.
    pub fn of(error: &io::Error) -> Option<PeerRefused> {
        error.get_ref()?.downcast_ref::<rustls::Error>().map(PeerRefused::of_tls)
    }

    fn of_tls(error: &rustls::Error) -> PeerRefused {
        use CertificateError as Bad;
        match error {
            rustls::Error::InvalidCertificate(Bad::Other(OtherError(own))) => {
                own.downcast_ref::<PeerRefused>().cloned().unwrap_or_else(|| Self::Tls(own.to_string()))
            }
            // Two authorities of the same name differ in their keys only.
            rustls::Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => Self::OtherCa,
            rustls::Error::InvalidCertificate(Bad::NotValidYetContext { time, not_before }) => {
                let ahead = not_before.as_secs().saturating_sub(time.as_secs());
                Self::NotYetValid { ahead: Duration::from_secs(ahead) }
            }
            rustls::Error::InvalidCertificate(Bad::ExpiredContext { time, not_after }) => {
                let since = time.as_secs().saturating_sub(not_after.as_secs());
                Self::Expired { since: Duration::from_secs(since) }
            }
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            rustls::Error::AlertReceived(alert) => Self::ByPeer(format!("{alert:?}")),
            other => Self::Tls(other.to_string()),
        }
    }

    /// As a verifier reports it.
    pub(super) fn into_tls(self) -> rustls::Error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(self))))
    }
}
