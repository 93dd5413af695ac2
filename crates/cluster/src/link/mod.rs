//! Connections between nodes of a cluster.
