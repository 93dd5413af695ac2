//! Boot's operations carried out with the typed clients, as the instance's own principal.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use auth::Secret;
use tokio::sync::OnceCell;

use super::api::{
    Api, ApiError, ETag, Expected, Facts, Key, Object, SecretHead, SecretState, SecretValue, Vault, Version,
};
use super::identity::Place;
use crate::principal::PrincipalError;
use crate::services::{
    Bucket, Condition, Etag, NewKey, NewSecret, Protection, SecretState as State, SecretValue as Value,
};
use crate::{Cloud, Error, Imds, Ocid};

/// The soonest that a version may go; it cannot be used from the request on.
const VERSION_ENDS_IN: Duration = Duration::from_secs(25 * 3600);

/// Oracle Cloud, from one of its instances.
pub struct OracleApi {
    imds: Imds,
    /// There once the instance has a session.
    cloud: OnceCell<Cloud>,
}

impl OracleApi {
    pub fn new(imds: Imds) -> OracleApi {
        OracleApi { imds, cloud: OnceCell::new() }
    }

    async fn cloud(&self) -> Result<&Cloud, ApiError> {
        let begin = || async {
            Cloud::on_instance(&self.imds).await.map_err(|error| {
                let text = match &error {
                    // Its text has the remedy.
                    PrincipalError::Call(call) => format!("this instance gets no session: {call}"),
                    other => format!("this instance gets no session: {other}; {}", other.remedy()),
                };
                if error.is_transient() { ApiError::Unavailable(text) } else { ApiError::Denied(text) }
            })
        };
        self.cloud.get_or_try_init(begin).await
    }
}

impl Api for OracleApi {
    async fn facts(&self) -> Result<Facts, ApiError> {
        let instance = self.imds.instance().await?;
        let vnics = self.imds.vnics().await?;
        let first = vnics.first();
        let private_address = first.and_then(|vnic| match vnic.private_ip {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        });
        Ok(Facts {
            instance: instance.id.to_string(),
            display_name: instance.display_name.clone(),
            region: instance.canonical_region_name.clone(),
            metadata: instance.metadata(),
            vnic: first.map(|vnic| vnic.vnic_id.to_string()).unwrap_or_default(),
            private_address,
        })
    }

    async fn public_address(&self, vnic: &str) -> Result<Option<Ipv4Addr>, ApiError> {
        let vnic = self.cloud().await?.compute().vnic(&Ocid::new(vnic)).await?;
        Ok(match vnic.public_ip {
            Some(IpAddr::V4(v4)) => Some(v4),
            _ => None,
        })
    }

    async fn balancer_address(&self, balancer: &str) -> Result<Option<IpAddr>, ApiError> {
        Ok(self.cloud().await?.balancers().get(&Ocid::new(balancer)).await?.public_ip())
    }

    async fn object(&self, place: &Place, name: &str) -> Result<Option<Object>, ApiError> {
        let found = self.cloud().await?.objects().find(&bucket(place), name).await?;
        let object = |object: crate::services::Object| Object {
            body: object.bytes.to_vec(),
            etag: ETag(object.etag.as_str().to_owned()),
        };
        Ok(found.map(object))
    }

