//! A client that speaks LiveKit's signalling and the media protocols without a socket: what the browser SDK
//! does, as far as the server can tell the difference.

mod data;
mod media;
mod signalling;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_request::Message as Ask;
use rtc::negotiate::Outgoing;
use rtc::transport::{ChannelConfig, DtlsIdentity};
use rtc::{Codec, DatagramQueue, MediaKind, Mid, Path, Peer, PeerConfig, PeerRole, Proto, Rid, Ssrc};

use crate::source::Encoding;

pub use data::DataLine;
pub use media::Received;

/// A track that the client publishes.
struct Published {
    cid: String,
    sid: Option<String>,
    kind: MediaKind,
    mid: Mid,
    encodings: Vec<Encoding>,
    next_frame: Instant,
    frame: u32,
    muted: bool,
}

/// One side of the wire that the world moves datagrams for.
pub struct Side {
    pub peer: Peer,
    pub out: DatagramQueue,
}

/// See the module.
pub struct Client {
    pub number: u32,
    pub identity: String,
    /// As the server said when it joined.
    pub sid: Option<String>,
    pub single: bool,
    pub publisher: Side,
    pub subscriber: Option<Side>,
    /// Messages for the server, oldest first.
    pub asks: VecDeque<proto::SignalRequest>,
    /// Asked while there was no connection: said when it has settled.
    later: Vec<Ask>,
    settles: Option<Instant>,
    online: bool,
    /// Its media has come up once: from then on it may come back after a loss of signalling.
    pub connected_once: bool,
    pub left: bool,
    published: Vec<Published>,
    /// Tracks so far: their names are never used twice.
    announced: usize,
    offer_outstanding: bool,
    offer_again: bool,
    offer_id: u32,
    /// What the last Leave asked for.
    leave: Option<i32>,
    policy: Option<proto::SubscriptionPermission>,
    /// By server SSRC.
    pub received: HashMap<u32, Received>,
    /// What the server must never do.
    pub violations: Vec<String>,
    pub data: DataLine,
    pub participants: BTreeMap<String, proto::ParticipantInfo>,
    /// Numbers of clients whose media this one must not get.
    pub forbidden: Vec<u32>,
    rng: fastrand::Rng,
}

fn side(
    identity: &Arc<DtlsIdentity>,
    role: PeerRole,
    local: std::net::SocketAddr,
    now: Instant,
    seed: u64,
) -> Side {
    let path = Path { proto: Proto::Udp, local, remote: local };
    let config = PeerConfig {
        identity: identity.clone(),
        role,
        ice_lite: false,
        controlling: true,
        candidates: vec![path],
        candidates_in_sdp: true,
        ufrag_prefix: String::new(),
        seed,
    };
    Side { peer: Peer::new(config, now), out: DatagramQueue::default() }
}

