//! Virtual network, simulated clients and seeded worlds for tests; never a dependency of a product crate.

pub mod client;
pub mod network;
mod node;
pub mod source;
pub mod world;
