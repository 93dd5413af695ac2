//! The cluster's certificate authority: made, checked, and used for the store's certificates.

use std::net::Ipv4Addr;
use std::sync::Arc;

use auth::Secret;
use cluster::security::{Ca, PemSource, SecurityError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::boot::Authority;

/// For HTTP to the store's members.
const ALPN: &[u8] = b"http/1.1";
/// What we call ourselves when we ask the store. Not a user's name: the store knows users by their password.
const OUR_NAME: &str = "sala-boot";

pub(super) fn generate(cluster: &str) -> Result<Authority, SecurityError> {
    let ca = Ca::generate(cluster)?;
    Ok(Authority { certificate: ca.certificate_pem().to_owned(), key: ca.key_pem() })
}

pub(super) fn load(authority: &Authority) -> Result<Ca, SecurityError> {
    let source = |variable: &str, pem: Secret| PemSource::Environment { variable: variable.to_owned(), pem };
    Ca::load(
        &source(crate::boot::secrets::CA_CERTIFICATE, authority.certificate.as_str().into()),
        &source(crate::boot::secrets::CA_KEY, authority.key.clone()),
    )
}

/// Certificate and key of a member, as PEM.
pub(super) fn issue(
    authority: &Authority,
    name: &str,
    address: Ipv4Addr,
) -> Result<(String, Secret), SecurityError> {
    let leaf = load(authority)?.issue_service(name, &[address.into()])?;
    Ok((leaf.certificate_pem, leaf.key_pem))
}

/// How we ask the store's members.
pub(super) fn client(authority: &Authority) -> Result<Arc<ClientConfig>, SecurityError> {
    let tls = |error: &dyn std::fmt::Display| SecurityError::Tls(error.to_string());
    let leaf = load(authority)?.issue_service(OUR_NAME, &[])?;
    let pem = |text: &str| CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| tls(&error));
    let mut roots = RootCertStore::empty();
    roots.add(pem(&authority.certificate)?).map_err(|error| tls(&error))?;
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).map_err(|error| tls(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls(&error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![pem(&leaf.certificate_pem)?], key)
        .map_err(|error| tls(&error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Whether a chain and its key can be shown to clients.
pub(super) fn check_public(chain: &str, key: &Secret) -> Result<(), String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let certificates = certificates.map_err(|_| "the certificate is not PEM".to_owned())?;
    if certificates.is_empty() {
        return Err("there is no certificate in ownPublicCertificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| "there is no private key in ownPrivateCertificate".to_owned())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map(drop)
        .map_err(|error| format!("certificate and key do not go together ({error})"))
}
