//! A client that speaks LiveKit's signalling and the media protocols without a socket: what the browser SDK
//! does, as far as the server can tell the difference.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;
use rtc::negotiate::Outgoing;
use rtc::transport::{ChannelConfig, DtlsIdentity};
use rtc::{
    Codec, DatagramQueue, ExtSeq, MediaKind, Mid, Path, Peer, PeerConfig, PeerEvent, PeerRole, Proto, Rid,
    Ssrc,
};

use crate::source::{AUDIO_INTERVAL, Encoding, VIDEO_INTERVAL, recognise};

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

/// What arrived of one subscribed stream.
#[derive(Debug)]
pub struct Received {
    pub publisher: u32,
    pub kind: MediaKind,
    pub last: Instant,
    pub packets: u64,
    first_seq: ExtSeq,
    highest_seq: ExtSeq,
    newest_timestamp: u32,
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
    pub single: bool,
    pub publisher: Side,
    pub subscriber: Option<Side>,
    /// Messages for the server, oldest first.
    pub asks: VecDeque<proto::SignalRequest>,
    pub left: bool,
    published: Vec<Published>,
    offer_outstanding: bool,
    offer_again: bool,
    offer_id: u32,
    /// What the last Leave asked for.
    leave: Option<i32>,
    /// Our last answer over the second connection.
    answer: Option<proto::SessionDescription>,
    /// By server SSRC.
    pub received: HashMap<u32, Received>,
    /// What the server must never do.
    pub violations: Vec<String>,
    pub messages: Vec<Vec<u8>>,
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
            single,
            publisher,
            subscriber,
            asks: VecDeque::new(),
            left: false,
            published: Vec::new(),
            offer_outstanding: false,
            offer_again: false,
            offer_id: 0,
            leave: None,
            answer: None,
            received: HashMap::new(),
            violations: Vec::new(),
            messages: Vec::new(),
            participants: BTreeMap::new(),
            forbidden: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// What the join request carries: over a single connection the first offer.
    pub fn first_offer(&mut self, now: Instant) -> Option<proto::SessionDescription> {
        self.single.then(|| self.make_offer(now))
    }

