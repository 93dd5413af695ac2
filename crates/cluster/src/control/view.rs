//! What a process knows of the store: nodes, rooms and drains, fed by ranges and watches. It is the map that
//! joins are routed by, so a room costs little: its name once, two integers, and its record's text, which is
//! read only when the room changes its node.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use store::{Batch, Entry, Event, LeaseId};

use super::io::Section;
use crate::record::{DRAINS, DrainRecord, Epoch, NODES, NodeId, NodeRecord, ROOMS, Role};

/// A registered process.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeEntry {
    pub record: NodeRecord,
    /// Revision at which this incarnation registered first.
    pub registered: u64,
    pub mod_revision: u64,
    pub lease: Option<LeaseId>,
}

/// A room in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomView<'a> {
    pub node: &'a NodeId,
    pub epoch: u64,
    pub mod_revision: u64,
}

impl RoomView<'_> {
    pub fn epoch(&self) -> Epoch {
        Epoch::settled(self.epoch)
    }
}

#[derive(Debug)]
struct RoomEntry {
    owner: u32,
    epoch: u64,
    mod_revision: u64,
    /// The record as it was read; holds the description.
    value: Box<[u8]>,
}

/// Rooms of one node. Nodes are few and keep their place here for ever.
#[derive(Debug)]
struct Owner {
    id: NodeId,
    rooms: BTreeSet<Arc<str>>,
}

/// The part of a `RoomRecord` that is read at once.
#[derive(Deserialize)]
struct RoomHead {
    node: NodeId,
    epoch: Epoch,
}

#[derive(Deserialize)]
struct RoomTail {
    #[serde(default)]
    description: Option<serde_json::Value>,
}

/// Something that is different after changes were applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A process registered (or registered again).
    NodeUp(NodeId),
    /// An incarnation is not registered any more, as of `revision`.
    NodeGone {
        node: NodeId,
        incarnation: u64,
        revision: u64,
        replaced_by_itself: bool,
    },
    /// A room was claimed, changed its node, or was written to.
    Room(String),
    RoomGone(String),
    Drain(NodeId),
}

/// See the module.
#[derive(Debug, Default)]
pub struct View {
    nodes: BTreeMap<NodeId, NodeEntry>,
    rooms: HashMap<Arc<str>, RoomEntry>,
    owners: Vec<Owner>,
    owner_of: BTreeMap<NodeId, u32>,
    drains: BTreeMap<NodeId, DrainRecord>,
    revisions: [u64; 3],
}

/// Reads a room's record as it came from the store: its node, and its epoch with number 0 resolved.
pub fn room_head(entry: &Entry) -> Option<(NodeId, u64)> {
    let head: RoomHead = serde_json::from_slice(&entry.value).ok()?;
    let number = if head.epoch.number == 0 { entry.mod_revision } else { head.epoch.number };
    Some((head.node, number))
}

/// Key of a node's record.
pub fn node_key(id: &NodeId) -> String {
    format!("{NODES}{id}")
}

/// Key of a room's record.
pub fn room_key(room: &str) -> String {
    format!("{ROOMS}{room}")
}

/// Key of a node's drain record.
pub fn drain_key(id: &NodeId) -> String {
    format!("{DRAINS}{id}")
}

impl View {
    /// Revision up to which a section is known; 0 before its first snapshot.
    pub fn revision(&self, section: Section) -> u64 {
        self.revisions[section as usize]
    }

    /// Whether all sections were read once.
    pub fn is_complete(&self) -> bool {
        self.revisions.iter().all(|revision| *revision > 0)
    }

    pub fn node(&self, id: &NodeId) -> Option<&NodeEntry> {
        self.nodes.get(id)
    }

    pub fn nodes(&self) -> impl Iterator<Item = (&NodeId, &NodeEntry)> {
        self.nodes.iter()
    }

