//! The control plane's decisions: state machines without sockets, clock or randomness of their own.
