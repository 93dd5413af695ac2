//! Vaults and their master keys.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ocid;

/// Keys in a vault.
pub(crate) const MAX_KEYS: usize = 100;

#[derive(Debug)]
pub(crate) struct Vault {
    pub(crate) id: String,
    pub(crate) display_name: String,
    pub(crate) compartment: String,
    pub(crate) created_unix_ms: i64,
    /// Until then nobody answers at its management endpoint.
    pub(crate) manageable_from: Duration,
}

impl Vault {
    /// What its management endpoint is told apart by.
    pub(crate) fn short(&self) -> &str {
        let tail = self.id.rsplit('.').next().unwrap_or(&self.id);
        &tail[tail.len().saturating_sub(12)..]
    }
}

#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) vault: String,
    pub(crate) compartment: String,
    pub(crate) display_name: String,
    pub(crate) version: String,
    pub(crate) algorithm: String,
    pub(crate) length: u64,
    pub(crate) protection_mode: String,
    pub(crate) created_unix_ms: i64,
    pub(crate) enabled_from: Duration,
}

impl Key {
    pub(crate) fn state(&self, now: Duration) -> &'static str {
        if now < self.enabled_from { "CREATING" } else { "ENABLED" }
    }
}

/// All of them, by OCID.
#[derive(Default, Debug)]
pub(crate) struct Kms {
    pub(crate) vaults: BTreeMap<String, Vault>,
    pub(crate) keys: BTreeMap<String, Key>,
}

/// A key to make.
pub(crate) struct NewKey {
    pub(crate) id: String,
    pub(crate) vault: String,
    pub(crate) compartment: String,
    pub(crate) display_name: String,
    pub(crate) algorithm: String,
    pub(crate) length: u64,
    pub(crate) protection_mode: String,
}

impl Kms {
    pub(crate) fn create_key(&mut self, new: NewKey, region_key: &str, unix_ms: i64, enabled_from: Duration) {
        let key = Key {
            version: ocid::fresh("keyversion", region_key),
            id: new.id.clone(),
            vault: new.vault,
            compartment: new.compartment,
            display_name: new.display_name,
            algorithm: new.algorithm,
            length: new.length,
            protection_mode: new.protection_mode,
            created_unix_ms: unix_ms,
            enabled_from,
        };
        self.keys.insert(new.id, key);
    }
}
