//! One participant without its sockets: what an SDK does with signalling and media, over a single peer connection.
//! It resumes as SDKs do, and finds out by numbers whether reliable data came whole and in order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;
use rtc::negotiate::Outgoing;
use rtc::transport::{ChannelConfig, ChannelId, DtlsIdentity};
use rtc::{
    Codec, DatagramQueue, ExtSeq, MediaKind, Path, Peer, PeerConfig, PeerEvent, PeerRole, Proto, Ssrc,
};

use crate::source::{Source, publisher_of};

/// Reliable messages kept for a server that lacks them after a resume.
const MAX_RECENT: usize = 1_024;

/// What of a caller does not change.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) room: String,
    pub(crate) identity: String,
    /// Known by it in media.
    pub(crate) number: u32,
    pub(crate) audio: bool,
    pub(crate) video: bool,
    /// Between two reliable messages.
    pub(crate) message_interval: Option<Duration>,
}

/// Something to count.
#[derive(Debug)]
pub(crate) enum Noted {
    /// Media can flow.
    Connected,
    Resumed,
    /// A frame of somebody, so long after the one before.
    Frame(Duration),
    Lost(u64),
    /// Somebody is said to have left.
    Departure,
    MessageSent,
    MessageReceived,
    MessagesLost(u64),
}

/// What the server wants of a caller that loses its socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Farewell {
    Resume,
    Rejoin,
    Stay,
}

/// See the module.
pub(crate) struct Caller {
    part: Part,
    peer: Peer,
    pub(crate) out: DatagramQueue,
    pub(crate) asks: VecDeque<proto::SignalRequest>,
    pub(crate) noted: VecDeque<Noted>,
    pub(crate) sid: String,
    pub(crate) farewell: Farewell,
    tracks: Vec<proto::AddTrackRequest>,
    sids: HashMap<String, String>,
    sources: Vec<Source>,
    offer_id: u32,
    offer_outstanding: bool,
    offer_again: bool,
    connected: bool,
    others: HashSet<String>,
    /// By stream, for losses; by publisher and kind, for gaps: those outlive a stream.
    highest: HashMap<u32, ExtSeq>,
    arrivals: HashMap<(u32, bool), Instant>,
    channel: Option<ChannelId>,
    message_due: Option<Instant>,
    /// What is sent, numbered from 1 for the application and for the protocol alike.
    sent: u32,
    recent: VecDeque<(u32, Vec<u8>)>,
    /// By the sender's participant SID: the protocol's number.
    received: HashMap<String, u32>,
    /// By the sender's identity: the application's number.
    counted: HashMap<String, u64>,
}

impl Caller {
    pub(crate) fn new(part: Part, identity: &Arc<DtlsIdentity>, local: SocketAddr, now: Instant) -> Caller {
        let path = Path { proto: Proto::Udp, local, remote: local };
        let mut rng = fastrand::Rng::new();
        let config = PeerConfig {
            identity: identity.clone(),
            role: PeerRole::Offerer,
            ice_lite: false,
            controlling: true,
            candidates: vec![path],
            candidates_in_sdp: true,
            ufrag_prefix: String::new(),
            seed: rng.u64(..),
        };
        let mut peer = Peer::new(config, now);
        peer.offer_data_channels();
        peer.open_channel(ChannelConfig::reliable("_reliable"));
        peer.open_channel(ChannelConfig::lossy("_lossy"));
        let mut caller = Caller {
            peer,
            out: DatagramQueue::default(),
            asks: VecDeque::new(),
            noted: VecDeque::new(),
            sid: String::new(),
            farewell: Farewell::Resume,
            tracks: Vec::new(),
            sids: HashMap::new(),
            sources: Vec::new(),
            offer_id: 0,
            offer_outstanding: false,
            offer_again: false,
            connected: false,
            others: HashSet::new(),
            highest: HashMap::new(),
            arrivals: HashMap::new(),
            channel: None,
            message_due: None,
            sent: 0,
            recent: VecDeque::new(),
            received: HashMap::new(),
            counted: HashMap::new(),
            part,
        };
        for (wanted, kind) in [(caller.part.audio, MediaKind::Audio), (caller.part.video, MediaKind::Video)] {
            if wanted {
                caller.publish(now, kind, &mut rng);
            }
        }
        caller
    }

    /// The same person after a full reconnect: a new connection, and what was received before stays counted.
    pub(crate) fn anew(self, identity: &Arc<DtlsIdentity>, local: SocketAddr, now: Instant) -> Caller {
        let Caller { part, noted, arrivals, counted, sent, .. } = self;
        let fresh = Caller::new(part, identity, local, now);
        Caller { noted, arrivals, counted, sent, ..fresh }
    }

