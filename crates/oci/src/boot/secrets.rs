//! The cluster's secrets: what they are, how they are made, and what each must look like. One secret of the Vault per
//! setting; their names are OpenVidu's where it has them.

use std::collections::BTreeMap;

use auth::Secret;
use serde::{Deserialize, Serialize};

use super::host::{Authority, Host, HostError};
use super::identity::is_domain;

/// Written last: the generation whose secrets are complete.
pub const MARKER: &str = "ALL_SECRETS_GENERATED";
/// Written last but one: the version from which on each secret is of this generation.
pub const VERSIONS: &str = "SALA_SECRET_VERSIONS";

pub const DOMAIN_NAME: &str = "DOMAIN_NAME";
pub const OPENVIDU_URL: &str = "OPENVIDU_URL";
pub const LIVEKIT_URL: &str = "LIVEKIT_URL";
pub const LIVEKIT_API_KEY: &str = "LIVEKIT_API_KEY";
pub const LIVEKIT_API_SECRET: &str = "LIVEKIT_API_SECRET";
pub const MEET_INITIAL_ADMIN_USER: &str = "MEET_INITIAL_ADMIN_USER";
pub const MEET_INITIAL_ADMIN_PASSWORD: &str = "MEET_INITIAL_ADMIN_PASSWORD";
pub const MEET_INITIAL_API_KEY: &str = "MEET_INITIAL_API_KEY";
pub const MEET_SEED: &str = "SALA_MEET_SEED";
pub const CLUSTER_ID: &str = "SALA_CLUSTER_ID";
pub const CA_CERTIFICATE: &str = "SALA_CLUSTER_CA_CERTIFICATE";
pub const CA_KEY: &str = "SALA_CLUSTER_CA_KEY";
pub const STORE_PASSWORD: &str = "SALA_STORE_PASSWORD";
pub const STORE_ROOT_PASSWORD: &str = "SALA_STORE_ROOT_PASSWORD";

/// Those that a node needs. The others are for the operator to read: editing them changes nothing.
pub const NEEDED: [&str; 9] = [
    DOMAIN_NAME,
    LIVEKIT_API_KEY,
    LIVEKIT_API_SECRET,
    MEET_SEED,
    CLUSTER_ID,
    CA_CERTIFICATE,
    CA_KEY,
    STORE_PASSWORD,
    STORE_ROOT_PASSWORD,
];

/// Who the first administrator always is.
const ADMIN: &str = "admin";

/// Where a master tells its address.
pub fn address_name(master: u8) -> String {
    format!("MASTER_NODE_{master}_PRIVATE_IP")
}

/// `<generation>|<address>`.
pub fn address_value(generation: &str, address: std::net::Ipv4Addr) -> Secret {
    format!("{generation}|{address}").into()
}

/// The address, if it is of this generation.
pub fn address_of(generation: &str, value: &Secret) -> Option<std::net::Ipv4Addr> {
    let (of, address) = value.reveal().split_once('|')?;
    if of == generation { address.trim().parse().ok() } else { None }
}

/// All that a node needs of the Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSet {
    /// A name, or the balancer's address.
    pub domain: String,
    pub api_key: String,
    pub api_secret: Secret,
    pub seed: MeetSeed,
    pub cluster: String,
    pub authority: Authority,
    /// Of the store's user `sala`.
    pub store_password: Secret,
    /// Of the store's user `root`.
    pub store_root_password: Secret,
}

/// What Meet began with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeetSeed {
    pub admin_user: String,
    pub admin_password: Secret,
    pub api_key: Option<Secret>,
}

/// A secret of the Vault that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the Vault's secret {name} {problem}; expected: {expected}. Put that in a new version, then `systemctl restart sala-boot sala`"
)]
pub struct BadSecret {
    pub name: &'static str,
    pub problem: String,
    pub expected: &'static str,
}

