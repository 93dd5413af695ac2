//! Counters of the sockets. Each shard counts for itself, without sharing; [`crate::Shards::stats`] adds up.

use std::ops::AddAssign;

/// What shards have done since they started, and what they hold now.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ShardStats {
    /// Rooms alive.
    pub rooms: u64,
    /// Signalling connections to rooms.
    pub sessions: u64,
    /// Transports (peer connections) open.
    pub transports: u64,
    /// Tracks that participants publish.
    pub tracks_in: u64,
    /// Tracks that participants receive, each for each of them.
    pub tracks_out: u64,
    /// ICE-TCP connections open.
    pub tcp_connections: u64,
    pub packets_in: u64,
    pub bytes_in: u64,
    /// Datagrams handed to the kernel.
    pub packets_out: u64,
    pub bytes_out: u64,
    /// System calls that received datagrams, and that sent them.
    pub receive_calls: u64,
    pub send_calls: u64,
    /// Rooms that ended by a fault in the engine.
    pub room_panics: u64,
    pub dropped: Dropped,
}

/// Datagrams and messages that were thrown away, by reason.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Dropped {
    /// From a way that ICE has not validated.
    pub unvalidated: u64,
    /// STUN for nobody here.
    pub unknown_ufrag: u64,
    /// Neither STUN, DTLS, RTP nor RTCP, or longer than a datagram may be.
    pub malformed: u64,
    /// The kernel's send buffer was full.
    pub send_full: u64,
    /// The kernel refused to send (unreachable, filtered, too long for the interface).
    pub send_error: u64,
    /// A TCP peer reads too slowly, or its connection is gone.
    pub tcp_backlog: u64,
    /// Signalling connections that did not read their messages and were cut off.
    pub slow_sessions: u64,
}

impl AddAssign for ShardStats {
    fn add_assign(&mut self, other: ShardStats) {
        let ShardStats {
            rooms,
            sessions,
            transports,
            tracks_in,
            tracks_out,
            tcp_connections,
            packets_in,
            bytes_in,
            packets_out,
            bytes_out,
            receive_calls,
            send_calls,
            room_panics,
            dropped,
        } = other;
        self.rooms += rooms;
        self.sessions += sessions;
        self.transports += transports;
        self.tracks_in += tracks_in;
        self.tracks_out += tracks_out;
        self.tcp_connections += tcp_connections;
        self.packets_in += packets_in;
        self.bytes_in += bytes_in;
        self.packets_out += packets_out;
        self.bytes_out += bytes_out;
        self.receive_calls += receive_calls;
        self.send_calls += send_calls;
        self.room_panics += room_panics;
        self.dropped += dropped;
    }
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, other: Dropped) {
        let Dropped {
            unvalidated,
            unknown_ufrag,
            malformed,
            send_full,
            send_error,
            tcp_backlog,
            slow_sessions,
        } = other;
        self.unvalidated += unvalidated;
        self.unknown_ufrag += unknown_ufrag;
        self.malformed += malformed;
        self.send_full += send_full;
        self.send_error += send_error;
        self.tcp_backlog += tcp_backlog;
        self.slow_sessions += slow_sessions;
    }
}
