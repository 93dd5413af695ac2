//! Masters that share a store get real certificates from a real ACME server: Pebble, which checks what Let's Encrypt
//! checks. `make .tools/pebble/pebble` installs it. Everything is on loopback; names are resolved by Pebble's own
//! DNS server.

#[path = "acme/masters.rs"]
mod masters;
#[path = "acme/pebble.rs"]
mod pebble;
#[path = "acme/stopping_store.rs"]
mod stopping_store;
#[path = "acme/stories.rs"]
mod stories;
