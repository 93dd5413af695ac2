//! A participant: who it is, what it may do, its signalling connection and its transports. The behaviour
//! lives with the room, which alone sees all participants; this is the state and what follows from it alone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use livekit_protocol as proto;
use proto::participant_info::State;
use rtc::Peer;
use rtc::transport::ChannelId;

use crate::api::{Identity, JoinParams, ParticipantSid, RefreshToken, SessionId, TrackSid, TransportId};
use crate::publication::{PendingTrack, TrackKey};
use crate::subscription::WantedTrack;

/// Index of a participant in its room; never used twice in the room's life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct ParticipantKey(pub u32);

/// Where a participant's session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    Connected(SessionId),
    /// The socket is gone but media lives: a resume may come.
    Lost {
        since: Instant,
    },
}

impl Signal {
    pub(crate) fn session(self) -> Option<SessionId> {
        match self {
            Signal::Connected(session) => Some(session),
            Signal::Lost { .. } => None,
        }
    }
}

/// Which peer connection a message is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Target {
    Publisher,
    Subscriber,
}

impl Target {
    pub(crate) fn from_proto(target: i32) -> Target {
        if target == proto::SignalTarget::Subscriber as i32 { Target::Subscriber } else { Target::Publisher }
    }
}

/// One peer connection of a participant with its book-keeping.
pub(crate) struct Transport {
    pub(crate) id: TransportId,
    pub(crate) peer: Peer,
    /// Earliest entry of this transport in the room's timer queue.
    pub(crate) queued: Option<Instant>,
    pub(crate) channels: Channels,
    pub(crate) connected: bool,
    /// Cap over the bandwidth estimate that the client asked for, to test itself.
    pub(crate) bandwidth_cap_bps: Option<u64>,
    /// Since when ICE has been disconnected.
    pub(crate) lost_since: Option<Instant>,
}

/// The well-known data channels of a transport.
#[derive(Default, Debug)]
pub(crate) struct Channels {
    pub(crate) reliable: Option<ChannelId>,
    pub(crate) lossy: Option<ChannelId>,
    pub(crate) data_track: Option<ChannelId>,
    /// Channels with labels of the application's own.
    pub(crate) unlabelled: Vec<ChannelId>,
}

/// Progress of the server's offers in dual-connection mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OfferState {
    Idle,
    /// Something changed; the offer goes out at this time.
    Due(Instant),
    /// An offer is unanswered; `again` when something changed meanwhile.
    Outstanding {
        since: Instant,
        again: bool,
    },
}

/// How subscriptions reach the client.
pub(crate) enum Topology {
    /// One connection; the server asks for sections, the client offers.
    Single {
        /// Sections that were asked for and have not appeared in an offer yet.
        requested_audio: u32,
        requested_video: u32,
        /// The client must offer again even though no section is missing.
        renegotiate: bool,
        /// Sections of the last offer on which the client receives: audio, video.
        sections: [u32; 2],
        /// When the last requirement was sent.
        asked_at: Option<Instant>,
    },
    /// A second connection on which the server offers.
    Dual { transport: Box<Transport>, offer: OfferState, offer_id: u32, last_offer_at: Option<Instant> },
}

/// Whom a publisher lets subscribe (livekit.md §2.9).
#[derive(Default, Debug)]
pub(crate) enum SubscriptionPolicy {
    #[default]
    Everyone,
    Listed(Vec<proto::TrackPermission>),
}

/// The track and layer that a received stream is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamOwner {
    pub(crate) track: TrackKey,
    pub(crate) layer: usize,
    /// When the track ended: what is still under way must not pass for the next track of the same section.
    pub(crate) retired: Option<Instant>,
}

/// A participant on its way from another node.
pub(crate) struct Arrival {
    /// It is given up after this time.
    pub(crate) until: Instant,
    /// Answers to what it asked of the other node, to be sent when it is here.
    pub(crate) held: Vec<proto::signal_response::Message>,
    /// It has resumed; what it lacks of the data is still to be found out.
    pub(crate) resumed: bool,
    /// It may know more of its connection than we do: nothing is offered before it has said what it knows.
    pub(crate) offer_waits: bool,
}

/// A data packet that waits for the receiver's channel, in encoded form.
pub(crate) struct WaitingData {
    pub(crate) packet: bytes::Bytes,
}

pub(crate) struct Participant {
    pub(crate) key: ParticipantKey,
    pub(crate) sid: ParticipantSid,
    pub(crate) identity: Identity,
    pub(crate) name: String,
    pub(crate) metadata: String,
    pub(crate) attributes: HashMap<String, String>,
    pub(crate) kind: proto::participant_info::Kind,
    pub(crate) kind_details: Vec<i32>,
    pub(crate) permission: proto::ParticipantPermission,
    pub(crate) client: proto::ClientInfo,
    pub(crate) ice_servers: Vec<proto::IceServer>,
    pub(crate) state: State,
    pub(crate) joined_at: Instant,
    pub(crate) joined_at_ms: i64,
    pub(crate) version: u32,
    pub(crate) signal: Signal,
    /// The stay is announced by webhook and to others only once.
    pub(crate) announced_active: bool,

    pub(crate) publisher: Transport,
    pub(crate) topology: Topology,
    pub(crate) last_offer_id: u32,

