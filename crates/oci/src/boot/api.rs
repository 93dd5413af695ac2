//! What boot asks of the cloud: few operations, so that a simulation can model them all. [`super::OracleApi`] carries
//! them out with the typed clients.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use auth::Secret;

use super::identity::Place;

/// The operations. Every one may be repeated: boot may have been killed after the cloud carried it out.
// Not for others to implement across threads: boot is one task.
#[allow(async_fn_in_trait)]
pub trait Api {
    /// What the instance is told about itself.
    async fn facts(&self) -> Result<Facts, ApiError>;
    /// The public address of one of the instance's network interfaces.
    async fn public_address(&self, vnic: &str) -> Result<Option<Ipv4Addr>, ApiError>;
    /// The balancer's public address, once it has one.
    async fn balancer_address(&self, balancer: &str) -> Result<Option<IpAddr>, ApiError>;

    /// An object of the cluster-data bucket.
    async fn object(&self, place: &Place, name: &str) -> Result<Option<Object>, ApiError>;
    /// Writes one if it is as `expected`; `None`: it is not.
    async fn put_object(
        &self,
        place: &Place,
        name: &str,
        body: &[u8],
        expected: Expected<'_>,
    ) -> Result<Option<ETag>, ApiError>;

    async fn vault(&self, place: &Place) -> Result<Vault, ApiError>;
    /// Keys of that name in the vault.
    async fn keys(&self, vault: &Vault, name: &str) -> Result<Vec<Key>, ApiError>;
    async fn create_key(&self, vault: &Vault, name: &str) -> Result<Key, ApiError>;

    /// A secret by its name, whatever its state.
    async fn find_secret(&self, place: &Place, name: &str) -> Result<Option<SecretHead>, ApiError>;
    /// Makes a secret; returns the number of its first version.
    async fn create_secret(
        &self,
        place: &Place,
        key: &str,
        name: &str,
        value: &Secret,
    ) -> Result<u64, ApiError>;
    /// Writes a new version if the secret is still at `etag`; returns its number.
    async fn update_secret(&self, id: &str, etag: &ETag, value: &Secret) -> Result<u64, ApiError>;
    async fn cancel_secret_deletion(&self, id: &str) -> Result<(), ApiError>;
    async fn secret_versions(&self, id: &str) -> Result<Vec<Version>, ApiError>;
    async fn delete_secret_version(&self, id: &str, number: u64) -> Result<(), ApiError>;
    /// The current value; `None`: there is no such secret, or it is to be deleted.
    async fn read_secret(&self, place: &Place, name: &str) -> Result<Option<SecretValue>, ApiError>;
}

/// Why an operation failed, as boot needs to tell it apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Not allowed, or not there: Oracle does not say which. New policies take up to two minutes to arrive.
    #[error("{0}")]
    Denied(String),
    /// No answer, or one that promises better later. It may have been carried out.
    #[error("{0}")]
    Unavailable(String),
    /// Somebody else was first, or the resource is in transition.
    #[error("{0}")]
    Conflict(String),
    /// Nothing will change by itself.
    #[error("{0}")]
    Refused(String),
}

impl ApiError {
    /// Whether waiting may help.
    pub fn may_pass(&self) -> bool {
        !matches!(self, ApiError::Refused(_))
    }
}

/// What the metadata service says of this instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub instance: String,
    pub display_name: String,
    pub region: String,
    pub metadata: BTreeMap<String, String>,
    pub vnic: String,
    pub private_address: Option<Ipv4Addr>,
}

/// Version of an object or secret, for compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(pub String);

/// What must be there for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    Absent,
    At(&'a ETag),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub body: Vec<u8>,
    pub etag: ETag,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    pub id: String,
    pub compartment: String,
    /// Host of its key operations. The name may not resolve for minutes after the vault is active.
    pub management_endpoint: String,
    pub state: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub id: String,
    pub state: String,
    /// RFC 3339; the oldest of several keys counts.
    pub created: String,
}

/// A secret without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretHead {
    pub id: String,
    pub state: SecretState,
    pub etag: ETag,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretState {
    Active,
    PendingDeletion,
    /// Between two others: named as Oracle names it.
    Moving(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub number: u64,
    /// Neither current nor needed, and not yet to be deleted.
    pub deprecated: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue {
    pub value: Secret,
    pub version: u64,
}
