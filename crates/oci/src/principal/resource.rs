//! A function: the platform puts its session's token and key into the environment, or into files that it renews.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::PrincipalError;
use super::token::{Claims, Freshness};
use crate::endpoints::{Region, RegionInfo};
use crate::ocid::Ocid;
use crate::signing::{Signer, key_from_pem};

pub(super) const VERSION: &str = "OCI_RESOURCE_PRINCIPAL_VERSION";
const TOKEN: &str = "OCI_RESOURCE_PRINCIPAL_RPST";
const KEY: &str = "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM";
const REGION: &str = "OCI_RESOURCE_PRINCIPAL_REGION";
const REGION_METADATA: &str = "OCI_REGION_METADATA";

pub(super) struct ResourcePrincipal {
    token: Source,
    key: Source,
    region: Region,
    tenancy: Ocid,
    current: Mutex<Loaded>,
}

/// A variable that begins with `/` is a file's name.
enum Source {
    Text(String),
    File(PathBuf),
}

#[derive(Clone)]
struct Loaded {
    token: String,
    signer: Signer,
    claims: Claims,
}

impl ResourcePrincipal {
    pub(super) fn from_env(
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ResourcePrincipal, PrincipalError> {
        let need = |name: &'static str| env(name).ok_or(PrincipalError::Missing(name));
        match need(VERSION)?.trim() {
            "2.2" => {}
            other => return Err(PrincipalError::ResourceVersion(other.to_owned())),
        }
        let (token, key) = (Source::new(need(TOKEN)?), Source::new(need(KEY)?));
        let region =
            match env(REGION_METADATA).and_then(|text| serde_json::from_str::<RegionInfo>(&text).ok()) {
                Some(info) => Region::from_info(&info)?,
                None => Region::named(&need(REGION)?)?,
            };
        let loaded = load(&token, &key)?;
        let tenancy =
            loaded.claims.tenancy.clone().ok_or(PrincipalError::Token("it names no tenancy (res_tenant)"))?;
        Ok(ResourcePrincipal { token, key, region, tenancy, current: Mutex::new(loaded) })
    }

    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    pub(super) fn tenancy(&self) -> &Ocid {
        &self.tenancy
    }

    /// Reads the files anew when the token nears its end.
    pub(super) fn signer(&self) -> Result<Signer, PrincipalError> {
        let now = SystemTime::now();
        let mut current = self.current.lock().unwrap_or_else(|broken| broken.into_inner());
        if current.claims.freshness(now) != Freshness::Fresh {
            match load(&self.token, &self.key) {
                Ok(loaded) => *current = loaded,
                // Half a file: the platform is just writing it.
                Err(error) if current.claims.freshness(now) == Freshness::Ended => return Err(error),
                Err(_) => {}
            }
        }
        match now.duration_since(current.claims.ends) {
            Ok(ended) => Err(PrincipalError::TokenEnded(ended.as_secs())),
            Err(_) => Ok(current.signer.clone()),
        }
    }

    pub(super) fn renewed(&self, refused: &Signer) -> Result<Option<Signer>, PrincipalError> {
        let mut current = self.current.lock().unwrap_or_else(|broken| broken.into_inner());
        if !current.signer.is(refused) {
            return Ok(Some(current.signer.clone()));
        }
        let loaded = load(&self.token, &self.key)?;
        if loaded.token == current.token {
            return Ok(None);
        }
        *current = loaded;
        Ok(Some(current.signer.clone()))
    }
}

impl Source {
    fn new(value: String) -> Source {
        match value.starts_with('/') {
            true => Source::File(value.into()),
            false => Source::Text(value),
        }
    }

    fn read(&self) -> Result<String, PrincipalError> {
        match self {
            Source::Text(text) => Ok(text.clone()),
            Source::File(file) => std::fs::read_to_string(file)
                .map_err(|cause| PrincipalError::File { file: file.clone(), cause }),
        }
    }
}

fn load(token: &Source, key: &Source) -> Result<Loaded, PrincipalError> {
    let token = token.read()?.trim().to_owned();
    let claims = Claims::of(&token)?;
    let signer = Signer::new(format!("ST${token}"), Arc::new(key_from_pem(key.read()?.as_bytes())?));
    Ok(Loaded { token, signer, claims })
}
