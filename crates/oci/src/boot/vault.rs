//! One secret of the Vault: written only if it changes, whatever state it is in, and by one master only.
//!
//! The order makes it safe: read the secret's version, then [`Lease::confirm`], then write on condition that the
//! version is still that. A master that was held up and lost its lease meanwhile either fails to confirm, or writes
//! before its successor comes to this secret, or finds the version changed.

use std::time::Duration;

use auth::Secret;

use super::api::{Api, ApiError, SecretHead, SecretState};
use super::error::BootError;
use super::host::Host;
use super::lease::Lease;
use super::run::Boot;
use super::wait::{Awaited, Wait};

/// Oracle keeps 30 versions of a secret and refuses the next. Old ones go when as many are left as this.
const PRUNE_FROM: usize = 20;
/// This many of the old ones stay.
const KEEP: usize = 5;

/// What one secret's write may take: one that was pending deletion settles for a minute or two.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Said of a secret that is there without a value for us.
pub(super) const UNREADABLE: &str =
    "it is there, but its value cannot be read yet; the policy must allow to read secret bundles";

/// Why work under a lease stopped.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Another master has the lease: see what it does.
    LeaseLost,
    Failed(BootError),
}

impl<E: Into<BootError>> From<E> for Stopped {
    fn from(error: E) -> Stopped {
        Stopped::Failed(error.into())
    }
}

enum NotYet {
    State(String),
    Error(ApiError),
}

impl From<ApiError> for NotYet {
    fn from(error: ApiError) -> NotYet {
        NotYet::Error(error)
    }
}

impl<A: Api, H: Host> Boot<'_, A, H> {
    /// Makes sure that the secret has the value; returns the version that has it. `key`: what a new one is
    /// encrypted with. Without a lease: a secret that this master alone writes.
    pub(super) async fn put_secret(
        &mut self,
        mut lease: Option<&mut Lease>,
        key: &str,
        name: &str,
        value: &Secret,
    ) -> Result<u64, Stopped> {
        let awaited = Awaited {
            what: format!("the Vault to take the secret {name}"),
            patience: PATIENCE,
            check: format!("the state of {name} in the console under Vault, Secrets"),
        };
        let mut wait = Wait::new(self.host.now(), awaited);
        loop {
            match self.attempt(lease.as_deref_mut(), key, name, value).await? {
                Ok(version) => {
                    wait.over(&mut self.run).await?;
                    return Ok(version);
                }
                Err(NotYet::State(state)) => wait.again(&mut self.run, &state).await?,
                Err(NotYet::Error(error)) => wait.after(&mut self.run, error).await?,
            }
        }
    }

    async fn attempt(
        &self,
        lease: Option<&mut Lease>,
        key: &str,
        name: &str,
        value: &Secret,
    ) -> Result<Result<u64, NotYet>, Stopped> {
        let head = match self.api.find_secret(&self.id.place, name).await {
            Ok(head) => head,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Some(lease) = lease {
            match lease.confirm(self.api, self.host, &self.id.place).await {
                Ok(true) => {}
                Ok(false) => return Err(Stopped::LeaseLost),
                Err(error) => return Ok(Err(error.into())),
            }
        }
        Ok(self.write_secret(head, key, name, value).await)
    }

    async fn write_secret(
        &self,
        head: Option<SecretHead>,
        key: &str,
        name: &str,
        value: &Secret,
    ) -> Result<u64, NotYet> {
        let place = &self.id.place;
        let Some(head) = head else {
            return Ok(self.api.create_secret(place, key, name, value).await?);
        };
        match &head.state {
            SecretState::Active => {
                // Unread, it is not written: a value may be there that others use already.
                let Some(current) = self.api.read_secret(place, name).await? else {
                    return Err(NotYet::State(UNREADABLE.to_owned()));
                };
                if current.value == *value {
                    return Ok(current.version);
                }
                self.prune(&head.id, name).await?;
                Ok(self.api.update_secret(&head.id, &head.etag, value).await?)
            }
            SecretState::PendingDeletion => {
                self.restore(&head.id, name).await?;
                Err(NotYet::State("it comes back from pending deletion".to_owned()))
            }
            SecretState::Moving(state) => Err(NotYet::State(format!("it is {state}"))),
        }
    }

    /// Makes room for a version.
    async fn prune(&self, id: &str, name: &str) -> Result<(), ApiError> {
        let versions = self.api.secret_versions(id).await?;
        if versions.len() < PRUNE_FROM {
            return Ok(());
        }
        let mut old: Vec<u64> =
            versions.iter().filter(|version| version.deprecated).map(|v| v.number).collect();
        old.sort_unstable();
        let surplus = old.len().saturating_sub(KEEP);
        if surplus > 0 {
            let line = format!("{surplus} old versions of the secret {name} are deleted: the Vault keeps 30");
            self.step_done(line);
        }
        for number in &old[..surplus] {
            self.api.delete_secret_version(id, *number).await?;
        }
        Ok(())
    }

    pub(super) async fn restore(&self, id: &str, name: &str) -> Result<(), ApiError> {
        self.api.cancel_secret_deletion(id).await?;
        self.step_done(format!("the secret {name} was pending deletion; it is restored"));
        Ok(())
    }
}
