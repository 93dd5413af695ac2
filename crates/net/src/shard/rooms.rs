//! The rooms of a shard, by a small key for the hot path and by name for everybody else.

use std::collections::HashMap;
use std::time::Instant;

use sfu::{Room, RoomName};

/// Names a room of one shard. Never used twice: a late timer or route finds nothing, not another room.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(super) struct RoomKey {
    index: u32,
    serial: u32,
}

#[cfg(test)]
impl RoomKey {
    pub(super) fn test(index: u32) -> RoomKey {
        RoomKey { index, serial: 0 }
    }
}

pub(super) struct RoomSlot {
    pub(super) room: Room,
    /// Got something since it was settled last.
    pub(super) touched: bool,
    /// The entry in the timer queue that counts.
    pub(super) scheduled: Option<Instant>,
    serial: u32,
}

#[derive(Default)]
pub(super) struct Rooms {
    slots: Vec<Option<RoomSlot>>,
    free: Vec<u32>,
    by_name: HashMap<RoomName, RoomKey>,
    next_serial: u32,
}

impl Rooms {
    pub(super) fn insert(&mut self, room: Room) -> RoomKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.next_serial = self.next_serial.wrapping_add(1);
        let key = RoomKey { index, serial: self.next_serial };
        self.by_name.insert(room.name().clone(), key);
        self.slots[index as usize] =
            Some(RoomSlot { room, touched: false, scheduled: None, serial: key.serial });
        key
    }

    pub(super) fn remove(&mut self, key: RoomKey) -> Option<Room> {
        self.get_mut(key)?;
        let slot = self.slots[key.index as usize].take()?;
        self.free.push(key.index);
        self.by_name.remove(slot.room.name());
        Some(slot.room)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: RoomKey) -> Option<&mut RoomSlot> {
        self.slots.get_mut(key.index as usize)?.as_mut().filter(|slot| slot.serial == key.serial)
    }

    pub(super) fn find(&self, name: &RoomName) -> Option<RoomKey> {
        self.by_name.get(name).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn keys(&self) -> Vec<RoomKey> {
        self.by_name.values().copied().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RoomSlot> {
        self.slots.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut RoomSlot> {
        self.slots.iter_mut().flatten()
    }
}
