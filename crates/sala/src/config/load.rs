//! Reading the configuration: strict YAML, secrets from files that only their owner can read, and errors that
//! say what to do.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth::{KeyError, KeyStore, Secret};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};

use super::{Config, KeyPairs};

/// Keys of LiveKit's configuration for things that Sala does not do, so that a wrong guess at a typo is not made.
const NOT_IN_SALA: [&str; 19] = [
    "redis",
    "turn",
    "webhook",
    "ingress",
    "sip",
    "node_selector",
    "signal_relay",
    "psrpc",
    "agents",
    "api",
    "metric",
    "node_stats",
    "trace",
    "prometheus",
    "prometheus_port",
    "debug_handler",
    "development",
    "enable_data_tracks",
    "log_level",
];

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {}: {reason}; check the path and that this user may read it", .path.display())]
    Unreadable { path: PathBuf, reason: io::Error },
    #[error("{} is readable by others and holds secrets; run `chmod 600 {}`", .0.display(), .0.display())]
    Exposed(PathBuf),
    #[error("{origin}, line {line}: unknown key `{key}`; {remedy}")]
    UnknownKey { origin: String, line: u64, key: String, remedy: String },
    #[error("{origin} is not valid: {problem}")]
    Invalid { origin: String, problem: String },
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("{} is empty; write the administrator's password into it", .0.display())]
    EmptyPassword(PathBuf),
}

/// Reads a configuration file.
pub(crate) fn load(path: &Path) -> Result<Config, ConfigError> {
    parse(&read(path)?, &path.display().to_string())
}

/// Parses YAML. `origin` names it in errors.
pub(crate) fn parse<T: DeserializeOwned + Default>(yaml: &str, origin: &str) -> Result<T, ConfigError> {
    let parsed: Result<Option<T>, _> = serde_saphyr::from_str(yaml);
    parsed.map(Option::unwrap_or_default).map_err(|error| explain(&error, origin))
}

impl Config {
    /// The keys of the environment, the configuration and the key file together.
    pub(crate) fn key_store(&self, environment: Option<&str>) -> Result<KeyStore, ConfigError> {
        let mut pairs = self.keys.0.clone();
        if let Some(yaml) = environment {
            pairs.extend(parse::<KeyPairs>(yaml, "LIVEKIT_KEYS")?.0);
        }
        if let Some(path) = &self.key_file {
            pairs.extend(parse::<KeyPairs>(&read_secret(path)?, &path.display().to_string())?.0);
        }
        Ok(KeyStore::new(pairs)?)
    }

    /// The administrator's password, if there is one.
    pub(crate) fn admin_password(&self, environment: Option<String>) -> Result<Option<Secret>, ConfigError> {
        if let Some(password) = environment.filter(|password| !password.is_empty()) {
            return Ok(Some(password.into()));
        }
        let Some(path) = &self.meeting.admin_password_file else { return Ok(None) };
        match read_secret(path)?.trim() {
            "" => Err(ConfigError::EmptyPassword(path.clone())),
            password => Ok(Some(password.into())),
        }
    }
}

/// `5s`, `500ms`, `2m`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number =
        number.parse::<u32>().map_err(|_| D::Error::custom(format!("`{text}` is no duration: write 5s")))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number.into())),
        "s" => Ok(Duration::from_secs(number.into())),
        "m" => Ok(Duration::from_secs(60 * u64::from(number))),
        _ => Err(D::Error::custom(format!("`{text}` has no unit: write ms, s or m behind the number"))),
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|reason| ConfigError::Unreadable { path: path.into(), reason })
}

/// Reads a file that must be its owner's alone.
fn read_secret(path: &Path) -> Result<String, ConfigError> {
    const OTHERS: u32 = 0o007;
    let metadata = fs::metadata(path);
    let metadata = metadata.map_err(|reason| ConfigError::Unreadable { path: path.into(), reason })?;
    if metadata.permissions().mode() & OTHERS != 0 {
        return Err(ConfigError::Exposed(path.into()));
    }
    read(path)
}

fn explain(error: &serde_saphyr::Error, origin: &str) -> ConfigError {
    let origin = origin.to_owned();
    let line = error.location().map_or(0, |location| location.line());
    match error.without_snippet() {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            let remedy = remedy_for(field, expected);
            ConfigError::UnknownKey { origin, line, key: field.clone(), remedy }
        }
        // A snippet of the file could show a secret.
        plain => ConfigError::Invalid { origin, problem: plain.to_string() },
    }
}

fn remedy_for(key: &str, expected: &[&'static str]) -> String {
    if NOT_IN_SALA.contains(&key) {
        return "LiveKit has it, Sala does not: remove it".into();
    }
    let closest =
        expected.iter().max_by(|a, b| strsim::jaro_winkler(key, a).total_cmp(&strsim::jaro_winkler(key, b)));
    match closest {
        Some(closest) if strsim::jaro_winkler(key, closest) > 0.75 => format!("did you mean `{closest}`?"),
        _ => format!("known here: {}", expected.join(", ")),
    }
}

#[cfg(test)]
mod tests;
