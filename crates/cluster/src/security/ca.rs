//! The cluster's own certificate authority. Every node holds it, from files or the environment, and issues its
//! own short-lived leaf from it, so that nothing has to be enrolled, and a leaf that leaks is soon worthless.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use auth::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

use super::SecurityError;
use super::name::PeerName;

/// A leaf lives for a day: a node that has lost its rotation for half of that is still trusted.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Leaves begin to be valid a little before they are issued, because clocks differ.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// The authority itself outlives the machines it is made for.
const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Where a PEM text comes from.
#[derive(Clone, Debug)]
pub enum PemSource {
    File(PathBuf),
    /// The text itself, and the name of the environment variable that held it.
    Environment {
        variable: String,
        pem: Secret,
    },
}

impl PemSource {
    fn read(&self) -> Result<Secret, SecurityError> {
        match self {
            PemSource::Environment { pem, .. } => Ok(pem.clone()),
            PemSource::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| SecurityError::Unreadable { path: path.clone(), error })?;
                Ok(text.into())
            }
        }
    }
}

impl fmt::Display for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PemSource::File(path) => write!(f, "{}", path.display()),
            PemSource::Environment { variable, .. } => write!(f, "${variable}"),
        }
    }
}

/// The certificate authority with its key. Clones share the key.
#[derive(Clone)]
pub struct Ca {
    certificate: CertificateDer<'static>,
    certificate_pem: Arc<str>,
    issuer: Arc<Issuer<'static, KeyPair>>,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ca(…)")
    }
}

/// A certificate that the authority has issued, as rustls wants it and as PEM.
pub struct Leaf {
    pub certified: Arc<CertifiedKey>,
    pub certificate_pem: String,
    pub key_pem: Secret,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl Leaf {
    /// True in the second half of its life, and when the clock says that it has not begun.
    pub fn is_due(&self, now: SystemTime) -> bool {
        let half = self.not_before + (BACKDATE + LEAF_LIFETIME) / 2;
        now < self.not_before || now >= half
    }
}

impl Ca {
    /// Makes a new authority (ECDSA P-256, ten years). `cluster_id` only shows in its name: what a node belongs
    /// to is said by its leaf.
    pub fn generate(cluster_id: &str) -> Result<Ca, SecurityError> {
        let key = KeyPair::generate()?;
        let now = SystemTime::now();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("Sala cluster {cluster_id}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = OffsetDateTime::from(now - BACKDATE);
        params.not_after = OffsetDateTime::from(now + CA_LIFETIME);
        let certificate = params.self_signed(&key)?;
        Ok(Ca {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem().into(),
            issuer: Arc::new(Issuer::new(params, key)),
        })
    }

    /// Reads an authority and checks that the key is its key.
    pub fn load(certificate: &PemSource, key: &PemSource) -> Result<Ca, SecurityError> {
        if let PemSource::File(path) = key
            && let Some(warning) = exposed_key(path)
        {
            tracing::warn!("{warning}");
        }
        let not_pem = |source: &PemSource, what| SecurityError::NotPem { from: source.to_string(), what };
        let certificate_pem = certificate.read()?;
        let der = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| not_pem(certificate, "certificate"))?;
        let key_pair =
            KeyPair::from_pem(key.read()?.reveal()).map_err(|_| not_pem(key, "private key (PKCS #8)"))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&der).map_err(|_| not_pem(certificate, "certificate"))?;
        if !parsed.is_ca() {
            return Err(SecurityError::NotACa { from: certificate.to_string() });
        }
        if *parsed.public_key().subject_public_key.data != *key_pair.public_key_raw() {
            return Err(SecurityError::KeyMismatch {
                certificate: certificate.to_string(),
                key: key.to_string(),
            });
        }
        let issuer = Issuer::from_ca_cert_der(&der, key_pair)?;
        Ok(Ca { certificate: der, certificate_pem: certificate_pem.reveal().into(), issuer: issuer.into() })
    }

    /// The authority's certificate, for those who shall trust it.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Issues a node's leaf at `now`: for both ends of a connection, named as `name` says, and for `addresses`
    /// and the loopback ones.
    pub fn issue(
        &self,
        name: &PeerName,
        addresses: &[IpAddr],
        now: SystemTime,
    ) -> Result<Leaf, SecurityError> {
        let mut names = vec![SanType::DnsName(ia5(name.dns())?), SanType::URI(ia5(name.uri())?)];
        names.extend(with_loopback(addresses).map(SanType::IpAddress));
        self.sign(Some(&name.node.0), names, now, LEAF_LIFETIME)
    }

