//! `~/.oci/config`: profiles with `key=value` lines, of which `[DEFAULT]` gives what others lack.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::PrincipalError;

/// One profile's settings.
#[derive(Debug)]
pub(super) struct Profile {
    file: PathBuf,
    name: String,
    values: BTreeMap<String, String>,
}

impl Profile {
    pub(super) fn read(file: &Path, name: &str) -> Result<Profile, PrincipalError> {
        let text = std::fs::read_to_string(file)
            .map_err(|cause| PrincipalError::File { file: file.to_owned(), cause })?;
        Profile::parse(&text, file, name)
    }

    fn parse(text: &str, file: &Path, name: &str) -> Result<Profile, PrincipalError> {
        let mut profiles = BTreeMap::<String, BTreeMap<String, String>>::new();
        let mut current = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(profile) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                current = Some(profiles.entry(profile.trim().to_owned()).or_default());
                continue;
            }
            let (Some((key, value)), Some(profile)) = (line.split_once('='), current.as_mut()) else {
                return Err(PrincipalError::ConfigLine { file: file.to_owned(), line: number + 1 });
            };
            profile.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        if !profiles.contains_key(name) {
            return Err(PrincipalError::NoProfile { file: file.to_owned(), profile: name.to_owned() });
        }
        let mut values = profiles.remove("DEFAULT").unwrap_or_default();
        values.extend(profiles.remove(name).unwrap_or_default());
        Ok(Profile { file: file.to_owned(), name: name.to_owned(), values })
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn need(&self, key: &'static str) -> Result<&str, PrincipalError> {
        let lacking = || PrincipalError::NoKey { file: self.file.clone(), profile: self.name.clone(), key };
        self.get(key).ok_or_else(lacking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# mine\n[DEFAULT]\nuser = ocid1.user.oc1..a\nregion=eu-frankfurt-1\n\n[OTHER]\nregion=uk-london-1\n";

    fn profile(text: &str, name: &str) -> Result<Profile, PrincipalError> {
        Profile::parse(text, Path::new("/c"), name)
    }

    #[test]
    fn a_profile_inherits_from_default() {
        let other = profile(TEXT, "OTHER").unwrap();
        assert_eq!(other.need("user").unwrap(), "ocid1.user.oc1..a");
        assert_eq!(other.need("region").unwrap(), "uk-london-1");
        assert_eq!(profile(TEXT, "DEFAULT").unwrap().get("region"), Some("eu-frankfurt-1"));
    }

    #[test]
    fn a_broken_file_is_told_with_its_place() {
        assert!(matches!(
            profile("[DEFAULT]\nuser\n", "DEFAULT"),
            Err(PrincipalError::ConfigLine { line: 2, .. })
        ));
        assert!(matches!(profile("user=a\n", "DEFAULT"), Err(PrincipalError::ConfigLine { line: 1, .. })));
        assert!(matches!(profile(TEXT, "NONE"), Err(PrincipalError::NoProfile { .. })));
        let lacking = profile(TEXT, "OTHER").unwrap().need("tenancy").unwrap_err();
        assert_eq!(lacking.to_string(), "/c, profile [OTHER], lacks tenancy");
    }
}
