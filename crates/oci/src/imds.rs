//! What an instance knows of itself: the metadata service, version 2, at a link-local address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::{Request, Uri};
use http_body_util::Full;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::endpoints::{RegionInfo, SettingsError, base_url};
use crate::error::{Error, Failure};
use crate::ocid::Ocid;
use crate::transport::{AGENT, Answer, Budget, HttpClient, Patience, Policy, Safety, refusal, retrying};

/// Where instances find it.
const DEFAULT: &str = "http://169.254.169.254/opc/v2";

/// User data is the largest part: 32 kB before base64.
const MAX_DOCUMENT: usize = 1 << 20;

/// The metadata service is on the same host: short attempts, but patience, for it comes up with the network.
const POLICY: Policy = Policy {
    deadline: Duration::from_secs(60),
    attempt: Duration::from_secs(5),
    max_attempts: 12,
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_secs(5),
};

/// The metadata service of this instance. Cheap to clone.
#[derive(Clone)]
pub struct Imds {
    http: HttpClient,
    base: String,
    budget: std::sync::Arc<Budget>,
}

/// What the instance is. Times, images and agents are left out.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceDocument {
    pub id: Ocid,
    #[serde(default)]
    pub display_name: String,
    pub compartment_id: Ocid,
    #[serde(default)]
    pub tenant_id: Option<Ocid>,
    /// Full name of the region.
    #[serde(default)]
    pub canonical_region_name: String,
    #[serde(default)]
    pub region_info: Option<RegionInfo>,
    #[serde(default)]
    pub availability_domain: String,
    #[serde(default)]
    pub fault_domain: Option<String>,
    #[serde(default)]
    pub shape: String,
    #[serde(default)]
    pub freeform_tags: BTreeMap<String, String>,
    /// Custom metadata; read it with [`Imds::metadata`], which tells texts from other values.
    #[serde(default)]
    metadata: BTreeMap<String, Value>,
}

/// A network interface.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VnicDocument {
    pub vnic_id: Ocid,
    pub private_ip: IpAddr,
    #[serde(default)]
    pub subnet_cidr_block: Option<String>,
    #[serde(default)]
    pub virtual_router_ip: Option<IpAddr>,
    #[serde(default)]
    pub mac_addr: Option<String>,
}

impl InstanceDocument {
    /// What Terraform gave to the instance.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        texts(self.metadata.clone())
    }
}

impl Imds {
    /// At the address that `SALA_OCI_METADATA_URL` names, else at the link-local one.
    pub fn from_env() -> Result<Imds, SettingsError> {
        const NAME: &str = "SALA_OCI_METADATA_URL";
        let base = base_url(NAME, &std::env::var(NAME).unwrap_or_default())?;
        Ok(Imds::at(&base.unwrap_or_else(|| Uri::from_static(DEFAULT))))
    }

    /// At `base`, which ends with `/opc/v2` in the real world.
    pub fn at(base: &Uri) -> Imds {
        let base = base.to_string().trim_end_matches('/').to_owned();
        Imds { http: HttpClient::new(), base, budget: std::sync::Arc::new(Budget::new()) }
    }

    pub async fn instance(&self) -> Result<InstanceDocument, Error> {
        self.json("instance/").await
    }

    /// Custom metadata; values that are no texts are given as JSON.
    pub async fn metadata(&self) -> Result<BTreeMap<String, String>, Error> {
        Ok(texts(self.map("instance/metadata/").await?))
    }

    /// Free-form tags as they are now: a change reaches the metadata within a minute or so.
    pub async fn freeform_tags(&self) -> Result<BTreeMap<String, String>, Error> {
        Ok(texts(self.map("instance/freeformTags/").await?))
    }

    /// The primary interface first.
    pub async fn vnics(&self) -> Result<Vec<VnicDocument>, Error> {
        self.json("vnics/").await
    }

    pub async fn region_info(&self) -> Result<RegionInfo, Error> {
        self.json("instance/regionInfo").await
    }

    /// A file of the instance's identity; absent for a while after the instance began.
    pub(crate) async fn identity(&self, file: &'static str) -> Result<Bytes, Error> {
        let patience = Patience { propagation: true, within: Some(POLICY.deadline), ..Patience::default() };
        Ok(self.get(&format!("identity/{file}"), patience).await?.body)
    }

    /// A part that is not there is empty.
    async fn map(&self, part: &str) -> Result<BTreeMap<String, Value>, Error> {
        match self.json(part).await {
            Err(error) if error.is_not_found() => Ok(BTreeMap::new()),
            result => result,
        }
    }

    async fn json<T: DeserializeOwned>(&self, part: &str) -> Result<T, Error> {
        let answer = self.get(part, Patience::default()).await?;
        serde_json::from_slice(&answer.body).map_err(|error| {
            // Not the error's text, which may quote a value: metadata holds initial passwords.
            let cause = format!("{part} is not as expected ({:?}, line {})", error.classify(), error.line());
            Error::new(OPERATION, Failure::BadAnswer { cause })
        })
    }

    async fn get(&self, part: &str, patience: Patience) -> Result<Answer, Error> {
        let url = format!("{}/{part}", self.base);
        retrying(&POLICY, patience, Safety::Idempotent, &self.budget, |within| self.once(&url, within)).await
    }

    async fn once(&self, url: &str, within: Duration) -> Result<Answer, Error> {
        let request = Request::get(url)
            .header(AUTHORIZATION, "Bearer Oracle")
            .header(USER_AGENT, AGENT)
            .body(Full::default())
            .map_err(|error| Error::new(OPERATION, Failure::BadRequest { cause: error.to_string() }))?;
        let answer = self.http.exchange(request, MAX_DOCUMENT, within).await;
        let answer = answer.map_err(|failure| Error::new(OPERATION, failure))?;
        match answer.status.is_success() {
            true => Ok(answer),
            false => Err(refusal(OPERATION, &answer, std::time::SystemTime::now())),
        }
    }
}

const OPERATION: &str = "instance metadata";

fn texts(values: BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    values.into_iter().map(|(name, value)| (name, text(value))).collect()
}
