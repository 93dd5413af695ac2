//! A user's API key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PrincipalError;
use super::config_file::Profile;
use crate::endpoints::Region;
use crate::ocid::Ocid;
use crate::signing::{Signer, key_from_pem};

/// The private half of an API key and whose it is.
#[derive(Clone)]
pub struct ApiKey {
    tenancy: Ocid,
    region: Region,
    signer: Signer,
}

/// How variables are looked up: the environment's, or a test's.
type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl ApiKey {
    pub fn new(
        tenancy: Ocid,
        user: &Ocid,
        fingerprint: &str,
        region: Region,
        private_key_pem: &[u8],
    ) -> Result<ApiKey, PrincipalError> {
        let fingerprint = fingerprint.trim().to_ascii_lowercase();
        let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
        if fingerprint.split(':').count() != 16 || !fingerprint.split(':').all(pair) {
            return Err(PrincipalError::Fingerprint(fingerprint.chars().take(80).collect()));
        }
        let key = key_from_pem(private_key_pem)?;
        let signer = Signer::new(format!("{tenancy}/{user}/{fingerprint}"), Arc::new(key));
        Ok(ApiKey { tenancy, region, signer })
    }

    /// From `OCI_CLI_USER`, `OCI_CLI_TENANCY`, `OCI_CLI_FINGERPRINT`, `OCI_CLI_REGION` and `OCI_CLI_KEY_CONTENT` or
    /// `OCI_CLI_KEY_FILE`; what of these is not set, from the profile `OCI_CLI_PROFILE` of `OCI_CONFIG_FILE` or
    /// `~/.oci/config`.
    pub(super) fn from_env(env: Env<'_>) -> Result<ApiKey, PrincipalError> {
        let profile = match all_set(env) {
            true => None,
            false => {
                let name = env("OCI_CLI_PROFILE").unwrap_or_else(|| "DEFAULT".into());
                let file = config_file(env).ok_or(PrincipalError::Missing("HOME"))?;
                Some(Profile::read(&file, &name)?)
            }
        };
        let value = |variable: &'static str, key: &'static str| match (env(variable), &profile) {
            (Some(value), _) => Ok(value),
            (None, Some(profile)) => profile.need(key).map(str::to_owned),
            (None, None) => Err(PrincipalError::Missing(variable)),
        };
        let pem = match env("OCI_CLI_KEY_CONTENT") {
            Some(content) => content.into_bytes(),
            None => {
                let file = home(&value("OCI_CLI_KEY_FILE", "key_file")?, env);
                std::fs::read(&file).map_err(|cause| PrincipalError::File { file, cause })?
            }
        };
        ApiKey::new(
            ocid("tenancy", &value("OCI_CLI_TENANCY", "tenancy")?)?,
            &ocid("user", &value("OCI_CLI_USER", "user")?)?,
            &value("OCI_CLI_FINGERPRINT", "fingerprint")?,
            Region::named(&value("OCI_CLI_REGION", "region")?)?,
            &pem,
        )
    }

    /// Whether there is something to read.
    pub(super) fn is_configured(env: Env<'_>) -> bool {
        all_set(env) || config_file(env).is_some_and(|file| file.is_file())
    }

    pub(super) fn tenancy(&self) -> &Ocid {
        &self.tenancy
    }

    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    pub(super) fn signer(&self) -> Signer {
        self.signer.clone()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.tenancy)
    }
}

fn all_set(env: Env<'_>) -> bool {
    let set = |name| env(name).is_some();
    ["OCI_CLI_USER", "OCI_CLI_TENANCY", "OCI_CLI_FINGERPRINT", "OCI_CLI_REGION"].into_iter().all(set)
        && (set("OCI_CLI_KEY_CONTENT") || set("OCI_CLI_KEY_FILE"))
}

fn config_file(env: Env<'_>) -> Option<PathBuf> {
    match env("OCI_CONFIG_FILE") {
        Some(file) => Some(home(&file, env)),
        None => Some(Path::new(&env("HOME")?).join(".oci/config")),
    }
}

fn home(file: &str, env: Env<'_>) -> PathBuf {
    match (file.strip_prefix("~/"), env("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(file),
    }
}

fn ocid(what: &'static str, text: &str) -> Result<Ocid, PrincipalError> {
    text.parse().map_err(|cause| PrincipalError::Ocid { what, cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = include_str!("../../tests/golden/test-key.pem");
    const FINGERPRINT: &str = "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff";

    fn variables(name: &str) -> Option<String> {
        let value = match name {
            "OCI_CLI_USER" => "ocid1.user.oc1..u",
            "OCI_CLI_TENANCY" => "ocid1.tenancy.oc1..t",
            "OCI_CLI_FINGERPRINT" => FINGERPRINT,
            "OCI_CLI_REGION" => "eu-frankfurt-1",
            "OCI_CLI_KEY_CONTENT" => PEM,
            _ => return None,
        };
        Some(value.into())
    }

    #[test]
    fn variables_alone_suffice() {
        let key = ApiKey::from_env(&variables).unwrap();
        assert_eq!(key.tenancy().as_str(), "ocid1.tenancy.oc1..t");
        assert_eq!(key.region().name(), "eu-frankfurt-1");
        assert_eq!(format!("{key:?}"), "ApiKey(ocid1.tenancy.oc1..t)");
    }

    #[test]
    fn the_configuration_file_gives_what_variables_do_not() {
        let dir = std::env::temp_dir().join(format!("sala-oci-config-{}", std::process::id()));
        std::fs::create_dir_all(dir.join(".oci")).unwrap();
        std::fs::write(dir.join(".oci/key.pem"), PEM).unwrap();
        let config = format!(
            "[DEFAULT]\nuser=ocid1.user.oc1..f\ntenancy=ocid1.tenancy.oc1..f\nfingerprint={FINGERPRINT}\n\
             key_file=~/.oci/key.pem\nregion=eu-frankfurt-1\n"
        );
        std::fs::write(dir.join(".oci/config"), config).unwrap();
        let env = |name: &str| match name {
            "HOME" => Some(dir.to_str().unwrap().to_owned()),
            "OCI_CLI_REGION" => Some("uk-london-1".into()),
            _ => None,
        };
        assert!(ApiKey::is_configured(&env));
        let key = ApiKey::from_env(&env).unwrap();
        assert_eq!((key.tenancy().as_str(), key.region().name()), ("ocid1.tenancy.oc1..f", "uk-london-1"));
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(!ApiKey::is_configured(&env));
    }

    #[test]
    fn wrong_values_are_named() {
        let with = |wrong: &'static str, value: &'static str| {
            let env = move |name: &str| if name == wrong { Some(value.into()) } else { variables(name) };
            ApiKey::from_env(&env).unwrap_err()
        };
        assert!(matches!(with("OCI_CLI_USER", "me"), PrincipalError::Ocid { what: "user", .. }));
        assert!(matches!(with("OCI_CLI_FINGERPRINT", "aa:bb"), PrincipalError::Fingerprint(_)));
        assert!(matches!(with("OCI_CLI_REGION", "Frankfurt am Main"), PrincipalError::Settings(_)));
        assert!(matches!(with("OCI_CLI_KEY_CONTENT", "none"), PrincipalError::Signing(_)));
    }
}
