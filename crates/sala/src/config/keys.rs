//! API keys as they stand in YAML: a mapping of id to secret whose order counts, because the first key signs.

use std::fmt;

use auth::Secret;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// Pairs in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct KeyPairs(pub(crate) Vec<(String, Secret)>);

impl<'de> Deserialize<'de> for KeyPairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = KeyPairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("API keys as `key: secret` lines, with a space after the colon")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeyPairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, secret)) = map.next_entry::<String, String>()? {
                    pairs.push((key, secret.into()));
                }
                Ok(KeyPairs(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}
