//! Vault secrets: kept by one service and read through another; one client here.

use std::collections::BTreeMap;
use std::time::SystemTime;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::state::states;
use super::{Etag, SecretValue, Versioned};
use crate::endpoints::Service;
use crate::error::Error;
use crate::ocid::Ocid;
use crate::transport::{Api, Call, path};
use crate::wire_time;

/// The secrets of vaults.
#[derive(Clone)]
pub struct Secrets {
    api: Api,
}

/// A secret to create.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewSecret<'a> {
    pub compartment_id: &'a Ocid,
    pub vault_id: &'a Ocid,
    pub key_id: &'a Ocid,
    pub secret_name: &'a str,
    pub description: &'a str,
    #[serde(rename = "secretContent", serialize_with = "content")]
    pub value: &'a SecretValue,
    pub freeform_tags: &'a BTreeMap<String, String>,
}

/// What is known of a secret, but its content.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    pub id: Ocid,
    pub secret_name: String,
    pub compartment_id: Ocid,
    pub vault_id: Ocid,
    #[serde(default)]
    pub key_id: Option<Ocid>,
    pub lifecycle_state: SecretState,
    /// Not in listings.
    #[serde(default)]
    pub current_version_number: Option<u64>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub freeform_tags: BTreeMap<String, String>,
    #[serde(default, with = "wire_time::optional")]
    pub time_of_deletion: Option<SystemTime>,
}

states! {
    /// Where a secret is in its life.
    SecretState {
        Creating = "CREATING",
        Active = "ACTIVE",
        Updating = "UPDATING",
        Deleting = "DELETING",
        Deleted = "DELETED",
        SchedulingDeletion = "SCHEDULING_DELETION",
        /// Can be restored, and holds its name until then.
        PendingDeletion = "PENDING_DELETION",
        CancellingDeletion = "CANCELLING_DELETION",
        Failed = "FAILED",
    }
}

/// One of at most 30 versions (50 where the tenancy's limit was raised).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretVersion {
    pub version_number: u64,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub stages: Vec<String>,
    #[serde(default, with = "wire_time::optional")]
    pub time_created: Option<SystemTime>,
    #[serde(default, with = "wire_time::optional")]
    pub time_of_deletion: Option<SystemTime>,
}

/// A secret's content.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretBundle {
    pub secret_id: Ocid,
    pub version_number: u64,
    #[serde(default)]
    pub version_name: Option<String>,
    #[serde(default)]
    pub stages: Vec<String>,
    #[serde(rename = "secretBundleContent", deserialize_with = "bundled")]
    pub value: SecretValue,
    #[serde(default, with = "wire_time::optional")]
    pub time_created: Option<SystemTime>,
}

impl Secrets {
    pub(crate) fn new(api: Api) -> Secrets {
        Secrets { api }
    }

    /// 409 if the name is taken, also by a secret that is pending deletion.
    pub async fn create(&self, secret: &NewSecret<'_>) -> Result<Secret, Error> {
        let call = Call::post("CreateSecret", Service::Vaults, root(&[])).json(secret).retry_token();
        self.api.json(call).await
    }

    /// A new current version with this content. `only` is the ETag of [`Secrets::get`]: with it, a repeated attempt
    /// makes no second version.
    pub async fn update(&self, id: &Ocid, value: &SecretValue, only: Option<&Etag>) -> Result<Secret, Error> {
        let call = Call::put("UpdateSecret", Service::Vaults, root(&[id]))
            .json(&json!({ "secretContent": Content::new(value) }))
            .if_match(only.map(Etag::as_str));
        self.api.json(call).await
    }

    pub async fn get(&self, id: &Ocid) -> Result<Versioned<Secret>, Error> {
        self.api.versioned(Call::get("GetSecret", Service::Vaults, root(&[id]))).await
    }

    /// All secrets of the vault in this compartment, in any state.
    pub async fn list(&self, compartment: &Ocid, vault: &Ocid) -> Result<Vec<Secret>, Error> {
        let call = Call::get("ListSecrets", Service::Vaults, root(&[]))
            .query("compartmentId", compartment)
            .query("vaultId", vault);
        self.api.list(call).await
    }

