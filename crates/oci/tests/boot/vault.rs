//! A model of the Vault: versions and their limit, names that pending deletions hold, reads that lag behind writes.

use std::collections::BTreeMap;

use oci::boot::{ApiError, ETag, SecretHead, SecretState, SecretValue, Version};

/// Oracle's limit.
const MAX_VERSIONS: usize = 30;

#[derive(Clone, Debug)]
pub(crate) struct SimVersion {
    pub(crate) number: u64,
    pub(crate) value: String,
    pub(crate) written_ms: u64,
    pub(crate) deleted: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum SimState {
    Active,
    PendingDeletion,
    /// Until then it is in transition, and then active.
    Moving {
        until_ms: u64,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct SimSecret {
    pub(crate) state: SimState,
    pub(crate) versions: Vec<SimVersion>,
    pub(crate) etag: u64,
    /// Active on the surface, but not writable until then.
    pub(crate) settles_ms: u64,
}

#[derive(Default)]
pub(crate) struct SimVault {
    pub(crate) secrets: BTreeMap<String, SimSecret>,
    pub(crate) writes: u64,
}

impl SimVault {
    /// A secret with so many versions, the last of which has the value.
    pub(crate) fn seed(&mut self, name: &str, value: &str, versions: u64, state: SimState) {
        let version = |number| SimVersion {
            number,
            value: if number == versions { value.to_owned() } else { format!("old-{number}") },
            written_ms: 0,
            deleted: false,
        };
        let versions = (1..=versions).map(version).collect();
        self.secrets.insert(name.to_owned(), SimSecret { state, versions, etag: 1, settles_ms: 0 });
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let secret = self.secrets.get(name)?;
        Some(secret.versions.last()?.value.as_str())
    }

    /// A new version as the operator makes it in the console.
    pub(crate) fn edit(&mut self, name: &str, value: &str, now_ms: u64) {
        let secret = self.secrets.get_mut(name).unwrap();
        secret.push(value, now_ms);
    }

    pub(crate) fn find(&mut self, name: &str, now_ms: u64) -> Option<SecretHead> {
        let secret = self.secrets.get_mut(name)?;
        secret.settle(now_ms);
        let state = match secret.state {
            SimState::Active => SecretState::Active,
            SimState::PendingDeletion => SecretState::PendingDeletion,
            SimState::Moving { .. } => SecretState::Moving("CANCELLING_DELETION".to_owned()),
        };
        Some(SecretHead { id: name.to_owned(), state, etag: ETag(secret.etag.to_string()) })
    }

    pub(crate) fn create(&mut self, name: &str, value: &str, now_ms: u64) -> Result<u64, ApiError> {
        if self.secrets.contains_key(name) {
            return Err(ApiError::Conflict(format!("409: the name {name} is taken")));
        }
        self.writes += 1;
        let mut secret = SimSecret { state: SimState::Active, versions: Vec::new(), etag: 0, settles_ms: 0 };
        secret.push(value, now_ms);
        self.secrets.insert(name.to_owned(), secret);
        Ok(1)
    }

    pub(crate) fn update(
        &mut self,
        id: &str,
        etag: &ETag,
        value: &str,
        now_ms: u64,
    ) -> Result<u64, ApiError> {
        let secret = self.secrets.get_mut(id).ok_or_else(|| ApiError::Denied("404".to_owned()))?;
        secret.settle(now_ms);
        if !matches!(secret.state, SimState::Active) || now_ms < secret.settles_ms {
            return Err(ApiError::Conflict("409 IncorrectState".to_owned()));
        }
        if etag.0 != secret.etag.to_string() {
            return Err(ApiError::Conflict("412 NoEtagMatch".to_owned()));
        }
        if secret.versions.iter().filter(|version| !version.deleted).count() >= MAX_VERSIONS {
            return Err(ApiError::Refused("400 LimitExceeded: 30 versions".to_owned()));
        }
        self.writes += 1;
        Ok(secret.push(value, now_ms))
    }

    pub(crate) fn cancel_deletion(&mut self, id: &str, now_ms: u64, takes_ms: u64) -> Result<(), ApiError> {
        let secret = self.secrets.get_mut(id).ok_or_else(|| ApiError::Denied("404".to_owned()))?;
        match secret.state {
            SimState::PendingDeletion => {
                secret.state = SimState::Moving { until_ms: now_ms + takes_ms };
                secret.settles_ms = now_ms + 2 * takes_ms;
                secret.etag += 1;
                Ok(())
            }
            _ => Err(ApiError::Conflict("409 IncorrectState".to_owned())),
        }
    }

    pub(crate) fn versions(&self, id: &str) -> Vec<Version> {
        let versions = &self.secrets[id].versions;
        let newest = versions.len().saturating_sub(2);
        let version = |(index, version): (usize, &SimVersion)| Version {
            number: version.number,
            deprecated: index < newest && !version.deleted,
        };
        versions.iter().enumerate().map(version).collect()
    }

    pub(crate) fn delete_version(&mut self, id: &str, number: u64) -> Result<(), ApiError> {
        let secret = self.secrets.get_mut(id).unwrap();
        let newest = secret.versions.len().saturating_sub(2);
        let index = secret.versions.iter().position(|version| version.number == number).unwrap();
        assert!(index < newest, "a version of {id} that is in use was deleted");
        secret.versions[index].deleted = true;
        secret.etag += 1;
        Ok(())
    }

    /// What a reader sees whose view lags by `lag_ms`.
    pub(crate) fn read(&mut self, name: &str, now_ms: u64, lag_ms: u64) -> Option<SecretValue> {
        let secret = self.secrets.get_mut(name)?;
        secret.settle(now_ms);
        if !matches!(secret.state, SimState::Active) {
            return None;
        }
        let seen = secret.versions.iter().rev().find(|version| version.written_ms + lag_ms <= now_ms)?;
        Some(SecretValue { value: seen.value.as_str().into(), version: seen.number })
    }
}

impl SimSecret {
    fn push(&mut self, value: &str, written_ms: u64) -> u64 {
        let number = self.versions.last().map_or(1, |version| version.number + 1);
        self.versions.push(SimVersion { number, value: value.to_owned(), written_ms, deleted: false });
        self.etag += 1;
        number
    }

    fn settle(&mut self, now_ms: u64) {
        if let SimState::Moving { until_ms } = self.state
            && now_ms >= until_ms
        {
            self.state = SimState::Active;
        }
    }
}