    pub(crate) auto_subscribe: bool,
    pub(crate) adaptive_stream: bool,
    pub(crate) allow_pause: bool,
    /// Tracks of others as this participant wants them.
    pub(crate) wanted: HashMap<TrackSid, WantedTrack>,
    /// Tracks that await a media section.
    pub(crate) unbound: VecDeque<TrackKey>,
    /// Tracks that are bound to a sending section.
    pub(crate) bound: HashSet<TrackKey>,
    pub(crate) policy: SubscriptionPolicy,

    pub(crate) pending: Vec<PendingTrack>,
    /// AddTrack requests whose cid is still in use.
    pub(crate) queued: VecDeque<proto::AddTrackRequest>,
    pub(crate) published: Vec<TrackKey>,

    /// Highest reliable sequence taken from this sender.
    pub(crate) data_sequence: u32,
    pub(crate) waiting_data: VecDeque<WaitingData>,
    pub(crate) waiting_data_bytes: usize,
    pub(crate) resume_faults: crate::room::ResumeFaults,
    pub(crate) next_token_refresh: Instant,
    /// What each stream of the publishing connection belongs to.
    pub(crate) streams: Vec<Option<StreamOwner>>,
    /// It moved here from another node and has not spoken yet.
    pub(crate) arrival: Option<Arrival>,
    /// It came from another node, and its media has time to follow until then.
    pub(crate) settles_until: Option<Instant>,
    /// The last connection qualities that were told.
    pub(crate) told_quality: Vec<proto::ConnectionQualityInfo>,
}

impl Participant {
    /// Whether any of its connections is up.
    pub(crate) fn media_lives(&mut self) -> bool {
        self.transports().any(|(_, transport)| transport.connected)
    }

    /// It was here when the room came from another node, and has not come itself yet.
    pub(crate) fn is_awaited(&self) -> bool {
        self.arrival.as_ref().is_some_and(|arrival| !arrival.resumed)
    }

    /// Applies what a (re)connecting client says about itself.
    pub(crate) fn apply_client(&mut self, params: &JoinParams) {
        self.client = params.client.clone();
        self.ice_servers = params.ice_servers.clone();
    }

    /// The client's protocol version, a behavioural switch.
    pub(crate) fn protocol(&self) -> i32 {
        self.client.protocol
    }

    pub(crate) fn is_hidden(&self) -> bool {
        self.permission.hidden
    }

    /// Agents and recorders do not keep a room alive, nor count against its size.
    pub(crate) fn is_dependent(&self) -> bool {
        use proto::participant_info::Kind;
        matches!(self.kind, Kind::Agent | Kind::Egress)
    }

    /// May follow any track, whatever publishers say: egress.
    #[allow(deprecated)]
    pub(crate) fn is_recorder(&self) -> bool {
        self.permission.recorder || self.kind == proto::participant_info::Kind::Egress
    }

    pub(crate) fn session(&self) -> Option<SessionId> {
        self.signal.session()
    }

    /// The transport that the client counts as its primary.
    pub(crate) fn subscriber_primary(&self) -> bool {
        matches!(self.topology, Topology::Dual { .. }) && self.permission.can_subscribe && self.protocol() > 2
    }

    /// The transport that carries subscribed media and server-to-client data.
    pub(crate) fn downlink(&mut self) -> &mut Transport {
        match &mut self.topology {
            Topology::Single { .. } => &mut self.publisher,
            Topology::Dual { transport, .. } => transport,
        }
    }

    pub(crate) fn transport(&mut self, target: Target) -> Option<&mut Transport> {
        match (target, &mut self.topology) {
            (Target::Publisher, _) => Some(&mut self.publisher),
            (Target::Subscriber, Topology::Dual { transport, .. }) => Some(transport),
            (Target::Subscriber, Topology::Single { .. }) => None,
        }
    }

    /// The transport whose data channels reach the client.
    pub(crate) fn data_transport(&mut self) -> &mut Transport {
        if self.subscriber_primary() { self.downlink() } else { &mut self.publisher }
    }

    pub(crate) fn transports(&mut self) -> impl Iterator<Item = (Target, &mut Transport)> {
        let subscriber = match &mut self.topology {
            Topology::Dual { transport, .. } => Some((Target::Subscriber, &mut **transport)),
            Topology::Single { .. } => None,
        };
        std::iter::once((Target::Publisher, &mut self.publisher)).chain(subscriber)
    }

    /// Round trip time of the slower connection.
    pub(crate) fn rtt_ms(&self) -> Option<f32> {
        let downlink = match &self.topology {
            Topology::Single { .. } => None,
            Topology::Dual { transport, .. } => transport.peer.rtt(),
        };
        let rtt = [self.publisher.peer.rtt(), downlink].into_iter().flatten().max();
        rtt.map(|rtt| rtt.as_secs_f32() * 1_000.0)
    }

    /// Share of packets lost lately, in the worse direction, 0.0..=1.0.
    pub(crate) fn loss(&self) -> f32 {
        let downlink = match &self.topology {
            Topology::Single { .. } => &self.publisher.peer,
            Topology::Dual { transport, .. } => &transport.peer,
        };
        self.publisher.peer.receive_loss().max(downlink.send_loss())
    }

    pub(crate) fn refresh_token(&self) -> RefreshToken {
        RefreshToken {
            name: self.name.clone(),
            metadata: self.metadata.clone(),
            attributes: self.attributes.clone(),
            permission: self.permission.clone(),
        }
    }

    /// Whether the permission covers a source.
    pub(crate) fn may_publish(&self, source: i32) -> bool {
        let sources = &self.permission.can_publish_sources;
        self.permission.can_publish && (sources.is_empty() || sources.contains(&source))
    }
}
