//! The coordination store: what a cluster must agree on, and nothing else.
