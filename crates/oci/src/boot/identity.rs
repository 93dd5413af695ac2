//! Who this machine is: the instance metadata that Terraform set, checked, so that every later step can trust it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use auth::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::api::Facts;
use super::flags::{FlagError, Flags};

/// Masters of a cluster; the guide fixes it.
pub const MASTERS: u8 = 4;

/// Where the stack's resources are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub tenancy: String,
    pub compartment: String,
    pub region: String,
    pub vault: String,
    /// The operator's own key; absent: the stack's, found by its name.
    pub key: Option<String>,
    pub namespace: String,
    pub bucket_app_data: String,
    pub bucket_cluster_data: String,
}

/// This machine in its stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub stack: String,
    /// New for each creation of the stack. What bears another one is of a former deployment.
    pub generation: String,
    pub place: Place,
    pub instance: String,
    pub vnic: String,
    pub private_address: Ipv4Addr,
    pub role: Role,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Master(Box<MasterIdentity>),
    Media(MediaIdentity),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterIdentity {
    /// 1..=4.
    pub number: u8,
    pub balancer: String,
    pub domain: Option<String>,
    pub certificate: CertificateKind,
    pub engine: RtcEngine,
    pub initial_admin_password: Option<Secret>,
    pub initial_api_key: Option<Secret>,
    pub acme_directory: Option<String>,
    pub flags: Flags,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaIdentity {
    /// In the order of their numbers, as they were when the pool was made.
    pub masters: Vec<Ipv4Addr>,
}

/// What clients are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateKind {
    SelfSigned,
    LetsEncrypt,
    /// PEM: the chain, and its key.
    Own {
        chain: String,
        key: Secret,
    },
}

/// The guide's `rtcEngine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcEngine {
    Pion,
    Mediasoup,
}

/// What is wrong with the instance metadata.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "the instance metadata has no `{key}`; it is set by this repository's Terraform: apply it again, or add {key} to the instance's metadata"
    )]
    Missing { key: &'static str },
    #[error(
        "the instance metadata `{key}` is {found}; expected {expected}: correct the Terraform variable and apply again"
    )]
    Wrong { key: &'static str, found: String, expected: &'static str },
    #[error("the instance has no private IPv4 address; attach its VNIC to the stack's subnet")]
    NoAddress,
    #[error("additionalInstallFlags: {0}")]
    Flags(#[from] FlagError),
}

impl Identity {
    /// Reads it from what the metadata service says.
    pub fn read(facts: &Facts) -> Result<Identity, IdentityError> {
        let get = Fields(&facts.metadata);
        let region = match facts.region.as_str() {
            "" => get.required("region")?,
            region => region.to_owned(),
        };
        let place = Place {
            tenancy: get.required("tenancyOcid")?,
            compartment: get.required("compartmentOcid")?,
            region,
            vault: get.required("vaultOcid")?,
            key: get.optional("keyOcid"),
            namespace: get.required("objectStorageNamespace")?,
            bucket_app_data: get.required("bucketAppData")?,
            bucket_cluster_data: get.required("bucketClusterData")?,
        };
        let generation = get.required("deploymentGeneration")?;
        if !is_token(&generation) {
            return Err(wrong("deploymentGeneration", &generation, "1 to 64 letters, digits and hyphens"));
        }
        let role = match get.required("salaRole")?.as_str() {
            "master" => Role::Master(Box::new(master(get)?)),
            "media" => Role::Media(media(get)?),
            other => return Err(wrong("salaRole", other, "`master` or `media`")),
        };
        Ok(Identity {
            stack: get.required("stackName")?,
            generation,
            place,
            instance: facts.instance.clone(),
            vnic: facts.vnic.clone(),
            private_address: facts.private_address.ok_or(IdentityError::NoAddress)?,
            role,
        })
    }

    /// The machine's name in the cluster, and in what it writes for others to read.
    pub fn node_name(&self) -> String {
        match &self.role {
            Role::Master(master) => master_name(&self.stack, master.number),
            // The last part of an OCID is unique; the rest is the same for all.
            Role::Media(_) => {
                let unique = self.instance.rsplit('.').next().unwrap_or_default();
                let short = &unique[unique.len().saturating_sub(12)..];
                format!("{}-media-{short}", self.stack)
            }
        }
    }

    pub fn key_name(&self) -> String {
        format!("{}-key", self.stack)
    }
}

/// Display name of a master.
pub fn master_name(stack: &str, number: u8) -> String {
    format!("{stack}-master-node-{number}")
}