impl SecretSet {
    /// A new set.
    pub fn generate(
        host: &impl Host,
        stack: &str,
        domain: String,
        admin_password: Option<Secret>,
        meet_api_key: Option<Secret>,
    ) -> Result<SecretSet, HostError> {
        let cluster = format!("{}-{}", cluster_stem(stack), random_text(host, 8).to_ascii_lowercase());
        Ok(SecretSet {
            domain,
            api_key: format!("API{}", random_text(host, 12)),
            api_secret: random_text(host, 44).into(),
            seed: MeetSeed {
                admin_user: ADMIN.to_owned(),
                admin_password: admin_password.unwrap_or_else(|| random_text(host, 44).into()),
                api_key: meet_api_key,
            },
            authority: host.new_authority(&cluster)?,
            cluster,
            store_password: random_text(host, 44).into(),
            store_root_password: random_text(host, 44).into(),
        })
    }

    /// Name and value of each secret, in the order in which they are written.
    pub fn to_vault(&self) -> Vec<(&'static str, Secret)> {
        let mut all = vec![
            (DOMAIN_NAME, self.domain.clone().into()),
            (OPENVIDU_URL, self.openvidu_url().into()),
            (LIVEKIT_URL, self.livekit_url().into()),
            (LIVEKIT_API_KEY, self.api_key.clone().into()),
            (LIVEKIT_API_SECRET, self.api_secret.clone()),
            (MEET_INITIAL_ADMIN_USER, self.seed.admin_user.clone().into()),
            (MEET_INITIAL_ADMIN_PASSWORD, self.seed.admin_password.clone()),
        ];
        all.extend(self.seed.api_key.clone().map(|key| (MEET_INITIAL_API_KEY, key)));
        all.extend([
            (MEET_SEED, self.seed.to_json()),
            (CLUSTER_ID, self.cluster.clone().into()),
            (CA_CERTIFICATE, self.authority.certificate.clone().into()),
            (CA_KEY, self.authority.key.clone()),
            (STORE_PASSWORD, self.store_password.clone()),
            (STORE_ROOT_PASSWORD, self.store_root_password.clone()),
        ]);
        all
    }

    /// Reads the set out of the values of [`NEEDED`], as the Vault has them now.
    pub fn from_vault(
        host: &impl Host,
        values: &BTreeMap<&'static str, Secret>,
    ) -> Result<SecretSet, BadSecret> {
        let get = |name: &'static str, expected: &'static str, good: &dyn Fn(&str) -> bool| {
            let problem = match values.get(name) {
                None => "is missing, or is to be deleted",
                Some(value) => match value.reveal().trim() {
                    "" => "is blank",
                    text if good(text) => return Ok(text.to_owned()),
                    _ => "has a value of another form",
                },
            };
            Err(BadSecret { name, problem: problem.to_owned(), expected })
        };
        let password =
            |text: &str| (16..=256).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
        let set = SecretSet {
            domain: get(
                DOMAIN_NAME,
                "a domain name such as meet.example.com, or the balancer's IP address",
                &|text| is_domain(text) || text.parse::<std::net::Ipv4Addr>().is_ok(),
            )?,
            api_key: get(LIVEKIT_API_KEY, "1 to 128 letters, digits, underscores and hyphens", &|text| {
                text.len() <= 128 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
            })?,
            api_secret: get(
                LIVEKIT_API_SECRET,
                "32 to 256 visible ASCII characters without spaces",
                &|text| (32..=256).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic()),
            )?
            .into(),
            seed: MeetSeed::from_json(&get(MEET_SEED, SEED_FORM, &|text| {
                MeetSeed::from_json(text).is_some()
            })?)
            .ok_or_else(|| BadSecret {
                name: MEET_SEED,
                problem: "cannot be read".into(),
                expected: SEED_FORM,
            })?,
            cluster: get(
                CLUSTER_ID,
                "the value of its first version: the cluster keeps its id for life",
                &|text| text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
            )?,
            authority: Authority {
                certificate: whole_lines(get(CA_CERTIFICATE, CA_FORM, &|text| {
                    text.contains("-----BEGIN CERTIFICATE-----")
                })?),
                key: whole_lines(get(CA_KEY, CA_FORM, &|text| text.contains("PRIVATE KEY-----"))?).into(),
            },
            store_password: get(
                STORE_PASSWORD,
                "16 to 256 visible ASCII characters without spaces",
                &password,
            )?
            .into(),
            store_root_password: get(
                STORE_ROOT_PASSWORD,
                "the value of its first version: the store was made with it",
                &password,
            )?
            .into(),
        };
        host.check_authority(&set.authority).map_err(|problem| BadSecret {
            name: CA_CERTIFICATE,
            problem: format!("does not go with SALA_CLUSTER_CA_KEY ({problem})"),
            expected: CA_FORM,
        })?;
        Ok(set)
    }

    pub fn openvidu_url(&self) -> String {
        format!("https://{}/", self.domain)
    }

    pub fn livekit_url(&self) -> String {
        format!("wss://{}/", self.domain)
    }
}

