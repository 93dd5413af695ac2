//! A shard's UDP side: its sockets, batches of received datagrams, and batches of datagrams to send.
//!
//! Receiving is `quinn-udp`'s `recvmmsg` with GRO. Sending is our own: `quinn-udp` makes one system call
//! per run of datagrams, `nix` puts one segment size over a whole `sendmmsg`, and `rustix` knows no segment
//! size at all, while a frame for many subscribers wants many runs of differing sizes in one call.

mod egress;
mod port;
mod receive;
mod sendmmsg;

pub use egress::{UdpEgress, UdpStats};
pub use port::UdpPort;
pub use receive::UdpReceiver;
pub use sendmmsg::{MAX_GSO_BYTES, MAX_GSO_SEGMENTS};