    fn publish(&mut self, now: Instant, kind: MediaKind, rng: &mut fastrand::Rng) {
        let cid = format!("{}-{kind:?}", self.part.identity);
        let outgoing = Outgoing {
            stream: cid.clone(),
            track: cid.clone(),
            cname: self.part.identity.clone(),
            codec: if kind == MediaKind::Audio { Codec::Opus } else { Codec::Vp8 },
            stereo: false,
            ssrc: Ssrc(rng.u32(1..)),
            rtx_ssrc: (kind == MediaKind::Video).then(|| Ssrc(rng.u32(1..))),
            rids: Vec::new(),
        };
        let (sender, _) = self.peer.add_sender(None, kind, outgoing);
        self.sources.push(Source::new(now, kind, sender, self.part.number, rng));
        let (source, track_type) = match kind {
            MediaKind::Audio => (proto::TrackSource::Microphone, proto::TrackType::Audio),
            MediaKind::Video => (proto::TrackSource::Camera, proto::TrackType::Video),
        };
        self.tracks.push(proto::AddTrackRequest {
            cid,
            r#type: track_type as i32,
            source: source as i32,
            width: if kind == MediaKind::Video { 640 } else { 0 },
            height: if kind == MediaKind::Video { 360 } else { 0 },
            ..Default::default()
        });
    }

    /// What a socket is opened with: the first time a join, later a resume.
    pub(crate) fn join_request(&mut self, now: Instant) -> proto::JoinRequest {
        let settings = proto::ConnectionSettings { auto_subscribe: true, ..Default::default() };
        let client = proto::ClientInfo {
            sdk: proto::client_info::Sdk::Rust as i32,
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: 16,
            os: "linux".into(),
            ..Default::default()
        };
        let base = proto::JoinRequest {
            client_info: Some(client),
            connection_settings: Some(settings),
            ..Default::default()
        };
        if self.sid.is_empty() {
            let offer = self.offer(now);
            return proto::JoinRequest {
                publisher_offer: Some(offer),
                add_track_requests: self.tracks.clone(),
                ..base
            };
        }
        self.offer_outstanding = false;
        self.offer_again = false;
        self.asks.clear();
        self.farewell = Farewell::Resume;
        proto::JoinRequest { reconnect: true, participant_sid: self.sid.clone(), ..base }
    }

    fn offer(&mut self, now: Instant) -> proto::SessionDescription {
        self.offer_outstanding = true;
        self.offer_id += 1;
        let sdp = self.peer.create_offer(now);
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
        let offer = self.offer(now);
        self.ask(Ask::Offer(offer));
    }

    pub(crate) fn ping(&mut self) {
        self.ask(Ask::PingReq(proto::Ping::default()));
    }

    pub(crate) fn leave(&mut self) {
        self.ask(Ask::Leave(proto::LeaveRequest::default()));
    }

