//! What one master reads of the shared records: a snapshot of the store, then its changes.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use store::{Batch, Entry, Event};

use super::records::{
    ACCOUNT, AccountRecord, AttemptsRecord, CERTIFICATES, CHALLENGES, CertificateRecord, ISSUER,
    IssuerRecord, OrderRecord, SELF_SIGNED, attempts_key, certificate_key, order_key,
};

/// Challenges under way: one for each name of a certificate. More than this is a fault; the rest is not answered.
const MAX_CHALLENGES: usize = 200;

/// A record, and which change of the store wrote it.
#[derive(Clone, Debug)]
pub(super) struct Versioned<T> {
    pub(super) record: T,
    pub(super) revision: u64,
}

/// See the module. Of certificates, orders and attempts it holds those of one name.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// None for a master that has no ACME.
    name: Option<String>,
    /// Whether the store has been read.
    pub(super) read: bool,
    pub(super) certificate: Option<Versioned<CertificateRecord>>,
    pub(super) self_signed: Option<Versioned<CertificateRecord>>,
    pub(super) account: Option<Versioned<AccountRecord>>,
    pub(super) order: Option<Versioned<OrderRecord>>,
    pub(super) attempts: Option<Versioned<AttemptsRecord>>,
    pub(super) issuer: Option<Versioned<IssuerRecord>>,
    challenges: HashMap<String, String>,
    /// Certificates of other names, with the time they end.
    others: HashMap<String, i64>,
}

impl View {
    /// Of a master that wants a certificate whose first name is `name`.
    pub(super) fn new(name: Option<String>) -> View {
        View { name, ..View::default() }
    }

    /// Everything as it is now.
    pub(super) fn snapshot(&mut self, entries: &[Entry]) {
        *self = View { read: true, ..View::new(self.name.take()) };
        for entry in entries {
            self.put(entry);
        }
    }

    /// What has changed.
    pub(super) fn apply(&mut self, batch: &Batch) {
        for event in &batch.events {
            match event {
                Event::Put(entry) => self.put(entry),
                Event::Delete { key, .. } => self.delete(key),
            }
        }
    }

    /// The answer to the challenge of this token.
    pub(super) fn challenge(&self, token: &str) -> Option<&str> {
        self.challenges.get(token).map(String::as_str)
    }

    /// Keys of certificates that nobody renewed.
    pub(super) fn expired(&self, now_ms: i64) -> Vec<String> {
        self.others.iter().filter(|(_, ends)| **ends < now_ms).map(|(key, _)| key.clone()).collect()
    }

    fn slot(&mut self, key: &str) -> Slot<'_> {
        let ours = |make: fn(&str) -> String| self.name.as_deref().is_some_and(|name| key == make(name));
        match key {
            ACCOUNT => Slot::Account(&mut self.account),
            ISSUER => Slot::Issuer(&mut self.issuer),
            SELF_SIGNED => Slot::Certificate(&mut self.self_signed),
            _ if ours(certificate_key) => Slot::Certificate(&mut self.certificate),
            _ if ours(order_key) => Slot::Order(&mut self.order),
            _ if ours(attempts_key) => Slot::Attempts(&mut self.attempts),
            _ => match key.strip_prefix(CHALLENGES) {
                Some(token) => Slot::Challenge(&mut self.challenges, token.to_owned()),
                None if key.starts_with(CERTIFICATES) => Slot::Other(&mut self.others),
                None => Slot::None,
            },
        }
    }

    fn put(&mut self, entry: &Entry) {
        match self.slot(&entry.key) {
            Slot::Account(slot) => *slot = read(entry),
            Slot::Issuer(slot) => *slot = read(entry),
            Slot::Certificate(slot) => *slot = read(entry),
            Slot::Order(slot) => *slot = read(entry),
            Slot::Attempts(slot) => *slot = read(entry),
            Slot::Challenge(challenges, token) => {
                if let Ok(answer) = String::from_utf8(entry.value.to_vec())
                    && challenges.len() < MAX_CHALLENGES
                {
                    challenges.insert(token, answer);
                }
            }
            Slot::Other(others) => {
                if let Some(certificate) = read::<CertificateRecord>(entry)
                    && others.len() < MAX_CHALLENGES
                {
                    others.insert(entry.key.clone(), certificate.record.not_after_ms);
                }
            }
            Slot::None => {}
        }
    }

    fn delete(&mut self, key: &str) {
        match self.slot(key) {
            Slot::Account(slot) => *slot = None,
            Slot::Issuer(slot) => *slot = None,
            Slot::Certificate(slot) => *slot = None,
            Slot::Order(slot) => *slot = None,
            Slot::Attempts(slot) => *slot = None,
            Slot::Challenge(challenges, token) => drop(challenges.remove(&token)),
            Slot::Other(others) => drop(others.remove(key)),
            Slot::None => {}
        }
    }
}