    /// Registered masters.
    pub fn masters(&self) -> impl Iterator<Item = (&NodeId, &NodeEntry)> {
        self.nodes.iter().filter(|(_, entry)| entry.record.roles.contains(&Role::Master))
    }

    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    pub fn room(&self, name: &str) -> Option<RoomView<'_>> {
        let entry = self.rooms.get(name)?;
        Some(RoomView {
            node: &self.owners[entry.owner as usize].id,
            epoch: entry.epoch,
            mod_revision: entry.mod_revision,
        })
    }

    /// All room names with their nodes, in no order.
    pub fn rooms(&self) -> impl Iterator<Item = (&str, &NodeId)> {
        self.rooms.iter().map(|(name, entry)| (&**name, &self.owners[entry.owner as usize].id))
    }

    /// What the room's record says of it for the next node.
    pub fn description(&self, name: &str) -> Option<serde_json::Value> {
        serde_json::from_slice::<RoomTail>(&self.rooms.get(name)?.value).ok()?.description
    }

    pub fn rooms_of(&self, node: &NodeId) -> impl Iterator<Item = &Arc<str>> {
        self.owner_of.get(node).into_iter().flat_map(|owner| self.owners[*owner as usize].rooms.iter())
    }

    pub fn rooms_on(&self, node: &NodeId) -> usize {
        self.owner_of.get(node).map_or(0, |owner| self.owners[*owner as usize].rooms.len())
    }

    /// Every node that a room's record names, registered or not.
    pub fn owners(&self) -> impl Iterator<Item = &NodeId> {
        self.owners.iter().filter(|owner| !owner.rooms.is_empty()).map(|owner| &owner.id)
    }

    pub fn drain(&self, node: &NodeId) -> Option<&DrainRecord> {
        self.drains.get(node)
    }

    pub fn drains(&self) -> impl Iterator<Item = &DrainRecord> {
        self.drains.values()
    }

    /// Replaces a section by what a range found.
    pub fn apply_snapshot(&mut self, section: Section, entries: &[Entry], revision: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        let prefix = section.prefix();
        let present: BTreeSet<&str> =
            entries.iter().filter_map(|entry| entry.key.strip_prefix(prefix)).collect();
        let gone: Vec<String> = match section {
            Section::Nodes => {
                self.nodes.keys().filter(|id| !present.contains(&*id.0)).map(|id| id.0.clone()).collect()
            }
            Section::Rooms => {
                self.rooms.keys().filter(|name| !present.contains(&***name)).map(|n| n.to_string()).collect()
            }
            Section::Drains => {
                self.drains.keys().filter(|id| !present.contains(&*id.0)).map(|id| id.0.clone()).collect()
            }
        };
        let mut gone = gone;
        gone.sort();
        for name in gone {
            self.remove(section, &name, revision, &mut changes);
        }
        for entry in entries {
            self.put(section, entry, &mut changes);
        }
        self.advance(section, revision);
        changes
    }

    /// Applies what a watch delivered.
    pub fn apply(&mut self, section: Section, batch: &Batch) -> Vec<Change> {
        let mut changes = Vec::new();
        for event in &batch.events {
            match event {
                Event::Put(entry) => self.put(section, entry, &mut changes),
                Event::Delete { key, mod_revision } => {
                    if let Some(name) = key.strip_prefix(section.prefix()) {
                        self.remove(section, name, *mod_revision, &mut changes);
                    }
                }
            }
        }
        self.advance(section, batch.revision);
        changes
    }

    fn advance(&mut self, section: Section, revision: u64) {
        let held = &mut self.revisions[section as usize];
        *held = (*held).max(revision);
    }

    fn put(&mut self, section: Section, entry: &Entry, changes: &mut Vec<Change>) {
        let Some(name) = entry.key.strip_prefix(section.prefix()) else { return };
        let read = match section {
            Section::Nodes => self.put_node(name, entry, changes),
            Section::Rooms => self.put_room(name, entry, changes),
            Section::Drains => self.put_drain(name, entry, changes),
        };
        if read.is_none() {
            tracing::warn!(key = entry.key, "an entry of the store is not readable; it is left out");
        }
    }

    fn put_node(&mut self, name: &str, entry: &Entry, changes: &mut Vec<Change>) -> Option<()> {
        let record: NodeRecord = serde_json::from_slice(&entry.value).ok()?;
        let id = NodeId(name.to_owned());
        let registered = if record.registered == 0 { entry.mod_revision } else { record.registered };
        if let Some(held) = self.nodes.get(&id) {
            if held.mod_revision >= entry.mod_revision {
                return Some(());
            }
            if held.record.incarnation != record.incarnation {
                changes.push(Change::NodeGone {
                    node: id.clone(),
                    incarnation: held.record.incarnation,
                    revision: entry.mod_revision,
                    replaced_by_itself: record.replaces == Some(held.record.incarnation),
                });
            }
        }
        let node = NodeEntry { record, registered, mod_revision: entry.mod_revision, lease: entry.lease };
        self.nodes.insert(id.clone(), node);
        changes.push(Change::NodeUp(id));
        Some(())
    }

    fn put_room(&mut self, name: &str, entry: &Entry, changes: &mut Vec<Change>) -> Option<()> {
        let (node, epoch) = room_head(entry)?;
        let owner = self.owner(node);
        let key: Arc<str> = match self.rooms.get_key_value(name) {
            Some((_, held)) if held.mod_revision >= entry.mod_revision => return Some(()),
            Some((key, held)) => {
                if held.owner != owner {
                    self.owners[held.owner as usize].rooms.remove(name);
                }
                key.clone()
            }
            None => Arc::from(name),
        };
        self.owners[owner as usize].rooms.insert(key.clone());
        let value = entry.value.to_vec().into_boxed_slice();
        self.rooms.insert(key, RoomEntry { owner, epoch, mod_revision: entry.mod_revision, value });
        changes.push(Change::Room(name.to_owned()));
        Some(())
    }

    fn put_drain(&mut self, name: &str, entry: &Entry, changes: &mut Vec<Change>) -> Option<()> {
        let record: DrainRecord = serde_json::from_slice(&entry.value).ok()?;
        let id = NodeId(name.to_owned());
        if self.drains.insert(id.clone(), record.clone()) != Some(record) {
            changes.push(Change::Drain(id));
        }
        Some(())
    }

    fn owner(&mut self, id: NodeId) -> u32 {
        if let Some(owner) = self.owner_of.get(&id) {
            return *owner;
        }
        let owner = self.owners.len() as u32;
        self.owners.push(Owner { id: id.clone(), rooms: BTreeSet::new() });
        self.owner_of.insert(id, owner);
        owner
    }

    fn remove(&mut self, section: Section, name: &str, revision: u64, changes: &mut Vec<Change>) {
        match section {
            Section::Nodes => {
                let id = NodeId(name.to_owned());
                if self.nodes.get(&id).is_some_and(|held| held.mod_revision < revision)
                    && let Some(held) = self.nodes.remove(&id)
                {
                    changes.push(Change::NodeGone {
                        node: id,
                        incarnation: held.record.incarnation,
                        revision,
                        replaced_by_itself: false,
                    });
                }
            }
            Section::Rooms => {
                if self.rooms.get(name).is_some_and(|held| held.mod_revision < revision)
                    && let Some(held) = self.rooms.remove(name)
                {
                    self.owners[held.owner as usize].rooms.remove(name);
                    changes.push(Change::RoomGone(name.to_owned()));
                }
            }
            Section::Drains => {
                let id = NodeId(name.to_owned());
                if self.drains.remove(&id).is_some() {
                    changes.push(Change::Drain(id));
                }
            }
        }
    }
}
