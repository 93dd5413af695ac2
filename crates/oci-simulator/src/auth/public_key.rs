//! RSA public keys: out of PEM, DER and JWK, and what they verify.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey as Parsed;

/// Modulus and exponent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PublicKey {
    n: Vec<u8>,
    e: Vec<u8>,
}

impl PublicKey {
    /// From a SubjectPublicKeyInfo.
    pub(crate) fn from_der(der: &[u8]) -> Option<PublicKey> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
        let Parsed::RSA(rsa) = info.parsed().ok()? else { return None };
        Some(PublicKey { n: strip(rsa.modulus), e: strip(rsa.exponent) })
    }

    /// From PEM, or what is between its first and last line.
    pub(crate) fn from_pem(text: &str) -> Option<PublicKey> {
        PublicKey::from_der(&unarmoured(text)?)
    }

    pub(crate) fn from_jwk(jwk: &serde_json::Value) -> Option<PublicKey> {
        let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?.trim_end_matches('=')).ok();
        Some(PublicKey { n: part("n")?, e: part("e")? })
    }

    pub(crate) fn to_jwk(&self, id: &str) -> serde_json::Value {
        let (n, e) = (URL_SAFE_NO_PAD.encode(&self.n), URL_SAFE_NO_PAD.encode(&self.e));
        serde_json::json!({"kid": id, "n": n, "e": e, "kty": "RSA", "alg": "RS256", "use": "sig"})
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = RsaPublicKeyComponents { n: &self.n, e: &self.e };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
    }
}

fn strip(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].to_vec()
}

/// What PEM armour holds; text without any armour is taken for the content.
pub(crate) fn unarmoured(text: &str) -> Option<Vec<u8>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    STANDARD.decode(lines.collect::<String>()).ok()
}

/// DER as PEM.
pub(crate) fn armoured(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}
