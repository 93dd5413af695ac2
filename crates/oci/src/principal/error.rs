//! Why nobody can sign.

use std::path::PathBuf;
use std::time::Duration;

use crate::endpoints::SettingsError;
use crate::error::Error;
use crate::ocid::NotAnOcid;
use crate::signing::SigningError;

/// Why a principal cannot be had, or its session cannot be renewed.
#[derive(Debug, thiserror::Error)]
pub enum PrincipalError {
    #[error("OCI_CLI_AUTH is {0:?}; it may be instance_principal, resource_principal or api_key")]
    Kind(String),
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("{file} cannot be read: {cause}", file = file.display())]
    File { file: PathBuf, cause: std::io::Error },
    #[error("{file} line {line}: neither `[profile]` nor `key=value`", file = file.display())]
    ConfigLine { file: PathBuf, line: usize },
    #[error("{file} has no profile [{profile}]", file = file.display())]
    NoProfile { file: PathBuf, profile: String },
    #[error("{file}, profile [{profile}], lacks {key}", file = file.display())]
    NoKey { file: PathBuf, profile: String, key: &'static str },
    #[error("{what}: {cause}")]
    Ocid { what: &'static str, cause: NotAnOcid },
    #[error("the fingerprint {0:?} is not 16 pairs of hexadecimal digits")]
    Fingerprint(String),
    #[error("OCI_RESOURCE_PRINCIPAL_VERSION is {0:?}; only 2.2, that of Functions, is known")]
    ResourceVersion(String),
    #[error("the session token cannot be read: {0}")]
    Token(&'static str),
    #[error("the session token ended {0} s ago and no newer one is there")]
    TokenEnded(u64),
    #[error("no session within {0:?}")]
    Slow(Duration),
    #[error("the instance's certificate cannot be used: {0}")]
    Certificate(&'static str),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The metadata or the federation endpoint.
    #[error(transparent)]
    Call(#[from] Box<Error>),
}

impl From<Error> for PrincipalError {
    fn from(error: Error) -> PrincipalError {
        PrincipalError::Call(Box::new(error))
    }
}

impl PrincipalError {
    /// Whether it may pass by itself.
    pub fn is_transient(&self) -> bool {
        match self {
            PrincipalError::Call(error) => error.is_transient(),
            // The platform writes a newer one in time; certificate and key are read one after the other.
            PrincipalError::TokenEnded(_) | PrincipalError::Certificate(_) | PrincipalError::Slow(_) => true,
            _ => false,
        }
    }

    /// One sentence: what to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            PrincipalError::Call(error) => error.remedy(),
            PrincipalError::Kind(_) | PrincipalError::Settings(_) => "set the variable so, or unset it",
            PrincipalError::Missing(name) if name.starts_with("OCI_RESOURCE") => {
                "this works only inside an Oracle function, whose dynamic group has a policy"
            }
            PrincipalError::Missing(_)
            | PrincipalError::File { .. }
            | PrincipalError::ConfigLine { .. }
            | PrincipalError::NoProfile { .. }
            | PrincipalError::NoKey { .. }
            | PrincipalError::Ocid { .. }
            | PrincipalError::Fingerprint(_) => {
                "copy the configuration preview of the API key in the console to ~/.oci/config, with `key_file` set"
            }
            PrincipalError::Signing(_) => "use the key that belongs to the API key's fingerprint",
            PrincipalError::ResourceVersion(_) | PrincipalError::Token(_) | PrincipalError::TokenEnded(_) => {
                "run it as an OCI function; if it is one, deploy it again"
            }
            PrincipalError::Slow(_) => {
                "check that the instance reaches its metadata (169.254.169.254) and auth.<region>.oraclecloud.com"
            }
            PrincipalError::Certificate(_) => {
                "it comes from the instance's metadata: reboot the instance if it stays so"
            }
        }
    }
}
