//! API keys: pairs of a public id and a secret. The id travels in every token as its issuer, the secret
//! signs. Secrets never appear in logs: their type prints nothing.

use std::fmt;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Shorter secrets can be guessed from one captured token; they are accepted with a warning (livekit.md §1.3).
const RECOMMENDED_SECRET_BYTES: usize = 32;

/// A shared secret. Neither `Debug` nor any log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// For the one place that must show it: the start-up block of `sala dev` and `sala keys generate`.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True when the secret is shorter than HS256 deserves.
    pub fn is_weak(&self) -> bool {
        self.0.len() < RECOMMENDED_SECRET_BYTES
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a set of keys is unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("no API key is configured; add one under `keys:` (make a pair with `sala keys generate`)")]
    Empty,
    #[error("an API key has an empty name; write it as `name: secret`")]
    EmptyKey,
    #[error("API key {0:?} has no secret; write it as `{0}: secret`, with a space after the colon")]
    EmptySecret(String),
    #[error("API key {0:?} is given twice; remove one of the two")]
    Duplicate(String),
}

/// All API keys of a deployment, in the order of the configuration. The first signs what the server issues.
#[derive(Clone, Debug)]
pub struct KeyStore {
    /// Never empty. A handful of entries: searched from the front.
    pairs: Vec<(String, Secret)>,
}

impl KeyStore {
    /// Checks the pairs and keeps their order.
    pub fn new(pairs: impl IntoIterator<Item = (String, Secret)>) -> Result<Self, KeyError> {
        let mut store = Self { pairs: Vec::new() };
        for (key, secret) in pairs {
            if key.is_empty() {
                return Err(KeyError::EmptyKey);
            }
            if secret.as_bytes().is_empty() {
                return Err(KeyError::EmptySecret(key));
            }
            if store.secret(&key).is_some() {
                return Err(KeyError::Duplicate(key));
            }
            store.pairs.push((key, secret));
        }
        if store.pairs.is_empty() { Err(KeyError::Empty) } else { Ok(store) }
    }

    /// The secret of a key id.
    pub fn secret(&self, key: &str) -> Option<&Secret> {
        self.pairs.iter().find(|(id, _)| id == key).map(|(_, secret)| secret)
    }

    /// The pair that signs what the server itself issues.
    pub fn first(&self) -> (&str, &Secret) {
        let (key, secret) = &self.pairs[0];
        (key, secret)
    }

    /// Ids of all keys, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(id, _)| id.as_str())
    }

    /// Ids of the keys whose secret is too short to resist guessing.
    pub fn weak_ids(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(|(_, secret)| secret.is_weak()).map(|(id, _)| id.as_str())
    }
}

/// A fresh pair: an id of the form `API…` and a secret of 256 random bits.
pub fn random_key_pair() -> (String, Secret) {
    let mut id = [0; 9];
    let mut secret = [0; 32];
    fill_random(&mut id);
    fill_random(&mut secret);
    let id = URL_SAFE_NO_PAD.encode(id).replace(['-', '_'], "x");
    (format!("API{id}"), URL_SAFE_NO_PAD.encode(secret).into())
}

/// Fills with bytes from the operating system's generator.
fn fill_random(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the operating system's random generator works: nothing here is safe without");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, secret: &str) -> (String, Secret) {
        (key.to_owned(), secret.into())
    }

    #[test]
    fn the_first_configured_key_signs() {
        let store = KeyStore::new([pair("b", "2"), pair("a", "1")]).unwrap();
        assert_eq!(store.first().0, "b");
        assert_eq!(store.secret("a").unwrap().reveal(), "1");
        assert!(store.secret("c").is_none());
    }

    #[test]
    fn unusable_sets_of_keys_are_refused_with_a_remedy() {
        assert_eq!(KeyStore::new([]).unwrap_err(), KeyError::Empty);
        assert_eq!(KeyStore::new([pair("", "x")]).unwrap_err(), KeyError::EmptyKey);
        assert_eq!(KeyStore::new([pair("a", "")]).unwrap_err(), KeyError::EmptySecret("a".into()));
        assert_eq!(
            KeyStore::new([pair("a", "1"), pair("a", "2")]).unwrap_err(),
            KeyError::Duplicate("a".into())
        );
    }

    #[test]
    fn a_secret_is_never_printed() {
        let store = KeyStore::new([pair("a", "hunter2")]).unwrap();
        assert!(!format!("{store:?}").contains("hunter2"));
    }

    #[test]
    fn generated_pairs_are_strong_and_differ() {
        let (a, b) = (random_key_pair(), random_key_pair());
        assert!(a.0.starts_with("API") && a.0 != b.0 && a.1 != b.1);
        assert!(!a.1.is_weak());
        assert!(Secret::from("secret").is_weak());
    }
}
