//! How nodes trust each other: one certificate authority per cluster, mutual TLS 1.3 on every internal
//! connection, and refusals that say what to mend.
//!
//! [`Ca`] is made once by `sala cluster ca` and given to every node. [`NodeTls`] issues this node's leaf from it,
//! renews it, and makes the TLS configurations of both ends. [`PeerRefused`] explains why a peer was not let in.

mod ca;
mod error;
mod name;
mod node_tls;
mod verify;

pub use ca::{BACKDATE, Ca, LEAF_LIFETIME, Leaf, PemSource, exposed_key, write_ca};
pub use error::{PeerRefused, SecurityError};
pub use name::PeerName;
pub use node_tls::NodeTls;

#[cfg(test)]
mod tests;
