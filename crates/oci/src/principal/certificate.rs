//! The certificate by which an instance proves to the federation endpoint what it is.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::PrincipalError;
use crate::ocid::Ocid;
use crate::signing::{Signer, key_from_pem};

/// What the subject of the certificate calls the tenancy, in older and newer instances.
const TENANCY_PREFIXES: [&str; 2] = ["opc-tenant:", "opc-identity:"];

/// Certificate, intermediate and key, as read from the metadata at one time.
pub(super) struct Leaf {
    certificate: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    key: Arc<RsaKeyPair>,
    tenancy: Ocid,
}

impl Leaf {
    /// Fails if the key is not the certificate's: they are read one after the other, and between two reads they may
    /// have been replaced.
    pub(super) fn from_pem(
        certificate: &[u8],
        key: &[u8],
        intermediate: &[u8],
    ) -> Result<Leaf, PrincipalError> {
        let no_pem = |_| PrincipalError::Certificate("it is no PEM");
        let certificate = CertificateDer::from_pem_slice(certificate).map_err(no_pem)?;
        let intermediates =
            CertificateDer::pem_slice_iter(intermediate).collect::<Result<Vec<_>, _>>().map_err(no_pem)?;
        let key = key_from_pem(key)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)
            .map_err(|_| PrincipalError::Certificate("it is no X.509 certificate"))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key().as_ref() {
            return Err(PrincipalError::Certificate("the key is not that of the certificate"));
        }
        let attribute = |prefix: &str| {
            parsed
                .subject()
                .iter_attributes()
                .find_map(|attribute| attribute.as_str().ok()?.strip_prefix(prefix))
        };
        let tenancy = TENANCY_PREFIXES
            .into_iter()
            .find_map(attribute)
            .map(Ocid::new)
            .ok_or(PrincipalError::Certificate("its subject names no tenancy"))?;
        Ok(Leaf { certificate, intermediates, key: Arc::new(key), tenancy })
    }

    pub(super) fn tenancy(&self) -> &Ocid {
        &self.tenancy
    }

    /// Base64 without the lines of PEM, as the federation endpoint wants certificates.
    pub(super) fn certificate(&self) -> String {
        STANDARD.encode(&self.certificate)
    }

    pub(super) fn intermediates(&self) -> Vec<String> {
        self.intermediates.iter().map(|certificate| STANDARD.encode(certificate)).collect()
    }

    /// Signs the request for a session.
    pub(super) fn signer(&self) -> Signer {
        let hash = digest(&SHA256, &self.certificate);
        let pairs: Vec<_> = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Signer::new(format!("{}/fed-x509-sha256/{}", self.tenancy, pairs.join(":")), self.key.clone())
    }
}
