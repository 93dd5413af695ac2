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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::UNIX_EPOCH;

    use super::super::token::test_token;
    use super::*;

    const PEM: &str = include_str!("../../tests/golden/test-key.pem");

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    fn variables(token: &str) -> BTreeMap<&'static str, String> {
        let values = [(VERSION, "2.2"), (TOKEN, token), (KEY, PEM), (REGION, "eu-frankfurt-1")];
        values.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
    }

    fn made(variables: &BTreeMap<&'static str, String>) -> Result<ResourcePrincipal, PrincipalError> {
        ResourcePrincipal::from_env(&|name| variables.get(name).cloned())
    }

    #[test]
    fn a_function_signs_with_what_the_platform_gave() {
        let function = made(&variables(&test_token(now(), now() + 1200))).unwrap();
        assert_eq!(
            (function.tenancy().as_str(), function.region().name()),
            ("ocid1.tenancy.oc1..t", "eu-frankfurt-1")
        );
        let signer = function.signer().unwrap();
        // The same text is there for ever: being refused, it cannot be renewed.
        assert!(function.renewed(&signer).unwrap().is_none());
    }

    #[test]
    fn a_token_in_a_file_is_read_anew_when_it_ends() {
        let file = std::env::temp_dir().join(format!("sala-oci-rpst-{}", std::process::id()));
        std::fs::write(&file, test_token(now() - 1200, now() - 5)).unwrap();
        let function = made(&variables(file.to_str().unwrap())).unwrap();
        assert!(matches!(function.signer(), Err(PrincipalError::TokenEnded(5..))));
        std::fs::write(&file, test_token(now(), now() + 1200)).unwrap();
        let signer = function.signer().unwrap();
        // Half a file does no harm while the token before holds.
        std::fs::write(&file, "ey").unwrap();
        assert!(function.signer().unwrap().is(&signer));
        std::fs::write(&file, test_token(now(), now() + 2400)).unwrap();
        assert!(!function.renewed(&signer).unwrap().unwrap().is(&signer));
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn another_environment_than_that_of_functions_is_named() {
        let good = variables(&test_token(now(), now() + 1200));
        let with = |name, value: Option<&str>| {
            let mut changed = good.clone();
            match value {
                Some(value) => changed.insert(name, value.to_owned()),
                None => changed.remove(name),
            };
            made(&changed).err().unwrap().to_string()
        };
        assert!(with(VERSION, Some("1.1")).contains("only 2.2"));
        assert_eq!(with(TOKEN, None), format!("{TOKEN} is not set"));
        assert!(with(TOKEN, Some("x.y.z")).contains("session token"));
        assert!(with(KEY, Some("/no/such/file")).contains("/no/such/file"));
        assert!(with(REGION, Some("???")).contains("region"));
    }
}
