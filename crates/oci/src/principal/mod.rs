//! On whose behalf requests are made, and the key that signs them.
//!
//! An instance and a function sign with a session's key, and name it by a token that ends; [`Principal::signer`] gives
//! one that holds for a while. A user signs with an API key for good.

mod api_key;
mod certificate;
mod config_file;
mod error;
mod federation;
mod instance;
mod resource;
mod token;

use std::fmt;
use std::sync::Arc;

use crate::cloud::Settings;
use crate::endpoints::Region;
use crate::imds::Imds;
use crate::ocid::Ocid;
use crate::signing::Signer;

pub use api_key::ApiKey;
pub use error::PrincipalError;
use instance::InstancePrincipal;
use resource::ResourcePrincipal;

/// Who signs. Cheap to clone.
#[derive(Clone)]
pub struct Principal(Arc<Kind>);

enum Kind {
    User(ApiKey),
    Instance(Box<InstancePrincipal>),
    Resource(ResourcePrincipal),
}

impl Principal {
    pub fn api_key(key: ApiKey) -> Principal {
        Principal(Arc::new(Kind::User(key)))
    }

    /// From the `OCI_CLI_*` variables, or `~/.oci/config`.
    pub fn api_key_from_env() -> Result<Principal, PrincipalError> {
        Ok(Principal::api_key(ApiKey::from_env(&env)?))
    }

    /// This instance. Its session is made at the first call, so this succeeds before any policy does.
    pub async fn instance(imds: &Imds, settings: &Settings) -> Result<Principal, PrincipalError> {
        Ok(Principal(Arc::new(Kind::Instance(Box::new(InstancePrincipal::new(imds, settings).await?)))))
    }

    /// The function whose environment this is.
    pub fn resource_from_env() -> Result<Principal, PrincipalError> {
        Ok(Principal(Arc::new(Kind::Resource(ResourcePrincipal::from_env(&env)?))))
    }

    /// See [`Cloud::from_env`](crate::Cloud::from_env).
    pub async fn from_env(settings: &Settings) -> Result<Principal, PrincipalError> {
        match env("OCI_CLI_AUTH").as_deref() {
            Some("api_key") => Principal::api_key_from_env(),
            Some("resource_principal") => Principal::resource_from_env(),
            Some("instance_principal") => Principal::instance(&Imds::from_env()?, settings).await,
            Some(other) => Err(PrincipalError::Kind(other.to_owned())),
            None if env(resource::VERSION).is_some() => Principal::resource_from_env(),
            None if ApiKey::is_configured(&env) => Principal::api_key_from_env(),
            None => Principal::instance(&Imds::from_env()?, settings).await,
        }
    }

    pub fn region(&self) -> &Region {
        match &*self.0 {
            Kind::User(key) => key.region(),
            Kind::Instance(instance) => instance.region(),
            Kind::Resource(resource) => resource.region(),
        }
    }

    pub fn tenancy(&self) -> &Ocid {
        match &*self.0 {
            Kind::User(key) => key.tenancy(),
            Kind::Instance(instance) => instance.tenancy(),
            Kind::Resource(resource) => resource.tenancy(),
        }
    }

    /// A key that is good for the next minute at least.
    pub(crate) async fn signer(&self) -> Result<Signer, PrincipalError> {
        match &*self.0 {
            Kind::User(key) => Ok(key.signer()),
            Kind::Instance(instance) => instance.signer().await,
            Kind::Resource(resource) => resource.signer(),
        }
    }

    /// Another one than `refused`, if there can be another.
    pub(crate) async fn renewed(&self, refused: &Signer) -> Result<Option<Signer>, PrincipalError> {
        match &*self.0 {
            Kind::User(_) => Ok(None),
            Kind::Instance(instance) => instance.renewed(refused).await.map(Some),
            Kind::Resource(resource) => resource.renewed(refused),
        }
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.0 {
            Kind::User(_) => "user",
            Kind::Instance(_) => "instance principal",
            Kind::Resource(_) => "resource principal",
        })
    }
}

/// A variable that is set and not blank.
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