/// Where a key's record goes.
enum Slot<'a> {
    Account(&'a mut Option<Versioned<AccountRecord>>),
    Issuer(&'a mut Option<Versioned<IssuerRecord>>),
    Certificate(&'a mut Option<Versioned<CertificateRecord>>),
    Order(&'a mut Option<Versioned<OrderRecord>>),
    Attempts(&'a mut Option<Versioned<AttemptsRecord>>),
    Challenge(&'a mut HashMap<String, String>, String),
    Other(&'a mut HashMap<String, i64>),
    None,
}

/// A record that cannot be read counts as absent: it is made anew.
fn read<T: DeserializeOwned>(entry: &Entry) -> Option<Versioned<T>> {
    match serde_json::from_slice(&entry.value) {
        Ok(record) => Some(Versioned { record, revision: entry.mod_revision }),
        Err(error) => {
            // Where and what kind; never the text, which may be a key.
            tracing::error!(
                key = %entry.key, line = error.line(), column = error.column(), kind = ?error.classify(),
                "a certificate record in the store is not readable and counts as absent"
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::records::{Wanted, challenge_key, to_bytes};
    use super::*;

    fn entry(key: impl Into<String>, value: Vec<u8>, mod_revision: u64) -> Entry {
        Entry { key: key.into(), value: value.into(), mod_revision, lease: None }
    }

    fn certificate(name: &str, not_after_ms: i64) -> Entry {
        let wanted = Wanted { names: vec![name.into()], directory: "https://ca".into(), profile: None };
        let record = CertificateRecord {
            wanted,
            chain: String::new(),
            key: "k".into(),
            issued_at_ms: 0,
            not_after_ms,
            renew_at_ms: 0,
            ask_at_ms: None,
        };
        entry(certificate_key(name), to_bytes(&record), 5)
    }

    #[test]
    fn snapshot_and_changes_give_the_same_as_the_store_has() {
        let mut view = View::new(Some("a.example".into()));
        view.snapshot(&[certificate("a.example", 9), entry(challenge_key("t1"), b"t1.x".to_vec(), 6)]);
        assert!(view.read && view.certificate.as_ref().is_some_and(|c| c.revision == 5));
        assert_eq!((view.challenge("t1"), view.challenge("t2")), (Some("t1.x"), None));
        let events = vec![
            Event::Put(entry(challenge_key("t2"), b"t2.x".to_vec(), 7)),
            Event::Delete { key: challenge_key("t1"), mod_revision: 7 },
            Event::Delete { key: certificate_key("a.example"), mod_revision: 7 },
        ];
        view.apply(&Batch { revision: 7, events });
        assert_eq!((view.challenge("t1"), view.challenge("t2")), (None, Some("t2.x")));
        assert!(view.certificate.is_none());
        view.snapshot(&[]);
        assert!(view.read && view.challenge("t2").is_none());
    }

    #[test]
    fn what_others_left_behind_is_found_once_it_has_expired() {
        let mut view = View::new(Some("a.example".into()));
        view.snapshot(&[
            certificate("a.example", 1),
            certificate("old.example", 5),
            certificate("b.example", 99),
        ]);
        assert_eq!(view.expired(50), [certificate_key("old.example")]);
    }

    #[test]
    fn nonsense_in_the_store_counts_as_absent() {
        let mut view = View::new(Some("a.example".into()));
        view.snapshot(&[
            entry(certificate_key("a.example"), b"{".to_vec(), 1),
            entry(ACCOUNT, vec![0xff], 1),
        ]);
        assert!(view.read && view.certificate.is_none() && view.account.is_none());
    }
}