const SEED_FORM: &str =
    r#"{"adminUser":"admin","adminPassword":"…","apiKey":"…"} as in its first version, apiKey optional"#;
const CA_FORM: &str = "the PEM of the cluster's authority as in the first versions of SALA_CLUSTER_CA_CERTIFICATE and \
                       SALA_CLUSTER_CA_KEY, which go together";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeedJson {
    admin_user: String,
    admin_password: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
}

impl MeetSeed {
    fn to_json(&self) -> Secret {
        let json = SeedJson {
            admin_user: self.admin_user.clone(),
            admin_password: self.admin_password.reveal().to_owned(),
            api_key: self.api_key.as_ref().map(|key| key.reveal().to_owned()),
        };
        serde_json::to_string(&json).unwrap_or_default().into()
    }

    fn from_json(text: &str) -> Option<MeetSeed> {
        let json: SeedJson = serde_json::from_str(text).ok()?;
        let visible = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        (visible(&json.admin_user) && visible(&json.admin_password)).then(|| MeetSeed {
            admin_user: json.admin_user,
            admin_password: json.admin_password.into(),
            api_key: json.api_key.filter(|key| visible(key)).map(Secret::from),
        })
    }
}

/// The version of each secret from which on it is of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Versions(pub BTreeMap<String, u64>);

impl Versions {
    /// `<generation>|NAME=3,NAME=1`.
    pub fn to_value(&self, generation: &str) -> Secret {
        let list: Vec<String> = self.0.iter().map(|(name, version)| format!("{name}={version}")).collect();
        format!("{generation}|{}", list.join(",")).into()
    }

    /// Of this generation; otherwise none.
    pub fn from_value(generation: &str, value: &Secret) -> Option<Versions> {
        let (of, list) = value.reveal().split_once('|')?;
        if of != generation {
            return None;
        }
        let entry = |entry: &str| {
            let (name, version) = entry.split_once('=')?;
            Some((name.to_owned(), version.parse().ok()?))
        };
        list.split(',').filter(|entry| !entry.is_empty()).map(entry).collect::<Option<_>>().map(Versions)
    }

    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

/// PEM whose last line ends, as it was made.
fn whole_lines(pem: String) -> String {
    pem + "\n"
}

/// Letters and digits, without bias.
fn random_text(host: &impl Host, length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        host.random(&mut bytes);
        let fair = bytes.iter().filter(|byte| usize::from(**byte) < 62 * 4);
        text.extend(fair.map(|byte| char::from(ALPHABET[usize::from(*byte) % 62])).take(length - text.len()));
    }
    text
}

/// The stack's name as part of an id.
fn cluster_stem(stack: &str) -> String {
    let stem: String = stack
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(32)
        .collect::<String>()
        .to_lowercase();
    if stem.is_empty() { "sala".to_owned() } else { stem }
}

#[cfg(test)]
mod tests;
