//! The conferencing engine without I/O: rooms, participants, tracks, subscriptions and the forwarding of
//! packets between them. One state machine per room; inputs come with the time, outputs are drained.
//! It knows no socket, no HTTP, no store and no clock.

// LiveKit marks fields as deprecated that clients in the field still read and write.
#![allow(deprecated)]

mod api;
mod dynacast;
mod ids;
mod media;
mod participant;
mod publication;
mod quality;
mod room;
mod snapshot;
mod speakers;
mod subscription;

pub use api::*;
pub use room::Room;
pub use snapshot::{AdminTail, ParticipantDescription, RoomDescription, RoomSnapshot, Tail};
