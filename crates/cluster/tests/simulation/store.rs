//! The simulated store: linearizable, with leases and a history to watch.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster::control::{LEASE_TTL, Section, StoreAnswer, StoreOp};
use store::{Batch, Committed, Entry, Event, Expect, LeaseId, Op, Txn};

/// See the module.
#[derive(Default)]
pub(crate) struct SimStore {
    pub(crate) revision: u64,
    entries: BTreeMap<String, Entry>,
    leases: BTreeMap<LeaseId, Instant>,
    next_lease: u64,
    history: Vec<(u64, Section, Event)>,
}

fn section_of(key: &str) -> Section {
    Section::ALL.into_iter().find(|section| key.starts_with(section.prefix())).expect("a key of ours")
}

impl SimStore {
    pub(crate) fn new() -> SimStore {
        SimStore { revision: 1, ..SimStore::default() }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn execute(&mut self, now: Instant, call: &StoreOp) -> StoreAnswer {
        match call {
            StoreOp::Grant(ttl) => {
                self.next_lease += 1;
                let lease = LeaseId(self.next_lease);
                self.leases.insert(lease, now + *ttl);
                StoreAnswer::Granted(lease)
            }
            StoreOp::KeepAlive(lease) => match self.leases.get_mut(lease) {
                Some(until) => {
                    *until = now + LEASE_TTL;
                    StoreAnswer::Done
                }
                None => StoreAnswer::LeaseLost,
            },
            StoreOp::Revoke(lease) => match self.leases.contains_key(lease) {
                true => {
                    self.end_lease(*lease);
                    StoreAnswer::Done
                }
                false => StoreAnswer::LeaseLost,
            },
            StoreOp::Commit(txn) => self.commit(txn),
        }
    }

    fn commit(&mut self, txn: &Txn) -> StoreAnswer {
        let holds = txn.compares.iter().all(|compare| {
            let entry = self.entries.get(&compare.key);
            match compare.is {
                Expect::Absent => entry.is_none(),
                Expect::Exists => entry.is_some(),
                Expect::ModRevision(revision) => entry.is_some_and(|entry| entry.mod_revision == revision),
            }
        });
        if !holds {
            let current =
                txn.compares.iter().map(|compare| self.entries.get(&compare.key).cloned()).collect();
            return StoreAnswer::Committed(Committed { succeeded: false, revision: self.revision, current });
        }
        let lease_lost = txn
            .ops
            .iter()
            .any(|op| matches!(op, Op::Put { lease: Some(lease), .. } if !self.leases.contains_key(lease)));
        if lease_lost {
            return StoreAnswer::LeaseLost;
        }
        let revision = self.revision + 1;
        for op in &txn.ops {
            match op {
                Op::Put { key, value, lease } => {
                    let entry = Entry {
                        key: key.clone(),
                        value: value.clone(),
                        mod_revision: revision,
                        lease: *lease,
                    };
                    self.entries.insert(key.clone(), entry.clone());
                    self.history.push((revision, section_of(key), Event::Put(entry)));
                }
                Op::Delete { key } => self.delete(key, revision),
                Op::DeletePrefix { .. } => unreachable!("not used by the control plane"),
            }
        }
        self.revision = revision;
        StoreAnswer::Committed(Committed { succeeded: true, revision, current: Vec::new() })
    }

    fn delete(&mut self, key: &str, revision: u64) {
        if self.entries.remove(key).is_some() {
            let event = Event::Delete { key: key.to_owned(), mod_revision: revision };
            self.history.push((revision, section_of(key), event));
        }
    }

    fn end_lease(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        let keys: Vec<String> = self
            .entries
            .values()
            .filter(|entry| entry.lease == Some(lease))
            .map(|entry| entry.key.clone())
            .collect();
        self.revision += 1;
        for key in keys {
            self.delete(&key, self.revision);
        }
    }

    /// Ends leases whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        let over: Vec<LeaseId> =
            self.leases.iter().filter(|(_, until)| **until < now).map(|(lease, _)| *lease).collect();
        for lease in over {
            self.end_lease(lease);
        }
    }

    /// A new leader gives every lease its full time, as etcd does.
    pub(crate) fn elected(&mut self, now: Instant) {
        for until in self.leases.values_mut() {
            *until = now + LEASE_TTL;
        }
    }

    pub(crate) fn range(&self, section: Section) -> Vec<Entry> {
        self.entries.values().filter(|entry| entry.key.starts_with(section.prefix())).cloned().collect()
    }

    /// Changes of a section after `cursor` in the history, which is moved.
    pub(crate) fn changes(&self, section: Section, cursor: &mut usize) -> Option<Batch> {
        let events: Vec<(u64, Event)> = self.history[*cursor..]
            .iter()
            .filter(|(_, of, _)| *of == section)
            .map(|(revision, _, event)| (*revision, event.clone()))
            .collect();
        *cursor = self.history.len();
        let revision = events.last()?.0;
        Some(Batch { revision, events: events.into_iter().map(|(_, event)| event).collect() })
    }

    pub(crate) fn history_len(&self) -> usize {
        self.history.len()
    }
}

/// What a call costs when nothing is wrong.
pub(crate) const CALL: Duration = Duration::from_millis(3);
