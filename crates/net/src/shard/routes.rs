//! Whose a datagram is: by the way it came once ICE has validated that, by the ufrag in a STUN request before.

use std::collections::HashMap;

use rtc::Path;
use sfu::TransportId;

use super::rooms::RoomKey;

/// Ufrags of one transport: the current one, and those before an ICE restart that are still in use.
const MAX_UFRAGS: usize = 4;

/// Ways to one transport: all a client's candidates over several networks.
const MAX_PATHS: usize = 32;

/// A transport of a room of this shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Owner {
    pub(super) room: RoomKey,
    pub(super) transport: TransportId,
}

#[derive(Default, Debug)]
struct Known {
    ufrags: Vec<String>,
    paths: Vec<Path>,
}

#[derive(Default, Debug)]
pub(super) struct Routes {
    by_path: HashMap<Path, Owner>,
    by_ufrag: HashMap<String, Owner>,
    transports: HashMap<Owner, Known>,
}

impl Routes {
    #[inline]
    pub(super) fn by_path(&self, path: &Path) -> Option<Owner> {
        self.by_path.get(path).copied()
    }

    pub(super) fn by_ufrag(&self, ufrag: &str) -> Option<Owner> {
        self.by_ufrag.get(ufrag).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.transports.len()
    }

    /// A transport opens, or begins to use another ufrag.
    pub(super) fn open(&mut self, owner: Owner, ufrag: String) {
        let known = self.transports.entry(owner).or_default();
        if known.ufrags.len() == MAX_UFRAGS {
            self.by_ufrag.remove(&known.ufrags.remove(0));
        }
        known.ufrags.push(ufrag.clone());
        self.by_ufrag.insert(ufrag, owner);
    }

    /// ICE has validated a way. The last transport that validated it has it.
    pub(super) fn validated(&mut self, owner: Owner, path: Path) {
        let Some(known) = self.transports.get_mut(&owner) else { return };
        if !known.paths.contains(&path) {
            if known.paths.len() == MAX_PATHS {
                let oldest = known.paths.remove(0);
                remove_if(&mut self.by_path, &oldest, owner);
            }
            known.paths.push(path);
        }
        self.by_path.insert(path, owner);
    }

    /// Forgets a transport. Returns the ways that nobody has now.
    pub(super) fn close(&mut self, owner: Owner) -> Vec<Path> {
        let Some(mut known) = self.transports.remove(&owner) else { return Vec::new() };
        for ufrag in &known.ufrags {
            self.by_ufrag.remove(ufrag);
        }
        known.paths.retain(|path| remove_if(&mut self.by_path, path, owner));
        known.paths
    }

    /// Forgets all transports of a room.
    pub(super) fn close_room(&mut self, room: RoomKey) -> Vec<Path> {
        let owners: Vec<_> = self.transports.keys().filter(|owner| owner.room == room).copied().collect();
        owners.into_iter().flat_map(|owner| self.close(owner)).collect()
    }
}

/// Removes a way, unless another transport has validated it since.
fn remove_if(by_path: &mut HashMap<Path, Owner>, path: &Path, owner: Owner) -> bool {
    let ours = by_path.get(path) == Some(&owner);
    if ours {
        by_path.remove(path);
    }
    ours
}

#[cfg(test)]
mod tests;
