//! A media node's side of moving rooms: it exports its own, imports those of others, and bridges clients that
//! are between the two.
//!
//! A move, from the source's view: [`Mover::prepare`] exports the room, has the target import it and opens
//! bridges for the clients; the cluster agrees (a compare-and-set in the store, the control plane's matter);
//! [`Mover::complete`] tells the clients to resume. Up to the agreement [`Mover::abort`] takes everything back
//! and nobody notices. What clients say to the source after the
//! export is sent on to the target, in order.
//!
//! Against the node's death, its rooms are mirrored on others: see [`Mirroring`].

mod mirrors;
mod mover;
mod routes;

pub use mirrors::{Mirroring, Mirrors};
pub use mover::{MoveError, Mover};
pub use routes::{Prepared, routes};
