//! Vaults and the master encryption keys in them. Keys are managed at an endpoint of the vault's own.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::state::states;
use crate::endpoints::Service;
use crate::error::Error;
use crate::ocid::Ocid;
use crate::transport::{Api, Call, path};
use crate::wire_time;

/// Key management.
#[derive(Clone)]
pub struct Kms {
    api: Api,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vault {
    pub id: Ocid,
    pub display_name: String,
    pub compartment_id: Ocid,
    /// Its name may not resolve for minutes after the vault is active.
    pub management_endpoint: String,
    pub lifecycle_state: VaultState,
}

states! {
    VaultState {
        Creating = "CREATING",
        Active = "ACTIVE",
        Updating = "UPDATING",
        Deleting = "DELETING",
        Deleted = "DELETED",
        PendingDeletion = "PENDING_DELETION",
        SchedulingDeletion = "SCHEDULING_DELETION",
        CancellingDeletion = "CANCELLING_DELETION",
        BackupInProgress = "BACKUP_IN_PROGRESS",
        Restoring = "RESTORING",
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    pub id: Ocid,
    pub display_name: String,
    pub compartment_id: Ocid,
    pub vault_id: Ocid,
    pub lifecycle_state: KeyState,
    #[serde(default)]
    pub protection_mode: Option<String>,
    #[serde(default, with = "wire_time::optional")]
    pub time_created: Option<SystemTime>,
}

states! {
    KeyState {
        Creating = "CREATING",
        Enabling = "ENABLING",
        Enabled = "ENABLED",
        Disabling = "DISABLING",
        Disabled = "DISABLED",
        Deleting = "DELETING",
        Deleted = "DELETED",
        PendingDeletion = "PENDING_DELETION",
        SchedulingDeletion = "SCHEDULING_DELETION",
        CancellingDeletion = "CANCELLING_DELETION",
        Updating = "UPDATING",
    }
}

/// Where a key lives. Software keys are free of charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protection {
    Hsm,
    Software,
}

/// A key to create: AES with 256 bits, which is what secrets need.
#[derive(Debug, Clone)]
pub struct NewKey<'a> {
    pub compartment_id: &'a Ocid,
    pub display_name: &'a str,
    pub protection: Protection,
    pub freeform_tags: &'a BTreeMap<String, String>,
}

impl Kms {
    pub(crate) fn new(api: Api) -> Kms {
        Kms { api }
    }

    pub async fn vault(&self, id: &Ocid) -> Result<Vault, Error> {
        self.api.json(Call::get("GetVault", Service::Kms, path(["20180608", "vaults", id]))).await
    }

    pub async fn vaults(&self, compartment: &Ocid) -> Result<Vec<Vault>, Error> {
        let call = Call::get("ListVaults", Service::Kms, path(["20180608", "vaults"]));
        self.api.list(call.query("compartmentId", compartment)).await
    }

    /// All keys of the vault in this compartment, in any state.
    pub async fn keys(&self, vault: &Vault, compartment: &Ocid) -> Result<Vec<Key>, Error> {
        let call = Call::get("ListKeys", Service::Kms, path(["20180608", "keys"]));
        self.api.list(call.at(&vault.management_endpoint).query("compartmentId", compartment)).await
    }

    pub async fn key(&self, vault: &Vault, id: &Ocid) -> Result<Key, Error> {
        let call = Call::get("GetKey", Service::Kms, path(["20180608", "keys", id]));
        self.api.json(call.at(&vault.management_endpoint)).await
    }

    pub async fn create_key(&self, vault: &Vault, key: &NewKey<'_>) -> Result<Key, Error> {
        let body = json!({
            "compartmentId": key.compartment_id,
            "displayName": key.display_name,
            "keyShape": { "algorithm": "AES", "length": 32 },
            "protectionMode": key.protection,
            "freeformTags": key.freeform_tags,
        });
        let call =
            Call::post("CreateKey", Service::Kms, path(["20180608", "keys"])).json(&body).retry_token();
        self.api.json(call.at(&vault.management_endpoint)).await
    }
}