impl Client {
    /// `number` makes names and addresses; `single` chooses the topology.
    pub fn new(number: u32, single: bool, identity: &Arc<DtlsIdentity>, now: Instant, seed: u64) -> Client {
        let address =
            |port: u16| std::net::SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], port));
        let mut publisher = side(identity, PeerRole::Offerer, address(1), now, seed);
        if single {
            for kind in [MediaKind::Audio, MediaKind::Video] {
                for _ in 0..3 {
                    publisher.peer.offer_receiver(kind);
                }
            }
        }
        publisher.peer.offer_data_channels();
        publisher.peer.open_channel(ChannelConfig::reliable("_reliable"));
        publisher.peer.open_channel(ChannelConfig::lossy("_lossy"));
        let subscriber = (!single).then(|| side(identity, PeerRole::Answerer, address(2), now, seed ^ 1));
        Client {
            number,
            identity: format!("client-{number}"),
            sid: None,
            single,
            publisher,
            subscriber,
            asks: VecDeque::new(),
            later: Vec::new(),
            settles: None,
            online: true,
            connected_once: false,
            left: false,
            published: Vec::new(),
            announced: 0,
            offer_outstanding: false,
            offer_again: false,
            offer_id: 0,
            leave: None,
            policy: None,
            received: HashMap::new(),
            violations: Vec::new(),
            data: DataLine::default(),
            participants: BTreeMap::new(),
            forbidden: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Publishes a track; video as simulcast of three when `layers` is 3.
    pub fn publish(&mut self, now: Instant, kind: MediaKind, layers: usize) {
        let cid = format!("cid-{}-{}", self.number, self.announced);
        self.announced += 1;
        let rids: Vec<Rid> = if layers > 1 {
            ["q", "h", "f"].iter().filter_map(|rid| Rid::new(rid)).collect()
        } else {
            Vec::new()
        };
        let codec = if kind == MediaKind::Audio { Codec::Opus } else { Codec::Vp8 };
        let outgoing = Outgoing {
            stream: cid.clone(),
            track: cid.clone(),
            cname: self.identity.clone(),
            codec,
            stereo: false,
            ssrc: Ssrc(self.rng.u32(1..)),
            rtx_ssrc: (kind == MediaKind::Video && rids.is_empty()).then(|| Ssrc(self.rng.u32(1..))),
            rids: rids.clone(),
        };
        let (sender, mid) = self.publisher.peer.add_sender(None, kind, outgoing);
        let mut encodings = vec![Encoding::new(sender, 0, &mut self.rng)];
        if !rids.is_empty() {
            encodings.clear();
            for (layer, rid) in rids.iter().enumerate() {
                let ssrc = Ssrc(self.rng.u32(1..));
                if let Some(sender) = self.publisher.peer.add_encoding(mid, *rid, ssrc) {
                    encodings.push(Encoding::new(sender, layer, &mut self.rng));
                }
            }
        }
        let (source, track_type) = match kind {
            MediaKind::Audio => (proto::TrackSource::Microphone, proto::TrackType::Audio),
            MediaKind::Video => (proto::TrackSource::Camera, proto::TrackType::Video),
        };
        let layer = |quality: i32| {
            let (width, height) = (160 << quality, 90 << quality);
            proto::VideoLayer { quality, width, height, ..Default::default() }
        };
        self.ask(Ask::AddTrack(proto::AddTrackRequest {
            cid: cid.clone(),
            r#type: track_type as i32,
            source: source as i32,
            width: 640,
            height: 360,
            layers: if layers > 1 { (0..3).map(layer).collect() } else { Vec::new() },
            ..Default::default()
        }));
        self.published.push(Published {
            cid,
            sid: None,
            kind,
            mid,
            encodings,
            next_frame: now,
            frame: 0,
            muted: false,
        });
        self.negotiate(now);
    }

    /// Takes back the track published last.
    pub fn unpublish(&mut self, now: Instant) {
        let Some(published) = self.published.pop() else { return };
        for encoding in &published.encodings {
            self.publisher.peer.remove_sender(encoding.sender);
        }
        self.publisher.peer.clear_section(published.mid);
        self.negotiate(now);
    }

    /// Mutes or unmutes the track published last.
    pub fn set_muted(&mut self, muted: bool) {
        let Some(published) = self.published.last_mut() else { return };
        published.muted = muted;
        let Some(sid) = published.sid.clone() else { return };
        self.ask(Ask::Mute(proto::MuteTrackRequest { sid, muted }));
    }

    pub fn publishes(&self, kind: MediaKind) -> bool {
        self.published
            .iter()
            .any(|published| published.kind == kind && !published.muted && published.sid.is_some())
    }

    /// Whether client and server agree about all tracks and sections, as far as the client knows. Otherwise a track that
    /// is taken back and the next one could meet in one offer, and pass for one.
    pub fn is_negotiated(&self) -> bool {
        self.online
            && !self.offer_outstanding
            && self.published.iter().all(|published| published.sid.is_some())
    }

    /// Sids of the tracks that the server has confirmed.
    pub fn track_sids(&self) -> impl Iterator<Item = &str> {
        self.published.iter().filter_map(|published| published.sid.as_deref())
    }

    pub fn leave(&mut self) {
        self.left = true;
        self.later.clear();
        self.say(Ask::Leave(proto::LeaveRequest::default()));
    }

    /// Lets only the named clients subscribe.
    pub fn allow_only(&mut self, identities: &[String]) {
        let permission = |identity: &String| proto::TrackPermission {
            participant_identity: identity.clone(),
            all_tracks: true,
            ..Default::default()
        };
        let policy = proto::SubscriptionPermission {
            all_participants: false,
            track_permissions: identities.iter().map(permission).collect(),
        };
        self.policy = Some(policy.clone());
        self.ask(Ask::SubscriptionPermission(policy));
    }

    /// Whom it lets follow its tracks, if not everybody.
    pub fn allowed(&self) -> Option<Vec<String>> {
        let policy = self.policy.as_ref()?;
        Some(policy.track_permissions.iter().map(|entry| entry.participant_identity.clone()).collect())
    }

    pub fn set_quality(&mut self, sids: Vec<String>, quality: i32) {
        let settings = proto::UpdateTrackSettings { track_sids: sids, quality, ..Default::default() };
        self.ask(Ask::TrackSetting(settings));
    }

    pub fn sides(&mut self) -> impl Iterator<Item = &mut Side> {
        std::iter::once(&mut self.publisher).chain(self.subscriber.as_mut())
    }
}
