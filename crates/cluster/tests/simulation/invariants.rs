//! What must hold at every instant.

use cluster::control::{Section, StoreOp, room_key};
use cluster::{Epoch, NodeId};

use super::world::{MS, Process, State, World};

impl World {
    /// No write of a description undoes one that was acknowledged.
    pub(crate) fn check_write(&mut self, call: &StoreOp) {
        let StoreOp::Commit(txn) = call else { return };
        for op in &txn.ops {
            let store::Op::Put { key, value, .. } = op else { continue };
            let Some(held) = self.store.get(key).filter(|_| key.starts_with(Section::Rooms.prefix())) else {
                continue;
            };
            let would_hold = txn.compares.iter().all(|compare| match compare.is {
                store::Expect::ModRevision(revision) => {
                    self.store.get(&compare.key).is_some_and(|entry| entry.mod_revision == revision)
                }
                store::Expect::Absent => self.store.get(&compare.key).is_none(),
                store::Expect::Exists => self.store.get(&compare.key).is_some(),
            });
            let room = key.trim_start_matches(Section::Rooms.prefix());
            let void = self.ended.get(room).is_some_and(|(revision, version)| {
                held.mod_revision <= *revision || version_in(&held.value) <= *version
            });
            if would_hold && !void && version_in(value) < version_in(&held.value) {
                let (old, new) = (version_in(&held.value), version_in(value));
                let text = format!(
                    "{key}: description {old} overwritten by {new}: {}",
                    String::from_utf8_lossy(value)
                );
                return self.fail(text);
            }
        }
    }

    /// Nodes that are to be emptied.
    pub(crate) fn drains(&self) -> Vec<NodeId> {
        let entries = self.store.range(Section::Drains);
        let ids = entries.iter().filter_map(|entry| entry.key.strip_prefix(Section::Drains.prefix()));
        ids.map(|id| NodeId(id.to_owned())).collect()
    }

    /// Who may send media of a room now.
    pub(crate) fn servers(&self, room: &str) -> Vec<(usize, Epoch)> {
        let serves = |process: &Process| {
            let member = process.member.as_ref().filter(|_| process.state == State::Running)?;
            if !member.may_serve(self.now) {
                return None;
            }
            member.held().find(|(name, _)| *name == room).map(|(_, epoch)| epoch.clone())
        };
        self.processes.iter().enumerate().filter_map(|(n, process)| Some((n, serves(process)?))).collect()
    }

    /// The invariants that hold at every instant, for the rooms of one process.
    pub(crate) fn check(&mut self, process: usize) {
        let Some(member) = self.processes[process].member.as_ref() else { return };
        if self.processes[process].state != State::Running || !member.may_serve(self.now) {
            return;
        }
        let incarnation = member.incarnation();
        let rooms: Vec<(String, Epoch)> =
            member.held().map(|(room, epoch)| (room.to_owned(), epoch.clone())).collect();
        let id = self.processes[process].id.clone();
        for (room, epoch) in rooms {
            if epoch.provisional.is_some()
                && let Some(entry) = self.store.get(&room_key(&room))
            {
                // Without the store a room goes on from what the node last read: what was written since is void.
                let void = (self.store.revision, version_in(&entry.value));
                self.ended.insert(room.clone(), void);
            }
            let key = (room.clone(), epoch.to_string());
            let owner = self.epochs.entry(key).or_insert((id.clone(), incarnation)).clone();
            if owner.0 != id {
                self.fail(format!("room {room} was served at epoch {epoch} by {} and by {id}", owner.0));
            }
            for (other, theirs) in self.servers(&room) {
                if other == process {
                    continue;
                }
                let excused = epoch.provisional.is_some() || theirs.provisional.is_some();
                let hand_over = self.hand_overs.get(&room).is_some_and(|(from, since)| {
                    (*from == process || *from == other) && self.now < *since + 15_000 * MS
                });
                self.overlaps += u64::from(excused);
                if !excused && !hand_over {
                    let other = self.processes[other].id.clone();
                    let record = self
                        .store
                        .get(&room_key(&room))
                        .map(|e| String::from_utf8_lossy(&e.value).into_owned());
                    self.fail(format!("room {room} is served by {id} at {epoch} and by {other} at {theirs}; record {record:?}"));
                }
            }
        }
    }
}

fn version_in(record: &[u8]) -> u64 {
    let record: serde_json::Value = serde_json::from_slice(record).unwrap_or_default();
    record["description"]["v"].as_u64().unwrap_or(0)
}