    async fn put_object(
        &self,
        place: &Place,
        name: &str,
        body: &[u8],
        expected: Expected<'_>,
    ) -> Result<Option<ETag>, ApiError> {
        let etag = match expected {
            Expected::Absent => None,
            Expected::At(etag) => Some(Etag::from(etag.0.as_str())),
        };
        let condition = etag.as_ref().map_or(Condition::Absent, Condition::Matches);
        let objects = self.cloud().await?.objects();
        match objects.put(&bucket(place), name, "application/json", body.to_vec(), condition).await {
            Ok(etag) => Ok(Some(ETag(etag.as_str().to_owned()))),
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn vault(&self, place: &Place) -> Result<Vault, ApiError> {
        let vault = self.cloud().await?.kms().vault(&Ocid::new(place.vault.as_str())).await?;
        Ok(Vault {
            id: vault.id.to_string(),
            compartment: vault.compartment_id.to_string(),
            state: vault.lifecycle_state.to_string(),
            management_endpoint: vault.management_endpoint,
        })
    }

    async fn keys(&self, vault: &Vault, name: &str) -> Result<Vec<Key>, ApiError> {
        let there = self.vault_of(vault).await?;
        let keys = self.cloud().await?.kms().keys(&there, &there.compartment_id).await?;
        let named = keys.into_iter().filter(|key| key.display_name == name);
        Ok(named.map(key).collect())
    }

    async fn create_key(&self, vault: &Vault, name: &str) -> Result<Key, ApiError> {
        let there = self.vault_of(vault).await?;
        let tags = BTreeMap::new();
        let new = NewKey {
            compartment_id: &there.compartment_id,
            display_name: name,
            protection: Protection::Software,
            freeform_tags: &tags,
        };
        Ok(key(self.cloud().await?.kms().create_key(&there, &new).await?))
    }

    async fn find_secret(&self, place: &Place, name: &str) -> Result<Option<SecretHead>, ApiError> {
        let secrets = self.cloud().await?.secrets();
        let (compartment, vault) = (Ocid::new(place.compartment.as_str()), Ocid::new(place.vault.as_str()));
        let Some(found) = secrets.find(&compartment, &vault, name).await? else { return Ok(None) };
        // The list has neither the ETag nor always the latest state.
        let secret = secrets.get(&found.id).await?;
        let state = match secret.lifecycle_state {
            State::Active => SecretState::Active,
            State::PendingDeletion => SecretState::PendingDeletion,
            State::Deleted => return Ok(None),
            other => SecretState::Moving(other.to_string()),
        };
        let etag = secret.etag.as_ref().map(|etag| etag.as_str().to_owned());
        let etag = etag.ok_or_else(|| ApiError::Unavailable(format!("the Vault gave no ETag for {name}")))?;
        Ok(Some(SecretHead { id: found.id.to_string(), state, etag: ETag(etag) }))
    }

    async fn create_secret(
        &self,
        place: &Place,
        key: &str,
        name: &str,
        value: &Secret,
    ) -> Result<u64, ApiError> {
        let (compartment, vault) = (Ocid::new(place.compartment.as_str()), Ocid::new(place.vault.as_str()));
        let (key, value, tags) = (Ocid::new(key), Value::new(value.as_bytes()), BTreeMap::new());
        let new = NewSecret {
            compartment_id: &compartment,
            vault_id: &vault,
            key_id: &key,
            secret_name: name,
            description: "Written by Sala; a new version applies when the cluster restarts",
            value: &value,
            freeform_tags: &tags,
        };
        let made = self.cloud().await?.secrets().create(&new).await?;
        Ok(made.current_version_number.unwrap_or(1))
    }

    async fn update_secret(&self, id: &str, etag: &ETag, value: &Secret) -> Result<u64, ApiError> {
        let (id, value) = (Ocid::new(id), Value::new(value.as_bytes()));
        let only = Etag::from(etag.0.as_str());
        let secrets = self.cloud().await?.secrets();
        let written = secrets.update(&id, &value, Some(&only)).await?;
        written.current_version_number.ok_or_else(|| {
            ApiError::Unavailable("the Vault did not tell the new version's number".to_owned())
        })
    }

    async fn cancel_secret_deletion(&self, id: &str) -> Result<(), ApiError> {
        Ok(self.cloud().await?.secrets().cancel_deletion(&Ocid::new(id)).await?)
    }

    async fn secret_versions(&self, id: &str) -> Result<Vec<Version>, ApiError> {
        let versions = self.cloud().await?.secrets().versions(&Ocid::new(id)).await?;
        let needed = |stage: &String| matches!(stage.as_str(), "CURRENT" | "LATEST" | "PENDING" | "PREVIOUS");
        let version = |version: crate::services::SecretVersion| Version {
            number: version.version_number,
            deprecated: version.time_of_deletion.is_none() && !version.stages.iter().any(needed),
        };
        Ok(versions.into_iter().map(version).collect())
    }

    async fn delete_secret_version(&self, id: &str, number: u64) -> Result<(), ApiError> {
        let at = SystemTime::now() + VERSION_ENDS_IN;
        Ok(self.cloud().await?.secrets().schedule_version_deletion(&Ocid::new(id), number, Some(at)).await?)
    }

    async fn read_secret(&self, place: &Place, name: &str) -> Result<Option<SecretValue>, ApiError> {
        let vault = Ocid::new(place.vault.as_str());
        match self.cloud().await?.secrets().read_by_name(&vault, name).await {
            Ok(bundle) => {
                let text =
                    bundle.value.text().ok_or_else(|| ApiError::Refused(format!("{name} is no text")))?;
                Ok(Some(SecretValue { value: text.into(), version: bundle.version_number }))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl OracleApi {
    async fn vault_of(&self, vault: &Vault) -> Result<crate::services::Vault, ApiError> {
        Ok(self.cloud().await?.kms().vault(&Ocid::new(vault.id.as_str())).await?)
    }
}

fn bucket(place: &Place) -> Bucket {
    Bucket { namespace: place.namespace.clone(), name: place.bucket_cluster_data.clone() }
}

fn key(key: crate::services::Key) -> Key {
    Key {
        id: key.id.to_string(),
        state: key.lifecycle_state.to_string(),
        created: key.time_created.map(crate::to_rfc3339).unwrap_or_default(),
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        let text = error.to_string();
        if error.is_not_authorized() || error.is_not_found() {
            ApiError::Denied(text)
        } else if error.is_transient() || error.is_clock_skew() {
            ApiError::Unavailable(text)
        } else if error.is_conflict() {
            ApiError::Conflict(text)
        } else {
            ApiError::Refused(text)
        }
    }
}
