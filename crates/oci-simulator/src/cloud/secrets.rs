//! Secrets of a vault and their versions.
//!
//! A write shows in lists and bundles a moment later, versions are limited, and a secret whose deletion is scheduled
//! keeps its name and cannot be read until that is cancelled.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::Refusal;
use crate::ocid;

use super::Now;

/// Versions of a secret that are not to be deleted.
pub(crate) const MAX_VERSIONS: usize = 30;
/// Bytes of a content's base64.
pub(crate) const MAX_CONTENT_BYTES: usize = 25_600;
/// Secrets in the cloud.
const MAX_SECRETS: usize = 5000;
/// A deletion lies that far ahead at least, and at most.
pub(crate) const DELETION_DAYS: (i64, i64) = (1, 30);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Creating { until: Duration },
    Active,
    Updating { until: Duration },
    PendingDeletion { at: Duration, at_unix_ms: i64 },
    CancellingDeletion { until: Duration },
    Deleted,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Creating { .. } => "CREATING",
            State::Active => "ACTIVE",
            State::Updating { .. } => "UPDATING",
            State::PendingDeletion { .. } => "PENDING_DELETION",
            State::CancellingDeletion { .. } => "CANCELLING_DELETION",
            State::Deleted => "DELETED",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) number: u64,
    pub(crate) name: Option<String>,
    /// Base64.
    content: String,
    pub(crate) created_unix_ms: i64,
    /// Shows from then on.
    visible_from: Duration,
    /// Is the current one from then on, until another is.
    current_from: Option<Duration>,
    pub(crate) deletion_unix_ms: Option<i64>,
}

impl Version {
    pub(crate) fn content(&self) -> &str {
        &self.content
    }
}

/// Secrets do not show what they hold.
pub(crate) struct Secret {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) vault: String,
    pub(crate) key: String,
    pub(crate) compartment: String,
    pub(crate) description: Option<String>,
    pub(crate) freeform_tags: BTreeMap<String, String>,
    pub(crate) state: State,
    pub(crate) created_unix_ms: i64,
    pub(crate) etag: String,
    visible_from: Duration,
    versions: Vec<Version>,
}

/// What an update or a creation brings.
pub(crate) struct Content {
    pub(crate) base64: String,
    pub(crate) name: Option<String>,
    pub(crate) is_current: bool,
}

impl Secret {
    /// Those that show.
    pub(crate) fn versions(&self, now: Duration) -> impl Iterator<Item = &Version> {
        self.versions.iter().filter(move |version| version.visible_from <= now)
    }

    /// The version that counts now.
    pub(crate) fn current(&self, now: Duration) -> Option<&Version> {
        let since = |version: &&Version| version.current_from.filter(|from| *from <= now);
        self.versions.iter().filter(|version| since(version).is_some()).max_by_key(|version| since(version))
    }

