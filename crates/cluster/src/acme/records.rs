//! What the masters share about certificates: JSON under `/sala/v1/acme/`.

use auth::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything here begins with this.
pub(super) const PREFIX: &str = "/sala/v1/acme/";

/// [`AccountRecord`].
pub(super) const ACCOUNT: &str = "/sala/v1/acme/account";

/// [`IssuerRecord`], bound to the lease of the master whose turn it is.
pub(super) const ISSUER: &str = "/sala/v1/acme/issuer";

/// [`CertificateRecord`] of the certificate that masters show until there is a better one.
pub(super) const SELF_SIGNED: &str = "/sala/v1/acme/self-signed";

/// [`CertificateRecord`] for the names of which this is the first.
pub(super) fn certificate_key(name: &str) -> String {
    format!("{CERTIFICATES}{name}")
}

/// Prefix of all certificates that were issued.
pub(super) const CERTIFICATES: &str = "/sala/v1/acme/certificates/";

/// The answer to a challenge, as it is sent. Bound to the issuer's lease.
pub(super) fn challenge_key(token: &str) -> String {
    format!("{CHALLENGES}{token}")
}

/// Prefix of all answers to challenges.
pub(super) const CHALLENGES: &str = "/sala/v1/acme/challenges/";

/// [`OrderRecord`] for the names of which this is the first.
pub(super) fn order_key(name: &str) -> String {
    format!("{PREFIX}orders/{name}")
}

/// [`AttemptsRecord`] for the names of which this is the first.
pub(super) fn attempts_key(name: &str) -> String {
    format!("{PREFIX}attempts/{name}")
}

/// What is asked of which server: two of these that are equal want the same certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// Domain names and addresses.
    pub(super) names: Vec<String>,
    /// Of the ACME server; empty in a self-signed certificate.
    pub(super) directory: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<String>,
}

/// A certificate with its key and its timetable. Times are in ms since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CertificateRecord {
    #[serde(flatten)]
    pub(super) wanted: Wanted,
    /// PEM, leaf first.
    pub(super) chain: String,
    /// PEM.
    #[serde(with = "secret")]
    pub(super) key: Secret,
    /// When we got it, by the clock of the master that did.
    pub(super) issued_at_ms: i64,
    pub(super) not_after_ms: i64,
    /// From then on it is to be replaced.
    pub(super) renew_at_ms: i64,
    /// When to ask the server again for the time that it suggests. Absent: it suggests none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ask_at_ms: Option<i64>,
}

/// The account at an ACME server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct AccountRecord {
    pub(super) directory: String,
    /// As the ACME library writes them, with the account's private key.
    #[serde(with = "secret_json")]
    pub(super) credentials: Secret,
}

/// Who talks to the ACME server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IssuerRecord {
    pub(super) node: String,
}

/// An order that a server has accepted: whoever continues it gets the same certificate, instead of a second one
/// that would count against the server's limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OrderRecord {
    #[serde(flatten)]
    pub(super) wanted: Wanted,
    pub(super) url: String,
    /// PEM of the key that the certificate is asked for.
    #[serde(with = "secret")]
    pub(super) key: Secret,
}

/// Attempts that failed since the last one that did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AttemptsRecord {
    #[serde(flatten)]
    pub(super) wanted: Wanted,
    pub(super) failures: u32,
    pub(super) last_at_ms: i64,
    pub(super) next_at_ms: i64,
    /// The server named [`Self::next_at_ms`]: a restart does not shorten it.
    #[serde(default)]
    pub(super) rate_limited: bool,
    /// For people; holds no secret.
    pub(super) error: String,
    /// Who tried.
    pub(super) node: String,
}

mod secret {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.reveal())
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        Ok(String::deserialize(from)?.into())
    }
}

/// JSON within JSON, readable in the store; text in memory, so that nothing prints it by accident.
mod secret_json {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        let value: Value = serde_json::from_str(secret.reveal()).map_err(serde::ser::Error::custom)?;
        value.serialize(to)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        Ok(Value::deserialize(from)?.to_string().into())
    }
}

/// As the store keeps it. These records always can be written.
pub(super) fn to_bytes(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_record_shows_its_key_except_to_the_store() {
        let wanted =
            Wanted { names: vec!["a.example".into()], directory: "https://ca".into(), profile: None };
        let certificate = CertificateRecord {
            wanted: wanted.clone(),
            chain: "chain".into(),
            key: "hunter2".into(),
            issued_at_ms: 1,
            not_after_ms: 2,
            renew_at_ms: 3,
            ask_at_ms: None,
        };
        let order = OrderRecord { wanted, url: "https://ca/o/1".into(), key: "hunter2".into() };
        let credentials = r#"{"id":"x","key_pkcs8":"hunter2"}"#;
        let account = AccountRecord { directory: "https://ca".into(), credentials: credentials.into() };
        let shown = format!("{certificate:?}{order:?}{account:?}");
        assert!(!shown.contains("hunter2"), "{shown}");

        let read: CertificateRecord = serde_json::from_slice(&to_bytes(&certificate)).unwrap();
        assert_eq!((read.key.reveal(), &read.wanted), ("hunter2", &certificate.wanted));
        let read: AccountRecord = serde_json::from_slice(&to_bytes(&account)).unwrap();
        assert_eq!(read.credentials.reveal(), credentials);
    }
}
