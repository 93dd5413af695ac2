//! Which shard has which room. Written when a room begins or ends, read when somebody joins; no packet
//! ever comes near its lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use sfu::RoomName;

/// Shared by the shards and their front.
pub(crate) struct Directory {
    rooms: RwLock<HashMap<RoomName, usize>>,
    /// Rooms and transports of each shard, as a measure of its work.
    loads: Vec<AtomicUsize>,
}

impl Directory {
    pub(crate) fn new(shards: usize) -> Directory {
        Directory { rooms: RwLock::default(), loads: (0..shards).map(|_| AtomicUsize::new(0)).collect() }
    }

    /// The shard that has the room.
    pub(crate) fn find(&self, room: &RoomName) -> Option<usize> {
        self.read().get(room).copied()
    }

    /// The shard with the least to do.
    pub(crate) fn least_loaded(&self) -> usize {
        let loads = self.loads.iter().map(|load| load.load(Ordering::Relaxed)).enumerate();
        loads.min_by_key(|(_, load)| *load).map_or(0, |(shard, _)| shard)
    }

    /// Makes `shard` the room's home, unless the room has another already.
    pub(crate) fn claim(&self, room: &RoomName, shard: usize) -> Result<(), usize> {
        match *self.write().entry(room.clone()).or_insert(shard) {
            home if home == shard => Ok(()),
            home => Err(home),
        }
    }

    /// The room has ended.
    pub(crate) fn release(&self, room: &RoomName, shard: usize) {
        let mut rooms = self.write();
        if rooms.get(room) == Some(&shard) {
            rooms.remove(room);
        }
    }

    /// A shard tells how much it has to do.
    pub(crate) fn set_load(&self, shard: usize, load: usize) {
        if let Some(slot) = self.loads.get(shard) {
            slot.store(load, Ordering::Relaxed);
        }
    }

    // A map of plain values is whole after a panic of its holder, so a poisoned lock is used on.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<RoomName, usize>> {
        self.rooms.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<RoomName, usize>> {
        self.rooms.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_claimed_by_two_shards_at_once_gets_one_home() {
        let directory = Directory::new(2);
        let room = RoomName::from("r");
        assert_eq!(directory.claim(&room, 0), Ok(()));
        assert_eq!(directory.claim(&room, 1), Err(0));
        assert_eq!(directory.claim(&room, 0), Ok(()));
        assert_eq!(directory.find(&room), Some(0));
    }

    #[test]
    fn a_late_release_does_not_evict_the_rooms_next_home() {
        let directory = Directory::new(2);
        let room = RoomName::from("r");
        directory.claim(&room, 0).unwrap();
        directory.release(&room, 0);
        directory.claim(&room, 1).unwrap();
        directory.release(&room, 0);
        assert_eq!(directory.find(&room), Some(1));
    }

    #[test]
    fn new_rooms_go_where_the_least_work_is() {
        let directory = Directory::new(3);
        directory.set_load(0, 5);
        directory.set_load(1, 2);
        directory.set_load(2, 4);
        assert_eq!(directory.least_loaded(), 1);
    }
}