    fn make_offer(&mut self, now: Instant) -> proto::SessionDescription {
        self.offer_outstanding = true;
        self.offer_id += 1;
        let sdp = self.publisher.peer.create_offer(now);
        proto::SessionDescription { r#type: "offer".into(), sdp, id: self.offer_id, ..Default::default() }
    }

    fn ask(&mut self, message: Ask) {
        self.asks.push_back(proto::SignalRequest { message: Some(message) });
    }

    fn negotiate(&mut self, now: Instant) {
        if self.offer_outstanding {
            self.offer_again = true;
            return;
        }
        let offer = self.make_offer(now);
        self.ask(Ask::Offer(offer));
    }

    /// Publishes a track; video as simulcast of three when `layers` is 3.
    pub fn publish(&mut self, now: Instant, kind: MediaKind, layers: usize) {
        let cid = format!("cid-{}-{}", self.number, self.published.len());
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

    pub fn leave(&mut self) {
        self.left = true;
        self.ask(Ask::Leave(proto::LeaveRequest::default()));
    }

    /// Lets only the named clients subscribe.
    pub fn allow_only(&mut self, identities: &[String]) {
        let permission = |identity: &String| proto::TrackPermission {
            participant_identity: identity.clone(),
            all_tracks: true,
            ..Default::default()
        };
        self.ask(Ask::SubscriptionPermission(proto::SubscriptionPermission {
            all_participants: false,
            track_permissions: identities.iter().map(permission).collect(),
        }));
    }

    pub fn set_quality(&mut self, sids: Vec<String>, quality: i32) {
        let settings = proto::UpdateTrackSettings { track_sids: sids, quality, ..Default::default() };
        self.ask(Ask::TrackSetting(settings));
    }

    /// Whether an SDK connects again and goes on when it loses its socket now: it was told to, or the socket broke
    /// without a word (`abrupt`).
    pub fn resumes(&self, abrupt: bool) -> bool {
        self.leave.map_or(abrupt, |action| action == proto::leave_request::Action::Resume as i32)
    }

    /// A new signalling connection is on its way.
    pub fn resume(&mut self, _now: Instant) {
        self.leave = None;
        self.offer_outstanding = false;
        self.offer_again = false;
        self.asks.clear();
    }

    /// The server goes on with us: it is told what we have, and ICE looks for a way to it.
    fn resumed(&mut self, now: Instant) {
        let tracks = self.published.iter().filter_map(|published| {
            let track = proto::TrackInfo { sid: published.sid.clone()?, ..Default::default() };
            Some(proto::TrackPublishedResponse { cid: published.cid.clone(), track: Some(track) })
        });
        let publish_tracks = tracks.collect();
        let answer = self.answer.clone();
        self.ask(Ask::SyncState(proto::SyncState { publish_tracks, answer, ..Default::default() }));
        self.publisher.peer.restart_ice();
        self.negotiate(now);
    }

    /// A message of the server.
    pub fn told(&mut self, now: Instant, message: Told) {
        match message {
            Told::Join(join) => {
                for other in join.other_participants {
                    self.participants.insert(other.identity.clone(), other);
                }
            }
            Told::Leave(leave) => {
                self.leave = Some(leave.action);
            }
            Told::Reconnect(_) => self.resumed(now),
            Told::Answer(answer) => {
                if answer.id != self.offer_id {
                    return;
                }
                if let Err(error) = self.publisher.peer.accept_answer(now, &answer.sdp) {
                    self.violations.push(format!("answer not understood: {error}"));
                }
                self.offer_outstanding = false;
                if std::mem::take(&mut self.offer_again) {
                    self.negotiate(now);
                }
            }
            Told::Offer(offer) => {
                let Some(subscriber) = &mut self.subscriber else {
                    return self.violations.push("offer over a single connection".into());
                };
                if let Err(error) = subscriber.peer.accept_offer(now, &offer.sdp) {
                    return self.violations.push(format!("offer not understood: {error}"));
                }
                let sdp = subscriber.peer.create_answer(now);
                let answer = proto::SessionDescription {
                    r#type: "answer".into(),
                    sdp,
                    id: offer.id,
                    ..Default::default()
                };
                self.answer = Some(answer.clone());
                self.ask(Ask::Answer(answer));
            }
            Told::TrackPublished(published) => {
                let sid = published.track.map(|track| track.sid);
                if let Some(ours) = self.published.iter_mut().find(|ours| ours.cid == published.cid) {
                    ours.sid = sid;
                }
            }
            Told::MediaSectionsRequirement(requirement) => {
                for _ in 0..requirement.num_audios {
                    self.publisher.peer.offer_receiver(MediaKind::Audio);
                }
                for _ in 0..requirement.num_videos {
                    self.publisher.peer.offer_receiver(MediaKind::Video);
                }
                self.negotiate(now);
            }
            Told::Update(update) => {
                for info in update.participants {
                    let old = self.participants.get(&info.identity);
                    if old.is_some_and(|old| old.sid == info.sid && old.version > info.version) {
                        self.violations.push(format!("{} went back in version", info.identity));
                    }
                    if info.state == proto::participant_info::State::Disconnected as i32 {
                        self.participants.remove(&info.identity);
                    } else {
                        self.participants.insert(info.identity.clone(), info);
                    }
                }
            }
            _ => {}
        }
    }

    pub fn sides(&mut self) -> impl Iterator<Item = &mut Side> {
        std::iter::once(&mut self.publisher).chain(self.subscriber.as_mut())
    }

    /// When something is due.
    pub fn next_due(&self) -> Option<Instant> {
        let peers = std::iter::once(&self.publisher).chain(self.subscriber.as_ref());
        let timers = peers.filter_map(|side| side.peer.poll_timeout());
        let frames = self.published.iter().map(|published| published.next_frame);
        timers.chain(frames).min()
    }

    /// Timers and media.
    pub fn tick(&mut self, now: Instant) {
        for published in &mut self.published {
            if published.next_frame > now {
                continue;
            }
            let interval = if published.kind == MediaKind::Audio { AUDIO_INTERVAL } else { VIDEO_INTERVAL };
            published.next_frame = now + interval;
            if published.muted {
                continue;
            }
            published.frame += 1;
            let Side { peer, out } = &mut self.publisher;
            for encoding in &mut published.encodings {
                encoding.send_frame(now, published.kind, self.number, published.frame, peer, out);
            }
        }
        for side in self.sides() {
            if side.peer.poll_timeout().is_some_and(|due| due <= now) {
                side.peer.handle_timeout(now, &mut side.out);
            }
        }
        self.drain_events(now);
    }

    /// A datagram for one of the client's addresses.
    pub fn datagram(&mut self, now: Instant, path: &Path, mut bytes: Vec<u8>) {
        let subscriber = path.local.port() == 2;
        let side = match (&mut self.subscriber, subscriber) {
            (Some(side), true) => side,
            (_, false) => &mut self.publisher,
            (None, true) => return,
        };
        if let Some(media) = side.peer.handle_datagram(now, path, &mut bytes, &mut side.out) {
            let ssrc = side.peer.stream(media.stream).map(|stream| stream.ssrc.0).unwrap_or_default();
            let payload = bytes[media.payload.clone()].to_vec();
            self.media(now, ssrc, &media, &payload);
        }
        self.drain_events(now);
    }

    fn media(&mut self, now: Instant, ssrc: u32, media: &rtc::MediaPacket, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        let Some((publisher, _)) = recognise(payload) else {
            return self.violations.push("media that nobody sent".into());
        };
        if self.forbidden.contains(&publisher) {
            self.violations.push(format!("media of client {publisher} without permission"));
        }
        let received = self.received.entry(ssrc).or_insert(Received {
            publisher,
            kind: media.codec.kind(),
            last: now,
            packets: 0,
            first_seq: media.seq,
            highest_seq: media.seq,
            newest_timestamp: media.timestamp,
        });
        if received.publisher != publisher {
            self.violations.push(format!("stream {ssrc} changed its publisher"));
            return;
        }
        received.last = now;
        received.packets += 1;
        received.first_seq = received.first_seq.min(media.seq);
        if media.seq > received.highest_seq {
            let before = received.highest_seq;
            received.highest_seq = media.seq;
            if (media.timestamp.wrapping_sub(received.newest_timestamp) as i32) < 0 {
                let back = received.newest_timestamp.wrapping_sub(media.timestamp);
                self.violations.push(format!(
                    "timestamp of {:?} stream {ssrc} went back by {back} at {:?} after {:?}",
                    received.kind, media.seq, before
                ));
            }
            received.newest_timestamp = media.timestamp;
        }
    }

    fn drain_events(&mut self, now: Instant) {
        while let Some(event) = self.publisher.peer.poll_event() {
            self.event(now, event);
        }
        while let Some(event) = self.subscriber.as_mut().and_then(|side| side.peer.poll_event()) {
            self.event(now, event);
        }
    }

    fn event(&mut self, now: Instant, event: PeerEvent) {
        match event {
            PeerEvent::KeyframeWanted(key) => {
                let all = self.published.iter_mut().flat_map(|published| &mut published.encodings);
                all.filter(|encoding| encoding.sender == key).for_each(Encoding::request_key);
            }
            PeerEvent::Nack(key, seqs) => {
                let Side { peer, out } = &mut self.publisher;
                for published in &mut self.published {
                    for encoding in published.encodings.iter_mut().filter(|encoding| encoding.sender == key) {
                        encoding.resend(now, &seqs, peer, out);
                    }
                }
            }
            PeerEvent::StreamBroken(stream) => {
                let side = self.subscriber.as_mut().unwrap_or(&mut self.publisher);
                side.peer.request_keyframe(stream);
            }
            PeerEvent::ChannelMessage(_, message) => self.messages.push(message.to_vec()),
            PeerEvent::DtlsFailed => self.violations.push("DTLS failed".into()),
            _ => {}
        }
    }
}

impl Received {
    /// Share of the numbers between first and highest that arrived, 0.0..=1.0.
    pub fn completeness(&self) -> f64 {
        self.packets as f64 / (self.highest_seq.0 - self.first_seq.0 + 1) as f64
    }

    /// Whether something came within the last `time`.
    pub fn is_live(&self, now: Instant, time: Duration) -> bool {
        now.duration_since(self.last) <= time
    }
}
