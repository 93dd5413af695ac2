//! The way in: all typed clients for one principal.

use http::Uri;

use crate::endpoints::{Endpoints, Region, SettingsError, base_url};
use crate::imds::Imds;
use crate::ocid::Ocid;
use crate::principal::{Principal, PrincipalError};
use crate::services::{
    Compute, Functions, InstancePools, Kms, Monitoring, NetworkLoadBalancers, ObjectStorage, Secrets,
};
use crate::transport::{Api, HttpClient, Patience, Policy};

/// What may be set from outside.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// One base URL in the place of all services' own: the rehearsal's simulator.
    pub endpoint: Option<Uri>,
    pub policy: Policy,
}

impl Settings {
    /// From `SALA_OCI_ENDPOINT`.
    pub fn from_env() -> Result<Settings, SettingsError> {
        const NAME: &str = "SALA_OCI_ENDPOINT";
        let endpoint = base_url(NAME, &std::env::var(NAME).unwrap_or_default())?;
        Ok(Settings { endpoint, ..Settings::default() })
    }
}

/// Oracle Cloud as one principal sees it. Cheap to clone; clones share connections, session and retry budgets.
#[derive(Clone)]
pub struct Cloud {
    api: Api,
}

impl Cloud {
    /// As this instance, from its metadata: on masters and media nodes.
    pub async fn on_instance(imds: &Imds) -> Result<Cloud, PrincipalError> {
        let settings = Settings::from_env()?;
        Ok(Cloud::new(Principal::instance(imds, &settings).await?, &settings))
    }

    /// As the function whose environment this is.
    pub fn in_function() -> Result<Cloud, PrincipalError> {
        Ok(Cloud::new(Principal::resource_from_env()?, &Settings::from_env()?))
    }

    /// As a user, with the API key of `~/.oci/config` or of the `OCI_CLI_*` variables: on an operator's machine.
    pub fn as_user() -> Result<Cloud, PrincipalError> {
        Ok(Cloud::new(Principal::api_key_from_env()?, &Settings::from_env()?))
    }

    /// As what the environment tells: `OCI_CLI_AUTH` (`instance_principal`, `resource_principal`, `api_key`) if it is
    /// set; else the function, the user with a configuration, or the instance, in this order.
    pub async fn from_env() -> Result<Cloud, PrincipalError> {
        let settings = Settings::from_env()?;
        Ok(Cloud::new(Principal::from_env(&settings).await?, &settings))
    }

    pub fn new(principal: Principal, settings: &Settings) -> Cloud {
        let endpoints = Endpoints::new(principal.region().clone(), settings.endpoint.clone());
        Cloud { api: Api::new(HttpClient::new(), principal, endpoints, settings.policy) }
    }

    /// The same cloud for calls that wait for what must come: a policy to propagate, a transition to end.
    ///
    /// ```
    /// # use std::time::Duration; use oci::{Cloud, Patience};
    /// # fn f(cloud: &Cloud) {
    /// let cloud = cloud.patient(Patience { within: Some(Duration::from_secs(180)), propagation: true, ..Patience::default() });
    /// # }
    /// ```
    pub fn patient(&self, patience: Patience) -> Cloud {
        Cloud { api: self.api.patient(patience) }
    }

    pub fn region(&self) -> &Region {
        self.api.endpoints().region()
    }

    pub fn tenancy(&self) -> &Ocid {
        self.api.principal().tenancy()
    }

    pub fn objects(&self) -> ObjectStorage {
        ObjectStorage::new(self.api.clone())
    }

    pub fn secrets(&self) -> Secrets {
        Secrets::new(self.api.clone())
    }

    pub fn kms(&self) -> Kms {
        Kms::new(self.api.clone())
    }

    pub fn compute(&self) -> Compute {
        Compute::new(self.api.clone())
    }

    pub fn pools(&self) -> InstancePools {
        InstancePools::new(self.api.clone())
    }

    pub fn monitoring(&self) -> Monitoring {
        Monitoring::new(self.api.clone())
    }

    pub fn functions(&self) -> Functions {
        Functions::new(self.api.clone())
    }

    pub fn balancers(&self) -> NetworkLoadBalancers {
        NetworkLoadBalancers::new(self.api.clone())
    }
}
