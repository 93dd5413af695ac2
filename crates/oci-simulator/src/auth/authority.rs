//! What only the cloud has: the authority that certifies instances, and the key that signs tokens.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::der;
use super::public_key::{PublicKey, armoured};
use crate::cloud::calendar;

/// A key pair with its PEM.
pub(crate) struct Key {
    pair: KeyPair,
    pem: String,
    info: Vec<u8>,
}

/// Why there is no key. The operating system has no randomness, or no memory: nothing to mend here.
#[derive(thiserror::Error, Debug)]
#[error("cannot make an RSA key: {0}; the host gives no randomness")]
pub struct KeyError(String);

impl Key {
    /// A new one of 2048 bits.
    ///
    /// # Errors
    /// When the host gives no randomness.
    pub(crate) fn generate() -> Result<Key, KeyError> {
        let failed = |error: aws_lc_rs::error::Unspecified| KeyError(error.to_string());
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
        let pem = armoured("PRIVATE KEY", pkcs8.as_ref());
        let info = der::sequence(&[der::RSA, &der::bits(pair.public_key().as_ref())]);
        Ok(Key { pair, pem, info })
    }

    /// PKCS #8.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn public(&self) -> Option<PublicKey> {
        PublicKey::from_der(&self.info)
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        // It fails for a buffer of another length only.
        let signed = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        debug_assert!(signed.is_ok());
        signature
    }
}

/// The certificate of an instance and its key.
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: String,
    /// Unix seconds.
    pub(crate) expires: i64,
}

/// Who an instance is, for its certificate.
pub(crate) struct Identity<'a> {
    pub(crate) instance: &'a str,
    pub(crate) compartment: &'a str,
    pub(crate) tenancy: &'a str,
}

/// The instance and tenancy that a certificate speaks for, and its key.
pub(crate) struct Certified {
    pub(crate) instance: String,
    pub(crate) tenancy: String,
    pub(crate) key: PublicKey,
}

/// Certifies, and signs tokens.
pub(crate) struct Authority {
    key: Key,
    certificate: Vec<u8>,
}

const NAME: &str = "PKISVC Identity Intermediate simulator";

impl Authority {
    /// With a new key.
    ///
    /// # Errors
    /// When the host gives no randomness.
    pub(crate) fn new(unix: i64) -> Result<Authority, KeyError> {
        let key = Key::generate()?;
        let mut authority = Authority { key, certificate: Vec::new() };
        let name = name(&[(der::COMMON_NAME, NAME)]);
        let info = authority.key.info.clone();
        let validity = (unix - 3600, unix + 10 * 365 * 86_400);
        authority.certificate = authority.certify(&name, &info, validity, true);
        Ok(authority)
    }

    /// PEM of the certificate that leaves are signed with.
    pub(crate) fn certificate_pem(&self) -> String {
        armoured("CERTIFICATE", &self.certificate)
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// A new certificate, and a new key, for an instance.
    ///
    /// # Errors
    /// When the host gives no randomness.
    pub(crate) fn leaf(&self, who: &Identity<'_>, unix: i64, seconds: i64) -> Result<Leaf, KeyError> {
        let key = Key::generate()?;
        let subject = name(&[
            (der::COMMON_NAME, who.instance),
            (der::UNIT, "opc-certtype:instance"),
            (der::UNIT, &format!("opc-compartment:{}", who.compartment)),
            (der::UNIT, &format!("opc-instance:{}", who.instance)),
            (der::UNIT, &format!("opc-tenant:{}", who.tenancy)),
        ]);
        let certificate = self.certify(&subject, &key.info, (unix - 60, unix + seconds), false);
        let (certificate, key) = (armoured("CERTIFICATE", &certificate), key.pem);
        Ok(Leaf { certificate, key, expires: unix + seconds })
    }

    fn certify(&self, subject: &[u8], info: &[u8], validity: (i64, i64), is_authority: bool) -> Vec<u8> {
        let time = |unix: i64| der::generalized_time(&calendar::rfc3339(unix * 1000));
        let serial: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
        let constraints = der::sequence(if is_authority { &[&[0x01, 0x01, 0xff]] } else { &[] });
        let critical = [0x01, 0x01, 0xff];
        let extension = der::sequence(&[der::BASIC_CONSTRAINTS, &critical, &der::tlv(0x04, &constraints)]);
        let tbs = der::sequence(&[
            &der::tlv(0xa0, &der::integer(&[2])),
            &der::integer(&serial),
            der::SHA256_RSA,
            &name(&[(der::COMMON_NAME, NAME)]),
            &der::sequence(&[&time(validity.0), &time(validity.1)]),
            subject,
            info,
            &der::tlv(0xa3, &der::sequence(&[&extension])),
        ]);
        der::sequence(&[&tbs, der::SHA256_RSA, &der::bits(&self.key.sign(&tbs))])
    }

    /// Reads an instance's certificate, if this authority has signed it and it holds at that time.
    pub(crate) fn certified(&self, certificate: &[u8], unix: i64) -> Option<Certified> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let signed =
            self.key.public()?.verifies(parsed.tbs_certificate.as_ref(), &parsed.signature_value.data);
        let validity = parsed.validity();
        if !signed || unix < validity.not_before.timestamp() || unix > validity.not_after.timestamp() {
            return None;
        }
        let units: Vec<&str> =
            parsed.subject().iter_organizational_unit().filter_map(|unit| unit.as_str().ok()).collect();
        let unit = |prefix: &str| units.iter().find_map(|unit| unit.strip_prefix(prefix)).map(str::to_owned);
        let key = PublicKey::from_der(parsed.public_key().raw)?;
        Some(Certified { instance: unit("opc-instance:")?, tenancy: unit("opc-tenant:")?, key })
    }
}

/// An X.501 name of these parts.
fn name(parts: &[(&[u8], &str)]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> =
        parts.iter().map(|(kind, value)| der::set(&der::sequence(&[kind, &der::utf8(value)]))).collect();
    der::tlv(0x30, &parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::public_key::unarmoured;

    #[test]
    fn only_certificates_of_this_authority_in_their_time_count() {
        let authority = Authority::new(1_000_000).unwrap();
        let other = Authority::new(1_000_000).unwrap();
        let who = Identity { instance: "ocid1.instance.x", compartment: "c", tenancy: "ocid1.tenancy.t" };
        let leaf = authority.leaf(&who, 1_000_000, 600).unwrap();
        let der = unarmoured(&leaf.certificate).unwrap();
        let certified = authority.certified(&der, 1_000_100).unwrap();
        assert_eq!(certified.instance, "ocid1.instance.x");
        assert_eq!(certified.tenancy, "ocid1.tenancy.t");
        assert!(authority.certified(&der, 1_000_601).is_none(), "expired");
        assert!(other.certified(&der, 1_000_100).is_none(), "signed by somebody else");
        assert!(authority.certified(&der[..100], 1_000_100).is_none());
    }
}