    /// As bundles and lists of versions show them.
    pub(crate) fn stages(&self, version: &Version, now: Duration) -> Vec<&'static str> {
        let mut stages = Vec::new();
        let latest = self.versions(now).map(|version| version.number).max();
        let mut formerly: Vec<(Duration, u64)> = self
            .versions
            .iter()
            .filter_map(|version| Some((version.current_from.filter(|from| *from <= now)?, version.number)))
            .collect();
        formerly.sort_unstable();
        let rank = formerly.iter().rev().position(|(_, number)| *number == version.number);
        match rank {
            Some(0) => stages.push("CURRENT"),
            Some(1) => stages.push("PREVIOUS"),
            Some(_) => stages.push("DEPRECATED"),
            None => stages.push("PENDING"),
        }
        if latest == Some(version.number) {
            stages.push("LATEST");
        }
        stages
    }

    fn tick(&mut self, now: Duration) {
        self.state = match self.state {
            State::Creating { until } | State::Updating { until } | State::CancellingDeletion { until }
                if until <= now =>
            {
                State::Active
            }
            State::PendingDeletion { at, .. } if at <= now => {
                self.versions.clear();
                State::Deleted
            }
            state => state,
        };
    }

    pub(crate) fn is_visible(&self, now: Duration) -> bool {
        self.visible_from <= now && self.state != State::Deleted
    }

    /// Whether bundles can be had.
    pub(crate) fn is_readable(&self, now: Duration) -> bool {
        let is_there = !matches!(
            self.state,
            State::PendingDeletion { .. } | State::CancellingDeletion { .. } | State::Deleted
        );
        self.visible_from <= now && is_there
    }

    /// Adds a version.
    ///
    /// # Errors
    /// 409 in the middle of something else, 400 when there are too many versions.
    pub(crate) fn update(&mut self, content: Content, now: Now, pace: Pace) -> Result<(), Refusal> {
        self.must_be_active()?;
        let kept = self.versions.iter().filter(|version| version.deletion_unix_ms.is_none()).count();
        if kept >= MAX_VERSIONS {
            let text = format!("The secret has {MAX_VERSIONS} versions already, which is the limit.");
            return Err(Refusal::new(400, "LimitExceeded", text));
        }
        if content.name.is_some() && self.versions.iter().any(|version| version.name == content.name) {
            return Err(Refusal::new(409, "Conflict", "Another version of the secret has that name."));
        }
        self.push(content, now, pace);
        self.state = State::Updating { until: now.cloud + pace.working };
        self.etag = ocid::uuid();
        Ok(())
    }

    fn push(&mut self, content: Content, now: Now, pace: Pace) {
        let visible_from = now.cloud + pace.visible;
        self.versions.push(Version {
            number: self.versions.last().map_or(1, |last| last.number + 1),
            name: content.name,
            content: content.base64,
            created_unix_ms: now.unix_ms,
            visible_from,
            current_from: content.is_current.then_some(visible_from),
            deletion_unix_ms: None,
        });
    }

    /// Makes an existing version the current one.
    ///
    /// # Errors
    /// 409 in the middle of something else, 404 when there is no such version.
    pub(crate) fn promote(&mut self, number: u64, now: Now, pace: Pace) -> Result<(), Refusal> {
        self.must_be_active()?;
        let version = self.versions.iter_mut().find(|version| version.number == number);
        let version =
            version.filter(|version| version.deletion_unix_ms.is_none()).ok_or_else(Refusal::not_found)?;
        version.current_from = Some(now.cloud + pace.visible);
        self.state = State::Updating { until: now.cloud + pace.working };
        self.etag = ocid::uuid();
        Ok(())
    }

    fn must_be_active(&self) -> Result<(), Refusal> {
        if self.state == State::Active {
            return Ok(());
        }
        let text = format!("The secret is {}, but must be ACTIVE.", self.state.name());
        Err(Refusal::incorrect_state(text))
    }

    /// # Errors
    /// 409 unless it is active, 400 for a date out of bounds.
    pub(crate) fn schedule_deletion(&mut self, at_unix_ms: Option<i64>, now: Now) -> Result<(), Refusal> {
        const DAY_MS: i64 = 86_400_000;
        self.must_be_active()?;
        let (least, most) = (now.unix_ms + DELETION_DAYS.0 * DAY_MS, now.unix_ms + DELETION_DAYS.1 * DAY_MS);
        let at_unix_ms = at_unix_ms.unwrap_or(most);
        // A minute for the way of the request.
        if at_unix_ms < least - 60_000 || at_unix_ms > most + 60_000 {
            return Err(Refusal::invalid("timeOfDeletion must lie between 1 and 30 days ahead."));
        }
        let ahead = Duration::from_millis((at_unix_ms - now.unix_ms).max(0) as u64);
        self.state = State::PendingDeletion { at: now.cloud + ahead, at_unix_ms };
        self.etag = ocid::uuid();
        Ok(())
    }

    /// # Errors
    /// 409 unless a deletion is pending.
    pub(crate) fn cancel_deletion(&mut self, now: Now, pace: Pace) -> Result<(), Refusal> {
        if !matches!(self.state, State::PendingDeletion { .. }) {
            let text = format!("The secret is {}, but must be PENDING_DELETION.", self.state.name());
            return Err(Refusal::incorrect_state(text));
        }
        self.state = State::CancellingDeletion { until: now.cloud + pace.working };
        self.etag = ocid::uuid();
        Ok(())
    }

    /// # Errors
    /// 409 for the current version, 404 when there is no such one.
    pub(crate) fn schedule_version_deletion(&mut self, number: u64, now: Now) -> Result<(), Refusal> {
        let current = self.current(now.cloud).map(|version| version.number);
        let version = self.versions.iter_mut().find(|version| version.number == number);
        let version = version.ok_or_else(Refusal::not_found)?;
        if current == Some(number) {
            return Err(Refusal::incorrect_state("The current version of a secret cannot be deleted."));
        }
        version.deletion_unix_ms = Some(now.unix_ms + DELETION_DAYS.1 * 86_400_000);
        self.etag = ocid::uuid();
        Ok(())
    }
}

