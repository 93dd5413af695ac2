//! One WebRTC peer connection without I/O.
//!
//! What this crate is: the protocols between a datagram and a media packet (ICE, DTLS, SCTP, SDP, SRTP,
//! RTP/RTCP, NACK/RTX, transport-cc, bandwidth estimation) as state machines that take the time as an
//! argument. What it is not: it knows no room, no socket, no clock and no thread.

pub mod bwe;
pub mod codec;
mod egress;
pub mod ext;
pub mod nack;
pub mod negotiate;
mod peer;
pub mod rtcp;
pub mod rtp;
pub mod srtp;
pub mod stats;
pub mod transport;
pub mod twcc;
mod types;

pub use egress::{DatagramQueue, Egress, MAX_DATAGRAM, Path, Proto};
pub use peer::{
    MediaPacket, OutPacket, Peer, PeerConfig, PeerEvent, PeerRole, PeerSnapshot, ReceiveStream, SenderInfo,
    SenderKey, StreamKey,
};
pub use types::{Codec, ExtSeq, MAX_TOKEN_LEN, MediaKind, Mid, Pt, Rid, Ssrc};
