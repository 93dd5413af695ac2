//! Who calls: request signatures, API keys, instance certificates, session tokens.

pub(crate) mod authority;
mod der;
mod header;
pub(crate) mod principal;
pub(crate) mod public_key;
pub(crate) mod signature;
pub(crate) mod token;

pub(crate) use authority::Authority;
pub use authority::KeyError;
pub(crate) use principal::Principal;
