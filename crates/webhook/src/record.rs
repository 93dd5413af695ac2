//! The outbox in the store: under `/sala/v1/webhooks/<room>/` one entry for each event that is not delivered
//! yet, by its id, and one, `claim`, that says which node delivers the room's events. Events are in the order
//! of the store's revisions, so that nodes that follow one another in serving a room need no common counter.

use serde::{Deserialize, Serialize};

/// Everything of the outbox.
pub(crate) const PREFIX: &str = "/sala/v1/webhooks/";

const CLAIM: &str = "claim";

/// Value of an event's entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Node that wrote it.
    pub(crate) node: String,
    /// Place among those written by the same commit.
    pub(crate) index: u32,
    /// When it was written, in milliseconds since 1970: the clock that decides when to give up.
    pub(crate) at_ms: u64,
    /// As sent.
    pub(crate) body: String,
}

/// Value of a room's claim. The entry is bound to the node's lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) node: String,
}

/// What a key of the outbox names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    Event { room: String, id: String },
    Claim { room: String },
}

impl Key {
    /// None for a key that nobody of ours has written.
    pub(crate) fn parse(key: &str) -> Option<Key> {
        let (room, last) = key.strip_prefix(PREFIX)?.rsplit_once('/')?;
        let room = unescape(room);
        match last {
            CLAIM => Some(Key::Claim { room }),
            id => Some(Key::Event { room, id: id.to_owned() }),
        }
    }
}

pub(crate) fn event_key(room: &str, id: &str) -> String {
    format!("{PREFIX}{}/{id}", escape(room))
}

pub(crate) fn claim_key(room: &str) -> String {
    format!("{PREFIX}{}/{CLAIM}", escape(room))
}

/// A room's name may contain slashes, which divide keys.
fn escape(room: &str) -> String {
    room.replace('%', "%25").replace('/', "%2F")
}

fn unescape(room: &str) -> String {
    room.replace("%2F", "/").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_with_slashes_and_percents_keep_apart() {
        for room in ["a", "a/b", "a%2Fb", "%", "/", "claim", "a/claim"] {
            assert_eq!(Key::parse(&claim_key(room)), Some(Key::Claim { room: room.into() }));
            let id = "EV_1".to_owned();
            assert_eq!(Key::parse(&event_key(room, &id)), Some(Key::Event { room: room.into(), id }));
        }
        assert_eq!(Key::parse("/sala/v1/rooms/a"), None);
    }
}