    /// A message of the server. `Err` is a fault of the server's.
    pub(crate) fn told(&mut self, now: Instant, message: Told) -> Result<(), &'static str> {
        match message {
            Told::Join(join) => {
                self.sid = join.participant.map(|me| me.sid).unwrap_or_default();
                self.others = join.other_participants.into_iter().map(|other| other.identity).collect();
            }
            Told::Reconnect(reconnect) => self.resumed(now, reconnect.last_message_seq),
            Told::Leave(leave) => {
                use proto::leave_request::Action;
                self.farewell = match leave.action() {
                    Action::Resume => Farewell::Resume,
                    Action::Reconnect => Farewell::Rejoin,
                    Action::Disconnect => Farewell::Stay,
                };
            }
            Told::Answer(answer) if answer.id == self.offer_id => {
                self.offer_outstanding = false;
                self.peer.accept_answer(now, &answer.sdp).map_err(|_| "an answer cannot be understood")?;
                if std::mem::take(&mut self.offer_again) {
                    self.negotiate(now);
                }
            }
            Told::Trickle(trickle) => {
                let init: serde_json::Value =
                    serde_json::from_str(&trickle.candidate_init).unwrap_or_default();
                self.peer.add_remote_candidate(init["candidate"].as_str().unwrap_or_default());
            }
            Told::TrackPublished(published) => {
                let sid = published.track.map(|track| track.sid).unwrap_or_default();
                self.sids.insert(published.cid, sid);
            }
            Told::MediaSectionsRequirement(wanted) => {
                for _ in 0..wanted.num_audios {
                    self.peer.offer_receiver(MediaKind::Audio);
                }
                for _ in 0..wanted.num_videos {
                    self.peer.offer_receiver(MediaKind::Video);
                }
                self.negotiate(now);
            }
            Told::Update(update) => {
                for info in update.participants {
                    if info.state() != proto::participant_info::State::Disconnected {
                        self.others.insert(info.identity);
                    } else if self.others.remove(&info.identity) {
                        self.noted.push_back(Noted::Departure);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn resumed(&mut self, now: Instant, last_message: u32) {
        self.noted.push_back(Noted::Resumed);
        let tracks = self.sids.iter().map(|(cid, sid)| {
            let track = proto::TrackInfo { sid: sid.clone(), ..Default::default() };
            proto::TrackPublishedResponse { cid: cid.clone(), track: Some(track) }
        });
        let states = self
            .received
            .iter()
            .map(|(sid, seq)| proto::DataChannelReceiveState { publisher_sid: sid.clone(), last_seq: *seq });
        let state = proto::SyncState {
            publish_tracks: tracks.collect(),
            datachannel_receive_states: states.collect(),
            ..Default::default()
        };
        self.ask(Ask::SyncState(state));
        self.peer.restart_ice();
        self.negotiate(now);
        self.recent.retain(|(number, _)| *number > last_message);
        self.send_recent();
    }

    /// Sends again what the server lacks. It is lost on nobody who has it: receivers know the numbers.
    fn send_recent(&mut self) {
        let Some(channel) = self.channel else { return };
        for (_, packet) in &self.recent {
            if self.peer.send_data(channel, packet).is_err() {
                return;
            }
        }
    }

    /// When [`Self::tick`] is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let media = self.sources.iter().filter(|_| self.connected).map(Source::due);
        media.chain(self.peer.poll_timeout()).chain(self.message_due).min()
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        if self.connected {
            for source in &mut self.sources {
                source.send(now, &mut self.peer, &mut self.out);
            }
        }
        if let Some(interval) = self.part.message_interval
            && self.message_due.is_some_and(|due| due <= now)
        {
            self.message_due = Some(now + interval);
            self.send_message();
        }
        self.peer.handle_timeout(now, &mut self.out);
        self.events(now);
    }

    fn send_message(&mut self) {
        let Some(channel) = self.channel else { return };
        self.sent += 1;
        let user =
            proto::UserPacket { payload: u64::from(self.sent).to_be_bytes().into(), ..Default::default() };
        let packet = proto::DataPacket {
            sequence: self.sent,
            participant_sid: self.sid.clone(),
            participant_identity: self.part.identity.clone(),
            value: Some(proto::data_packet::Value::User(user)),
            ..Default::default()
        };
        let packet = packet.encode_to_vec();
        // What is refused now (the channel is on its way) goes out after the resume.
        let _ = self.peer.send_data(channel, &packet);
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((self.sent, packet));
        self.noted.push_back(Noted::MessageSent);
    }

    /// A datagram from the server.
    pub(crate) fn datagram(&mut self, now: Instant, path: &Path, datagram: &mut [u8]) {
        if let Some(media) = self.peer.handle_datagram(now, path, datagram, &mut self.out) {
            let ssrc = self.peer.stream(media.stream).map_or(0, |stream| stream.ssrc.0);
            let publisher = publisher_of(&datagram[media.payload.clone()]);
            // A picture is counted by its last packet.
            let video = media.codec.kind() == MediaKind::Video;
            self.media(now, ssrc, media.seq, publisher, video, media.marker || !video);
        }
        self.events(now);
    }

    fn media(
        &mut self,
        now: Instant,
        ssrc: u32,
        seq: ExtSeq,
        publisher: Option<u32>,
        video: bool,
        ends: bool,
    ) {
        let highest = self.highest.entry(ssrc).or_insert(seq);
        if seq > *highest {
            let lost = seq.0 - highest.0 - 1;
            if lost > 0 {
                self.noted.push_back(Noted::Lost(lost));
            }
            *highest = seq;
        }
        let Some(publisher) = publisher.filter(|_| ends) else { return };
        if let Some(before) = self.arrivals.insert((publisher, video), now) {
            self.noted.push_back(Noted::Frame(now.duration_since(before)));
        }
    }

    fn events(&mut self, now: Instant) {
        while let Some(event) = self.peer.poll_event() {
            match event {
                PeerEvent::Connected if !self.connected => {
                    self.connected = true;
                    self.noted.push_back(Noted::Connected);
                }
                PeerEvent::KeyframeWanted(sender) => {
                    self.sources
                        .iter_mut()
                        .filter(|source| source.sender == sender)
                        .for_each(Source::key_wanted);
                }
                PeerEvent::StreamBroken(stream) => self.peer.request_keyframe(stream),
                PeerEvent::ChannelOpened(channel, config) if config.is_reliable() => {
                    let first = self.channel.replace(channel).is_none();
                    self.message_due = self.part.message_interval.map(|interval| now + interval);
                    if !first {
                        self.send_recent();
                    }
                }
                PeerEvent::ChannelMessage(_, message) => self.message(&message),
                _ => {}
            }
        }
    }

    fn message(&mut self, message: &[u8]) {
        let Ok(packet) = proto::DataPacket::decode(message) else { return };
        let Some(proto::data_packet::Value::User(user)) = packet.value else { return };
        let last = self.received.entry(packet.participant_sid).or_default();
        if packet.sequence <= *last {
            return;
        }
        *last = packet.sequence;
        let Ok(number) = user.payload.as_slice().try_into().map(u64::from_be_bytes) else { return };
        self.noted.push_back(Noted::MessageReceived);
        // Who joins late has missed nothing.
        let before = self.counted.insert(packet.participant_identity, number);
        let lost = before.map_or(0, |before| number.abs_diff(before + 1));
        if lost > 0 {
            self.noted.push_back(Noted::MessagesLost(lost));
        }
    }

    /// How long each subscribed track has been silent.
    pub(crate) fn silences(&self, now: Instant) -> impl Iterator<Item = Duration> + '_ {
        self.arrivals.values().map(move |last| now.duration_since(*last))
    }
}
