//! Why boot stopped. Each text says what to do; none holds a secret's value.

use super::api::ApiError;
use super::host::HostError;
use super::identity::IdentityError;
use super::secrets::BadSecret;

/// What ends a run of boot. The next run goes on from where this one stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("waited {seconds} s for {what} in vain: {state}; check: {check}")]
    Deadline { what: String, seconds: u64, state: String, check: String },
    #[error("{doing}: {error}")]
    Cloud { doing: String, error: ApiError },
    #[error("{0}; the last good configuration stays as it is")]
    Secret(#[from] BadSecret),
    #[error("{variable}: {problem}; correct the Terraform variable and apply again")]
    Variable { variable: &'static str, problem: String },
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(
        "the Vault's SALA_STORE_ROOT_PASSWORD is not the one that the store was made with; make its former version current again"
    )]
    StoreRoot,
}
