//! The certificate that browsers see: from files, read again when they change; as it was given; or the one that all
//! masters share.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::config::{Certificate, CertificateFiles, GatewayError};
use crate::acme::CertificateShare;

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// The public certificate in use.
pub(super) enum PublicCertificate {
    Files(Reloaded),
    Fixed(Arc<CertifiedKey>),
    Shared(Arc<CertificateShare>),
}

/// From files.
pub(super) struct Reloaded {
    files: CertificateFiles,
    current: ArcSwap<CertifiedKey>,
    loaded: Mutex<Option<Stamp>>,
}

impl fmt::Debug for PublicCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublicCertificate::Files(reloaded) => f.debug_tuple("Files").field(&reloaded.files).finish(),
            PublicCertificate::Fixed(_) => f.write_str("Fixed"),
            PublicCertificate::Shared(share) => f.debug_tuple("Shared").field(share).finish(),
        }
    }
}

impl PublicCertificate {
    /// Loads what is to be loaded.
    pub(super) fn new(from: Certificate) -> Result<Arc<PublicCertificate>, GatewayError> {
        Ok(Arc::new(match from {
            Certificate::Files(files) => PublicCertificate::Files(Reloaded::new(files)?),
            Certificate::Inline { chain, key } => {
                let certified =
                    from_pem(chain.as_bytes(), key.as_bytes(), "the certificate given", "the key given")?;
                PublicCertificate::Fixed(Arc::new(certified))
            }
            Certificate::Shared(share) => PublicCertificate::Shared(share),
        }))
    }

    /// Keeps it up to date, for ever.
    pub(super) async fn keep_fresh(&self) {
        match self {
            PublicCertificate::Files(reloaded) => reloaded.keep_fresh().await,
            PublicCertificate::Fixed(_) => {}
            PublicCertificate::Shared(share) => share.clone().run().await,
        }
    }

    /// What to answer to an ACME server's question under this path, if it is one and we have to do with such servers.
    pub(super) async fn challenge(&self, path: &str) -> Option<Option<String>> {
        let token = path.strip_prefix("/.well-known/acme-challenge/")?;
        match self {
            PublicCertificate::Shared(share) if share.answers_challenges() => Some(share.answer(token).await),
            _ => None,
        }
    }

    fn current(&self) -> Arc<CertifiedKey> {
        match self {
            PublicCertificate::Files(reloaded) => reloaded.current.load_full(),
            PublicCertificate::Fixed(certified) => certified.clone(),
            PublicCertificate::Shared(share) => share.current(),
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
        Some(self.current())
    }
}

impl Reloaded {
    fn new(files: CertificateFiles) -> Result<Reloaded, GatewayError> {
        let (stamp, certified) = (stamp(&files), load(&files)?);
        Ok(Reloaded { files, current: ArcSwap::from_pointee(certified), loaded: Mutex::new(stamp) })
    }

    /// Loads the files again if they have changed. True when the certificate is a new one. Unusable files leave
    /// the old one in use.
    fn reload_if_changed(&self) -> Result<bool, GatewayError> {
        let stamp = stamp(&self.files);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if *loaded == stamp {
            return Ok(false);
        }
        // Whatever comes of it, this state of the files is tried once.
        *loaded = stamp;
        self.current.store(Arc::new(load(&self.files)?));
        Ok(true)
    }

    /// Looks at the files for ever.
    async fn keep_fresh(&self) {
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
    let named = |path: &Path| path.display().to_string();
    let (chain, key) = (read(&files.certificate)?, read(&files.key)?);
    from_pem(&chain, &key, &named(&files.certificate), &named(&files.key))
}

fn from_pem(
    chain: &[u8],
    key: &[u8],
    chain_name: &str,
    key_name: &str,
) -> Result<CertifiedKey, GatewayError> {
    let bad =
        |name: &str, what: &str| GatewayError::Certificate(format!("{name} holds no {what} in PEM form"));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| bad(chain_name, "certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| bad(key_name, "private key"))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|error| GatewayError::Certificate(error.to_string()))
}

#[cfg(test)]
mod tests {
    use auth::Secret;

    use super::*;

    fn write_pair(files: &CertificateFiles) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_certificate_that_was_given_is_checked_with_its_key() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), Secret::from(made.signing_key.serialize_pem()));
        let certificate =
            PublicCertificate::new(Certificate::Inline { chain: chain.clone(), key: key.clone() });
        certificate.unwrap().server_config().unwrap();
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for (chain, key) in [(chain, other.into()), ("no PEM".to_owned(), key)] {
            let error = PublicCertificate::new(Certificate::Inline { chain, key }).unwrap_err().to_string();
            assert!(error.contains("SALA_GATEWAY_CERTIFICATE") && !error.contains("BEGIN"), "{error}");
        }
    }

    #[test]
    fn changed_files_are_loaded_and_broken_ones_leave_the_old_certificate() {
        let dir = std::env::temp_dir().join(format!("sala-public-certificate-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let files = CertificateFiles { certificate: dir.join("c.pem"), key: dir.join("c.key") };
        let missing = Reloaded::new(files.clone()).err().unwrap().to_string();
        assert!(missing.contains("gateway.certificate_file"), "{missing}");

        write_pair(&files);
        let certificate = Reloaded::new(files.clone()).unwrap();
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