/// How long the service takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Until a state has passed.
    pub(crate) working: Duration,
    /// Until a write shows.
    pub(crate) visible: Duration,
}

/// A secret to make.
pub(crate) struct NewSecret {
    pub(crate) name: String,
    pub(crate) vault: String,
    pub(crate) key: String,
    pub(crate) compartment: String,
    pub(crate) description: Option<String>,
    pub(crate) freeform_tags: BTreeMap<String, String>,
    pub(crate) content: Content,
}

/// All of them, by OCID.
#[derive(Default)]
pub(crate) struct Secrets {
    pub(crate) all: BTreeMap<String, Secret>,
}

impl Secrets {
    /// Gives its OCID.
    ///
    /// # Errors
    /// 409 when the vault has one of that name, be it on its way out; 400 when there are too many.
    pub(crate) fn create(
        &mut self,
        new: NewSecret,
        region_key: &str,
        now: Now,
        pace: Pace,
    ) -> Result<String, Refusal> {
        let mut others = self.all.values().filter(|secret| secret.state != State::Deleted);
        if others.any(|secret| secret.vault == new.vault && secret.name == new.name) {
            let text = format!("The secret with name {} already exists in the vault.", new.name);
            return Err(Refusal::new(409, "Conflict", text));
        }
        if self.all.len() >= MAX_SECRETS {
            return Err(Refusal::new(400, "LimitExceeded", "The simulated cloud is full of secrets."));
        }
        let id = ocid::fresh("vaultsecret", region_key);
        let mut secret = Secret {
            id: id.clone(),
            name: new.name,
            vault: new.vault,
            key: new.key,
            compartment: new.compartment,
            description: new.description,
            freeform_tags: new.freeform_tags,
            state: State::Creating { until: now.cloud + pace.working },
            created_unix_ms: now.unix_ms,
            etag: ocid::uuid(),
            visible_from: now.cloud + pace.visible,
            versions: Vec::new(),
        };
        secret.push(Content { is_current: true, ..new.content }, now, pace);
        self.all.insert(id.clone(), secret);
        Ok(id)
    }

