//! Mutual TLS between the nodes of a cluster.
