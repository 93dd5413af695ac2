//! The control plane's tasks: store, links and clock on one side, decisions on the other.