    pub(crate) fn by_name(&self, vault: &str, name: &str) -> Option<&Secret> {
        let mut all = self.all.values().filter(|secret| secret.state != State::Deleted);
        all.find(|secret| secret.vault == vault && secret.name == name)
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        self.all.values_mut().for_each(|secret| secret.tick(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { working: Duration::from_secs(2), visible: Duration::from_secs(1) };

    fn at(seconds: u64) -> Now {
        Now { cloud: Duration::from_secs(seconds), unix_ms: seconds as i64 * 1000 }
    }

    fn content(text: &str) -> Content {
        Content { base64: text.into(), name: None, is_current: true }
    }

    fn create(secrets: &mut Secrets, name: &str) -> Result<String, u16> {
        let new = NewSecret {
            name: name.into(),
            vault: "v".into(),
            key: "k".into(),
            compartment: "c".into(),
            description: None,
            freeform_tags: BTreeMap::new(),
            content: content("b25l"),
        };
        secrets.create(new, "fra", at(0), PACE).map_err(|refusal| refusal.status)
    }

    #[test]
    fn an_update_shows_after_a_moment_and_moves_the_stages() {
        let mut secrets = Secrets::default();
        let id = create(&mut secrets, "S").unwrap();
        let read = |secrets: &Secrets, seconds| {
            secrets.all[&id].current(at(seconds).cloud).map(|version| version.content().to_owned())
        };
        assert_eq!(read(&secrets, 0), None, "not even the first shows at once");
        assert_eq!(read(&secrets, 1).as_deref(), Some("b25l"));
        let secret = secrets.all.get_mut(&id).unwrap();
        assert_eq!(
            secret.update(content("dHdv"), at(1), PACE).unwrap_err().status,
            409,
            "it is being created"
        );
        secrets.tick(at(2).cloud);
        secrets.all.get_mut(&id).unwrap().update(content("dHdv"), at(10), PACE).unwrap();
        assert_eq!(read(&secrets, 10).as_deref(), Some("b25l"));
        assert_eq!(read(&secrets, 11).as_deref(), Some("dHdv"));
        let secret = &secrets.all[&id];
        let stages: Vec<_> =
            secret.versions(at(11).cloud).map(|version| secret.stages(version, at(11).cloud)).collect();
        assert_eq!(stages, [vec!["PREVIOUS"], vec!["CURRENT", "LATEST"]]);
    }

    #[test]
    fn the_thirty_first_version_is_refused() {
        let mut secrets = Secrets::default();
        let id = create(&mut secrets, "S").unwrap();
        for n in 1..MAX_VERSIONS as u64 {
            secrets.tick(at(n * 10).cloud);
            secrets.all.get_mut(&id).unwrap().update(content("eA=="), at(n * 10), PACE).unwrap();
        }
        secrets.tick(at(1000).cloud);
        let secret = secrets.all.get_mut(&id).unwrap();
        assert_eq!(secret.update(content("eA=="), at(1000), PACE).unwrap_err().code, "LimitExceeded");
        secret.schedule_version_deletion(1, at(1000)).unwrap();
        secret.update(content("eA=="), at(1000), PACE).unwrap();
    }

    #[test]
    fn a_secret_on_its_way_out_keeps_its_name_and_comes_back() {
        let mut secrets = Secrets::default();
        let id = create(&mut secrets, "S").unwrap();
        secrets.tick(at(5).cloud);
        let secret = secrets.all.get_mut(&id).unwrap();
        secret.schedule_deletion(None, at(5)).unwrap();
        assert!(!secret.is_readable(at(5).cloud));
        assert_eq!(create(&mut secrets, "S"), Err(409));
        let secret = secrets.all.get_mut(&id).unwrap();
        secret.cancel_deletion(at(6), PACE).unwrap();
        assert!(!secret.is_readable(at(6).cloud));
        secrets.tick(at(8).cloud);
        assert!(secrets.all[&id].is_readable(at(8).cloud));
    }

    #[test]
    fn a_deletion_happens_on_its_day_and_frees_the_name() {
        let mut secrets = Secrets::default();
        let id = create(&mut secrets, "S").unwrap();
        secrets.tick(at(5).cloud);
        let secret = secrets.all.get_mut(&id).unwrap();
        assert_eq!(secret.schedule_deletion(Some(60_000), at(5)).unwrap_err().status, 400);
        secret.schedule_deletion(Some(86_405_000), at(5)).unwrap();
        secrets.tick(at(86_405).cloud);
        assert_eq!(secrets.all[&id].state, State::Deleted);
        assert!(create(&mut secrets, "S").is_ok());
    }
}