    /// The authority's key, for those who shall hold it too: it is worth as much as the cluster.
    pub fn key_pem(&self) -> Secret {
        self.issuer.key().serialize_pem().into()
    }

    /// Server and client certificate of a process that is not ours and knows no rotation, such as etcd. Valid as
    /// long as the authority. Without a common name: etcd would take that for a user, and its JSON gateway refuses
    /// it.
    pub fn issue_service(&self, name: &str, addresses: &[IpAddr]) -> Result<Leaf, SecurityError> {
        let mut names =
            vec![SanType::DnsName(ia5(name.to_owned())?), SanType::DnsName(ia5("localhost".into())?)];
        names.extend(with_loopback(addresses).map(SanType::IpAddress));
        self.sign(None, names, SystemTime::now(), CA_LIFETIME)
    }

    /// Writes one as `<name>.pem` and `<name>.key` (0600) into `dir`, with `ca.pem` beside them.
    pub fn issue_files(&self, dir: &Path, name: &str, addresses: &[IpAddr]) -> Result<(), SecurityError> {
        let leaf = self.issue_service(name, addresses)?;
        write(&dir.join(format!("{name}.key")), leaf.key_pem.as_bytes(), 0o600)?;
        write(&dir.join(format!("{name}.pem")), leaf.certificate_pem.as_bytes(), 0o644)?;
        write(&dir.join("ca.pem"), self.certificate_pem.as_bytes(), 0o644)
    }

    fn sign(
        &self,
        common_name: Option<&str>,
        names: Vec<SanType>,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Leaf, SecurityError> {
        let key = KeyPair::generate()?;
        let (not_before, not_after) = (now - BACKDATE, now + lifetime);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(common_name) = common_name {
            params.distinguished_name.push(DnType::CommonName, common_name);
        }
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = OffsetDateTime::from(not_before);
        params.not_after = OffsetDateTime::from(not_after);
        let certificate = params.signed_by(&key, &self.issuer)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = any_ecdsa_type(&der).map_err(|error| SecurityError::Tls(error.to_string()))?;
        Ok(Leaf {
            certified: Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signing)),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem().into(),
            not_before,
            not_after,
        })
    }

    pub(super) fn roots(&self) -> Result<Arc<RootCertStore>, SecurityError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).map_err(|error| SecurityError::Tls(error.to_string()))?;
        Ok(Arc::new(roots))
    }
}

/// What `sala cluster ca --dir` does: makes `ca.pem` and `ca.key` (0600). An authority that is there already is
/// not overwritten, because every running node trusts it.
pub fn write_ca(dir: &Path, cluster_id: &str) -> Result<Ca, SecurityError> {
    let (certificate, key) = (dir.join("ca.pem"), dir.join("ca.key"));
    if let Some(path) = [&certificate, &key].into_iter().find(|path| path.exists()) {
        return Err(SecurityError::Exists(path.clone()));
    }
    std::fs::create_dir_all(dir)
        .map_err(|error| SecurityError::Unwritable { path: dir.to_owned(), error })?;
    let ca = Ca::generate(cluster_id)?;
    write(&key, ca.key_pem().as_bytes(), 0o600)?;
    write(&certificate, ca.certificate_pem.as_bytes(), 0o644)?;
    Ok(ca)
}

/// What to tell the operator when others on the machine can read a key file.
pub fn exposed_key(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let path = path.display();
        format!("{path} can be read by other users (mode {mode:04o}); whoever has it can pose as any node: chmod 600 {path}")
    })
}

fn with_loopback(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let others = addresses.iter().copied().filter(move |address| !loopback.contains(address));
    loopback.into_iter().chain(others)
}

fn ia5(text: String) -> Result<rcgen::string::Ia5String, SecurityError> {
    Ok(text.try_into()?)
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), SecurityError> {
    let unwritable = |error| SecurityError::Unwritable { path: path.to_owned(), error };
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(mode).open(path).map_err(unwritable)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(unwritable)?;
    file.write_all(content).map_err(unwritable)
}
