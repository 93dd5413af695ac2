//! The entries in memory, as of the last durable commit. All reads are served from here: they are fast and do
//! not depend on a disk that is slow, full or gone.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::{Entry, Error, Event, Range};

/// Most bytes of keys and values. A machine's rooms, users and recordings are a few megabytes; this bounds the
/// memory, as its quota does in etcd.
pub(crate) const MAX_BYTES: usize = 256 * 1024 * 1024;

/// See the module.
#[derive(Default)]
pub(crate) struct Mirror {
    entries: BTreeMap<String, Entry>,
    revision: u64,
    bytes: usize,
}

impl Mirror {
    pub(crate) fn new(entries: Vec<Entry>, revision: u64) -> Mirror {
        let mut mirror = Mirror { revision, ..Mirror::default() };
        entries.into_iter().for_each(|entry| mirror.put(entry));
        mirror
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).cloned()
    }

    pub(crate) fn range(&self, prefix: &str, limit: usize, start_after: Option<&str>) -> Range {
        let start = match start_after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut found = self
            .entries
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.key.starts_with(prefix));
        let entries = found.by_ref().take(limit).cloned().collect();
        Range { entries, revision: self.revision, more: found.next().is_some() }
    }

    /// Follows one commit.
    pub(crate) fn apply(&mut self, revision: u64, events: &[Event]) {
        for event in events {
            match event {
                Event::Put(entry) => self.put(entry.clone()),
                Event::Delete { key, .. } => {
                    self.bytes -= self.entries.remove(key).as_ref().map_or(0, size);
                }
            }
        }
        self.revision = revision;
    }

    /// Whether as much again fits in. Deletions, which bring nothing, always do.
    pub(crate) fn check_space(&self, bytes: usize) -> Result<(), Error> {
        match bytes > 0 && self.bytes.saturating_add(bytes) > MAX_BYTES {
            true => {
                Err(Error::DiskFull { reason: format!("{} of {MAX_BYTES} bytes are in use", self.bytes) })
            }
            false => Ok(()),
        }
    }

    fn put(&mut self, entry: Entry) {
        self.bytes += size(&entry);
        self.bytes -= self.entries.insert(entry.key.clone(), entry).as_ref().map_or(0, size);
    }
}

fn size(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, bytes: usize) -> Event {
        Event::Put(Entry { key: key.into(), value: vec![0; bytes].into(), mod_revision: 2, lease: None })
    }

    #[test]
    fn space_is_given_back_by_overwriting_and_deleting() {
        let mut mirror = Mirror::default();
        mirror.apply(2, &[put("a", MAX_BYTES / 2), put("b", MAX_BYTES / 2 - 2)]);
        assert!(mirror.check_space(0).is_ok());
        assert!(matches!(mirror.check_space(1), Err(Error::DiskFull { .. })));
        mirror.apply(3, &[put("a", 99)]);
        mirror.apply(4, &[Event::Delete { key: "b".into(), mod_revision: 4 }]);
        assert_eq!(mirror.bytes, 100);
    }
}
