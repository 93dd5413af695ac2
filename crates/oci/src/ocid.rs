//! The name of a resource in Oracle Cloud.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest OCID the services document.
const MAX_LEN: usize = 255;

/// An Oracle Cloud identifier, such as `ocid1.instance.oc1.eu-frankfurt-1.…`. Cheap to clone.
///
/// What the services answer is taken as it is; what a person wrote goes through [`FromStr`], which checks the form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ocid(Arc<str>);

/// Why a text is no OCID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnOcid {
    #[error("an OCID is missing; copy it from the resource's page in the console")]
    Blank,
    #[error("{0:?} is no OCID: it must begin with `ocid1.`; copy it from the resource's page in the console")]
    Prefix(String),
    #[error("the OCID {0:?} has a character or a length that none has; copy it anew from the console")]
    Form(String),
}

impl Ocid {
    /// Without a check.
    pub fn new(text: impl Into<Arc<str>>) -> Ocid {
        Ocid(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Ocid {
    type Err = NotAnOcid;

    fn from_str(text: &str) -> Result<Ocid, NotAnOcid> {
        let text = text.trim();
        let shown = || text.chars().take(80).collect::<String>();
        if text.is_empty() {
            return Err(NotAnOcid::Blank);
        }
        if !text.starts_with("ocid1.") {
            return Err(NotAnOcid::Prefix(shown()));
        }
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match text.len() <= MAX_LEN && text.chars().all(good) {
            true => Ok(Ocid(text.into())),
            false => Err(NotAnOcid::Form(shown())),
        }
    }
}

impl fmt::Display for Ocid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Ocid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Deref for Ocid {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Ocid {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Ocid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Ocid, D::Error> {
        String::deserialize(from).map(Ocid::new)
    }
}

impl AsRef<str> for Ocid {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Ocid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_may_paste_wrongly_is_refused() {
        assert_eq!(
            " ocid1.vault.oc1.fra.abc \n".parse::<Ocid>().unwrap().as_str(),
            "ocid1.vault.oc1.fra.abc"
        );
        assert_eq!("".parse::<Ocid>(), Err(NotAnOcid::Blank));
        assert!(matches!("my-vault".parse::<Ocid>(), Err(NotAnOcid::Prefix(_))));
        assert!(matches!("ocid1.vault/../x".parse::<Ocid>(), Err(NotAnOcid::Form(_))));
        assert!(matches!(format!("ocid1.{}", "a".repeat(300)).parse::<Ocid>(), Err(NotAnOcid::Form(_))));
    }
}