    /// The secret of this name that is not deleted: names are unique in a vault.
    pub async fn find(&self, compartment: &Ocid, vault: &Ocid, name: &str) -> Result<Option<Secret>, Error> {
        let call = Call::get("ListSecrets", Service::Vaults, root(&[]))
            .query("compartmentId", compartment)
            .query("vaultId", vault)
            .query("name", name);
        let all: Vec<Secret> = self.api.list(call).await?;
        let lives =
            |secret: &Secret| secret.secret_name == name && secret.lifecycle_state != SecretState::Deleted;
        Ok(all.into_iter().find(lives))
    }

    /// At least a day ahead, at most 30 days; the service's default (30 days) if no time is given.
    pub async fn schedule_deletion(&self, id: &Ocid, at: Option<SystemTime>) -> Result<(), Error> {
        let body = match at {
            Some(at) => json!({ "timeOfDeletion": wire_time::to_rfc3339(at) }),
            None => json!({}),
        };
        let path = root(&[id, "actions", "scheduleDeletion"]);
        self.api.send(Call::post("ScheduleSecretDeletion", Service::Vaults, path).json(&body)).await.map(drop)
    }

    /// Restores a secret that is pending deletion.
    pub async fn cancel_deletion(&self, id: &Ocid) -> Result<(), Error> {
        let path = root(&[id, "actions", "cancelDeletion"]);
        self.api.send(Call::post("CancelSecretDeletion", Service::Vaults, path)).await.map(drop)
    }

    pub async fn versions(&self, id: &Ocid) -> Result<Vec<SecretVersion>, Error> {
        self.api.list(Call::get("ListSecretVersions", Service::Vaults, root(&[id, "versions"]))).await
    }

    /// A version that is neither current nor pending: at least a day ahead. It counts no more against the limit.
    pub async fn schedule_version_deletion(
        &self,
        id: &Ocid,
        version: u64,
        at: Option<SystemTime>,
    ) -> Result<(), Error> {
        let body = match at {
            Some(at) => json!({ "timeOfDeletion": wire_time::to_rfc3339(at) }),
            None => json!({}),
        };
        let path = root(&[id, "version", &version.to_string(), "actions", "scheduleDeletion"]);
        let call = Call::post("ScheduleSecretVersionDeletion", Service::Vaults, path).json(&body);
        self.api.send(call).await.map(drop)
    }

    /// The current content.
    pub async fn read(&self, id: &Ocid) -> Result<SecretBundle, Error> {
        let path = path(["20190301", "secretbundles", id]);
        self.api.json(Call::get("GetSecretBundle", Service::Secrets, path)).await
    }

    /// The current content, by the secret's name.
    pub async fn read_by_name(&self, vault: &Ocid, name: &str) -> Result<SecretBundle, Error> {
        let path = path(["20190301", "secretbundles", "actions", "getByName"]);
        let call = Call::new("GetSecretBundleByName", Service::Secrets, Method::POST, path)
            .query("secretName", name)
            .query("vaultId", vault)
            .idempotent();
        self.api.json(call).await
    }
}

fn root(more: &[&str]) -> String {
    path(["20180608", "secrets"].into_iter().chain(more.iter().copied()))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content<'a> {
    content_type: &'static str,
    content: &'a SecretValue,
    stage: &'static str,
}

impl<'a> Content<'a> {
    fn new(content: &'a SecretValue) -> Content<'a> {
        Content { content_type: "BASE64", content, stage: "CURRENT" }
    }
}

fn content<S: serde::Serializer>(value: &SecretValue, to: S) -> Result<S::Ok, S::Error> {
    Content::new(value).serialize(to)
}

fn bundled<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SecretValue, D::Error> {
    #[derive(Deserialize)]
    struct Bundled {
        content: SecretValue,
    }
    Bundled::deserialize(from).map(|bundled| bundled.content)
}
