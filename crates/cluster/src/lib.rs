//! What makes several processes one service: who is there, who serves which room, who has died, and how a
//! client's connection finds its room.
//!
//! The decisions are made without sockets or clocks in [`control`]; [`runtime`] feeds them from the store and
//! the links between nodes. [`security`] lets nodes trust each other, [`link`] connects them, and [`gateway`]
//! is what clients see of a master, under
//! the certificate that [`acme`] keeps.

pub mod acme;
pub mod control;
pub mod gateway;
pub mod link;
pub mod media;
pub mod record;
pub mod runtime;
pub mod security;
pub mod status;

pub use record::*;
