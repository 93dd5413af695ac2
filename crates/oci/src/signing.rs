//! Signatures of requests, as Oracle Cloud wants them: HTTP signatures (draft-cavage) with RSA and SHA-256 over the
//! date, the request target and the host, and for requests with a body over its length, type and digest too.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

/// Why a key cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error("the private key is no unencrypted PEM (PKCS#8 or PKCS#1): {0}; decrypt it with `openssl rsa`")]
    NotPem(String),
    #[error("the private key is no RSA key of 2048 bits or more: {0}; Oracle Cloud takes only RSA keys")]
    NotRsa(String),
    #[error("the private key could not sign; the system's random source may be broken")]
    Failed,
}

/// A private key and the name under which Oracle Cloud knows its public half. Cheap to clone.
#[derive(Clone)]
pub struct Signer {
    key_id: Arc<str>,
    key: Arc<RsaKeyPair>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key id of a session holds its token, which is a secret.
        f.write_str("Signer")
    }
}

/// What of a request is signed.
#[derive(Debug, Clone, Copy)]
pub struct ToSign<'a> {
    pub method: &'a Method,
    /// Path and query as on the wire.
    pub target: &'a str,
    /// Host with the port if it is not the scheme's. `None` leaves it out, as the federation endpoint wants.
    pub host: Option<&'a str>,
    /// IMF-fixdate; at most 5 minutes off the service's clock.
    pub date: &'a str,
    /// Type and bytes of the body; used for POST, PUT and PATCH only.
    pub content_type: &'a str,
    pub body: &'a [u8],
}

/// The headers to add to a signed request.
#[derive(Clone)]
pub struct Signed {
    /// Holds the session token of a principal: never log it.
    pub authorization: String,
    /// `x-content-sha256`, for requests with a body.
    pub content_sha256: Option<String>,
}

/// An RSA key from PEM.
pub fn key_from_pem(pem: &[u8]) -> Result<RsaKeyPair, SigningError> {
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| SigningError::NotPem(error.to_string()))?;
    match &der {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(SigningError::NotRsa("another kind of key".into())),
    }
    .map_err(|error| SigningError::NotRsa(error.to_string()))
}

impl Signer {
    /// `key_id` is `tenancy/user/fingerprint` of an API key, `ST$<token>` of a session.
    pub fn new(key_id: impl Into<Arc<str>>, key: Arc<RsaKeyPair>) -> Signer {
        Signer { key_id: key_id.into(), key }
    }

    /// Whether both are the same session or key.
    pub(crate) fn is(&self, other: &Signer) -> bool {
        self.key_id == other.key_id
    }

    /// The headers that make `request` ours. The caller sends `date`, `host` and for a body `content-type` and
    /// `content-length` exactly as given here.
    pub fn sign(&self, request: &ToSign<'_>) -> Result<Signed, SigningError> {
        let mut lines = vec![
            ("date", request.date.to_owned()),
            (
                "(request-target)",
                format!("{} {}", request.method.as_str().to_ascii_lowercase(), request.target),
            ),
        ];
        lines.extend(request.host.map(|host| ("host", host.to_owned())));
        let content_sha256 =
            has_signed_body(request.method).then(|| STANDARD.encode(digest(&SHA256, request.body).as_ref()));
        if let Some(sha256) = &content_sha256 {
            lines.push(("content-length", request.body.len().to_string()));
            lines.push(("content-type", request.content_type.to_owned()));
            lines.push(("x-content-sha256", sha256.clone()));
        }
        let text =
            lines.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n");
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_unspecified| SigningError::Failed)?;
        let names = lines.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
        let authorization = format!(
            r#"Signature algorithm="rsa-sha256",headers="{names}",keyId="{}",signature="{}",version="1""#,
            self.key_id,
            STANDARD.encode(signature)
        );
        Ok(Signed { authorization, content_sha256 })
    }
}

/// Whether the body counts in the signature, even an empty one.
fn has_signed_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}
