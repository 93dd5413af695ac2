//! The certificate that browsers see: from files, read again when they change, or self-signed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::config::{CertificateFiles, GatewayError};

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// The public certificate in use.
pub(super) struct PublicCertificate {
    files: Option<CertificateFiles>,
    current: ArcSwap<CertifiedKey>,
    loaded: Mutex<Option<Stamp>>,
}

impl fmt::Debug for PublicCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicCertificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl PublicCertificate {
    /// Loads the files, or makes a certificate for `localhost`, `names` and the addresses of `listeners`.
    pub(super) fn new(
        files: Option<CertificateFiles>,
        names: &[String],
        listeners: &[SocketAddr],
    ) -> Result<Arc<PublicCertificate>, GatewayError> {
        let (stamp, certified) = match &files {
            Some(files) => (stamp(files), load(files)?),
            None => {
                tracing::warn!(
                    "no gateway.certificate_file: browsers will warn of the self-signed certificate"
                );
                (None, self_signed(names, listeners)?)
            }
        };
        let current = ArcSwap::from_pointee(certified);
        Ok(Arc::new(PublicCertificate { files, current, loaded: Mutex::new(stamp) }))
    }

    /// Loads the files again if they have changed. True when the certificate is a new one. Unusable files leave
    /// the old one in use.
    pub(super) fn reload_if_changed(&self) -> Result<bool, GatewayError> {
        let Some(files) = &self.files else { return Ok(false) };
        let stamp = stamp(files);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if *loaded == stamp {
            return Ok(false);
        }
        // Whatever comes of it, this state of the files is tried once.
        *loaded = stamp;
        self.current.store(Arc::new(load(files)?));
        Ok(true)
    }

    /// Looks at the files for ever.
    pub(super) async fn keep_fresh(&self) {
        let mut check = tokio::time::interval(RELOAD_INTERVAL);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            check.tick().await;
            match self.reload_if_changed() {
                Ok(false) => {}
                Ok(true) => tracing::info!("loaded the changed public certificate"),
                Err(error) => tracing::warn!(%error, "keeping the old public certificate"),
            }
        }
    }

    /// TLS 1.2 and 1.3 for HTTP/1.1 and WebSocket.
    pub(super) fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, GatewayError> {
        let unusable = |error: rustls::Error| GatewayError::Certificate(error.to_string());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let mut config = config.with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for PublicCertificate {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// What changes when a file is written or replaced: inode, size, modification time with nanoseconds.
type FileStamp = (u64, u64, i64, i64);
type Stamp = (FileStamp, FileStamp);

fn stamp(files: &CertificateFiles) -> Option<Stamp> {
    let of = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
    };
    Some((of(&files.certificate)?, of(&files.key)?))
}

fn load(files: &CertificateFiles) -> Result<CertifiedKey, GatewayError> {
    let read = |path: &Path| {
        let unreadable = |error| GatewayError::Unreadable { path: path.to_owned(), error };
        std::fs::read(path).map_err(unreadable)
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(&files.certificate)?).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| {
        GatewayError::Certificate(format!("{} holds no certificate in PEM form", files.certificate.display()))
    })?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(|_| {
        GatewayError::Certificate(format!("{} holds no private key in PEM form", files.key.display()))
    })?;
    certified(chain, key)
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, GatewayError> {
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|error| GatewayError::Certificate(error.to_string()))
}

fn self_signed(names: &[String], listeners: &[SocketAddr]) -> Result<CertifiedKey, GatewayError> {
    let addresses = listeners.iter().map(SocketAddr::ip).filter(|ip: &IpAddr| !ip.is_unspecified());
    let mut subjects = vec!["localhost".to_owned()];
    subjects.extend(names.iter().cloned().chain(addresses.map(|ip| ip.to_string())));
    let made = rcgen::generate_simple_self_signed(subjects);
    let made = made.map_err(|error| GatewayError::Certificate(error.to_string()))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    certified(vec![made.cert.der().clone()], key.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(files: &CertificateFiles) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn without_files_there_is_a_certificate_all_the_same() {
        let listeners = ["0.0.0.0:443".parse().unwrap(), "127.7.0.11:443".parse().unwrap()];
        let certificate = PublicCertificate::new(None, &["meet.example".to_owned()], &listeners).unwrap();
        certificate.server_config().unwrap();
        let current = certificate.current.load_full();
        let (_, parsed) = x509_parser::parse_x509_certificate(&current.cert[0]).unwrap();
        let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names.len(), 3, "localhost, the name, the listener with an address: {names:?}");
        assert!(!certificate.reload_if_changed().unwrap());
    }

    #[test]
    fn changed_files_are_loaded_and_broken_ones_leave_the_old_certificate() {
        let dir = std::env::temp_dir().join(format!("sala-public-certificate-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let files = CertificateFiles { certificate: dir.join("c.pem"), key: dir.join("c.key") };
        let missing = PublicCertificate::new(Some(files.clone()), &[], &[]).unwrap_err().to_string();
        assert!(missing.contains("gateway.certificate_file"), "{missing}");

        write_pair(&files);
        let certificate = PublicCertificate::new(Some(files.clone()), &[], &[]).unwrap();
        let first = certificate.current.load_full();
        assert!(!certificate.reload_if_changed().unwrap());
        write_pair(&files);
        assert!(certificate.reload_if_changed().unwrap());
        let second = certificate.current.load_full();
        assert_ne!(first.cert, second.cert);

        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        std::fs::write(&files.key, other + "\n").unwrap();
        assert!(certificate.reload_if_changed().is_err(), "a key of another certificate");
        assert!(!certificate.reload_if_changed().unwrap(), "tried once");
        assert_eq!(certificate.current.load().cert, second.cert);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
