//! The decisions of a cluster, without sockets or clocks: who is there ([`View`]), who may serve ([`Fence`]),
//! who has died, where rooms go ([`Selector`]) and how a node becomes empty. [`Member`] is one process with all
//! the parts that its roles need; `runtime` drives it, and so does the simulation in `tests/`.
//!
//! Maps that are walked through are ordered ones: the same inputs give the same outputs, so that a failure of
//! the simulation can be replayed from its seed.

mod detector;
mod drain;
mod fence;
mod io;
mod master;
mod member;
mod messages;
mod node;
mod placement;
mod registration;
mod route;
mod view;

pub use detector::{Health, STORE_GRACE, SUSPECT_AFTER};
pub use drain::{DrainError, DrainStatus, MAX_DRAIN, MAX_MOVES};
pub use fence::{FENCE_AFTER, FENCE_MARGIN, Fence, LEASE_FENCE_AFTER};
pub use io::{
    Input, NodeCommand, OpId, Outbox, Output, ProbeOutcome, RequestId, Section, StoreAnswer, StoreOp, Time,
};
pub use master::{MAX_WAITING_ROUTES, ROUTE_DEADLINE};
pub use member::{HEARTBEAT_EVERY, Member, MemberConfig};
pub use messages::{
    Ack, BadMessage, Heartbeat, HeldRoom, MAX_FRAME_BYTES, MasterReport, Message, MoveOrder, Sight, Standing,
};
pub use node::{Admission, Refusal, STALE_AFTER, WRITE_LATEST, WRITE_QUIET};
pub use placement::{
    Algorithm, Candidate, Kind, PlacementError, Recent, Selector, SortBy, rendezvous, rendezvous_order,
};
pub use registration::{LEASE_TTL, RENEW_EVERY};
pub use route::{Route, RouteError};
pub use view::{Change, NodeEntry, RoomView, View, drain_key, node_key, room_head, room_key};

/// Rooms that a heartbeat lists at most as not settled: those claimed while the store was away. With the longest
/// names they still fit into a frame.
pub const MAX_REPORTED_ROOMS: usize = 2048;