fn master(get: Fields<'_>) -> Result<MasterIdentity, IdentityError> {
    let number = get.required("masterNodeNum")?;
    let number = match number.parse::<u8>() {
        Ok(number) if (1..=MASTERS).contains(&number) => number,
        _ => return Err(wrong("masterNodeNum", &number, "1, 2, 3 or 4")),
    };
    let domain = get.optional("domainName");
    if let Some(domain) = domain.as_deref().filter(|domain| !is_domain(domain)) {
        return Err(wrong("domainName", domain, "a domain name such as meet.example.com"));
    }
    let engine = match get.optional("rtcEngine").as_deref() {
        None | Some("pion") => RtcEngine::Pion,
        Some("mediasoup") => RtcEngine::Mediasoup,
        Some(other) => return Err(wrong("rtcEngine", other, "`pion` or `mediasoup`")),
    };
    let flags = Flags::parse(get.optional("additionalInstallFlags").as_deref().unwrap_or_default())?;
    Ok(MasterIdentity {
        number,
        balancer: get.required("nlbOcid")?,
        certificate: certificate(get, domain.is_some())?,
        domain,
        engine,
        initial_admin_password: get.initial("initialMeetAdminPassword")?,
        initial_api_key: get.initial("initialMeetApiKey")?,
        acme_directory: flags.acme_directory.clone().or_else(|| get.optional("acmeDirectoryUrl")),
        flags,
    })
}

fn certificate(get: Fields<'_>, has_domain: bool) -> Result<CertificateKind, IdentityError> {
    match get.optional("certificateType").as_deref() {
        Some("selfsigned") => Ok(CertificateKind::SelfSigned),
        None | Some("letsencrypt") => Ok(CertificateKind::LetsEncrypt),
        Some("owncert") => {
            if !has_domain {
                return Err(wrong("domainName", "", "a domain name, because certificateType is owncert"));
            }
            let chain = pem(get, "ownPublicCertificate", "base64 of a PEM certificate chain")?;
            let key = pem(get, "ownPrivateCertificate", "base64 of a PEM private key")?;
            Ok(CertificateKind::Own { chain, key: key.into() })
        }
        Some(other) => Err(wrong("certificateType", other, "`selfsigned`, `owncert` or `letsencrypt`")),
    }
}

/// The text is not shown: one of the two is a private key.
fn pem(get: Fields<'_>, key: &'static str, expected: &'static str) -> Result<String, IdentityError> {
    let text: String = get.required(key)?.split_whitespace().collect();
    let wrong = || IdentityError::Wrong { key, found: "something else".to_owned(), expected };
    let decoded = STANDARD.decode(text).map_err(|_| wrong())?;
    let pem = String::from_utf8(decoded).map_err(|_| wrong())?;
    if pem.contains("-----BEGIN ") { Ok(pem) } else { Err(wrong()) }
}

fn media(get: Fields<'_>) -> Result<MediaIdentity, IdentityError> {
    let text = get.required("mastersPrivateIps")?;
    let masters: Result<Vec<Ipv4Addr>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match masters {
        Ok(masters) if masters.len() == usize::from(MASTERS) => Ok(MediaIdentity { masters }),
        _ => Err(wrong("mastersPrivateIps", &text, "four IPv4 addresses with commas between them")),
    }
}

#[derive(Clone, Copy)]
struct Fields<'a>(&'a BTreeMap<String, String>);

impl Fields<'_> {
    /// Blank counts as absent: that is how Terraform passes on a variable that nobody set.
    fn optional(self, key: &str) -> Option<String> {
        let value = self.0.get(key)?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn required(self, key: &'static str) -> Result<String, IdentityError> {
        self.optional(key).ok_or(IdentityError::Missing { key })
    }

    fn initial(self, key: &'static str) -> Result<Option<Secret>, IdentityError> {
        let Some(value) = self.optional(key) else { return Ok(None) };
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if value.len() <= 128 && value.chars().all(allowed) {
            return Ok(Some(value.into()));
        }
        let expected = "at most 128 letters, digits, underscores and hyphens";
        Err(IdentityError::Wrong { key, found: "something else".to_owned(), expected })
    }
}

fn wrong(key: &'static str, found: &str, expected: &'static str) -> IdentityError {
    let shown: String = found.chars().take(80).collect();
    let found = if shown.is_empty() { "blank".to_owned() } else { format!("`{}`", shown.escape_debug()) };
    IdentityError::Wrong { key, found, expected }
}

fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// A name with a dot in it, of labels that DNS allows.
pub(super) fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.contains('.')
        && text.split('.').all(label)
        && !last.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests;
