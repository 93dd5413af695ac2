//! Transport-wide congestion control (draft-holmer-rmcat-transport-wide-cc-extensions-01): one sequence
//! number for all packets of a peer, and feedback about which arrived and when.
//!
//! [`TwccRecorder`] is the receiving side: it notes arrivals and says when a feedback packet is due and
//! what it tells. A publisher's browser chooses its send rate by nothing else. [`SentPackets`] is the
//! sending side: it numbers packets, remembers them in a ring, and joins feedback with what was sent.
//! Both deal in plain values; `rtcp` turns them into bytes. Times on the wire count in ticks of 250 µs.

mod recorder;
mod sent;

pub use recorder::{Feedback, MAX_GAP, MAX_WINDOW, TwccRecorder};
pub use sent::{ClusterId, HISTORY, PacketResult, SentPackets};

/// Length of one tick on the wire.
pub const TICK_US: i64 = 250;

/// The 64-bit number nearest to `near` whose low sixteen bits are `wire`.
fn unwrap_seq(near: i64, wire: u16) -> i64 {
    near + i64::from(wire.wrapping_sub(near as u16) as i16)
}

#[cfg(test)]
mod tests;
