//! Four masters and their media nodes boot in a simulated cloud: in any order, slowed, failed, killed at each step,
//! with a Vault that was used before. `SALA_SEEDS` sets how many seeds each test tries.

mod cloud;
mod crashes;
mod etcd;
mod executor;
mod host;
mod invariants;
mod operator;
mod races;
mod reuse;
mod vault;
mod world;
