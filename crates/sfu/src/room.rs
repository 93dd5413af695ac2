//! One room: the state machine that everything else in this crate serves.
//!
//! The room owns its participants, their transports and the published tracks; nothing is shared with other
//! rooms. Every input comes with the time and is handled to its end; what it causes is queued as
//! [`RoomOutput`] or written to the [`Egress`] at hand. The behaviour is split by theme over the files beside
//! this one: joining, publishing, subscribing, media, data, the server API and what everybody is told.

mod admin;
mod data;
mod join;
mod media;
mod migrate;
mod publish;
mod restore;
mod signal;
mod subscribe;
mod timers;
mod updates;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use livekit_protocol as proto;
use proto::signal_response::Message;
use rtc::transport::DtlsIdentity;
use rtc::{Egress, Path};

use crate::api::*;
use crate::ids;
use crate::participant::{Participant, ParticipantKey, Target};
use crate::publication::{TrackKey, TrackPublication};
use crate::speakers::Speakers;
use data::Nonces;
pub(crate) use join::ResumeFaults;
use migrate::{Dormant, Moving, Recent};
use restore::{Describe, Expected, Reunion};
use timers::Timers;
use updates::{Batched, Departed};

/// Outputs that may wait to be drained. The owner drains after each input; one input can address every
/// participant a few times over.
const MAX_OUTPUTS: usize = 1 << 20;

/// Where the room is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Open,
    /// Since this time nobody (but dependents) is here.
    Empty {
        since: Instant,
        departed: bool,
    },
    Finished,
}

/// Turns the engine's monotonic time into wall-clock time.
#[derive(Clone, Copy, Debug)]
struct Clock {
    origin: Instant,
    unix: Duration,
}

impl Clock {
    fn unix_ms(&self, now: Instant) -> i64 {
        (self.unix + now.saturating_duration_since(self.origin)).as_millis() as i64
    }

    fn unix_micro(&self, now: Instant) -> i64 {
        (self.unix + now.saturating_duration_since(self.origin)).as_micros() as i64
    }
}

/// A live room. After every input drain [`Self::poll_output`], then ask [`Self::poll_timeout`].
pub struct Room {
    config: Arc<EngineConfig>,
    identity: Arc<DtlsIdentity>,
    name: RoomName,
    sid: String,
    options: RoomOptions,
    clock: Clock,
    created_ms: i64,
    rng: Rng,
    life: Life,

    participants: BTreeMap<ParticipantKey, Participant>,
    by_identity: HashMap<Identity, ParticipantKey>,
    sessions: HashMap<SessionId, ParticipantKey>,
    transports: HashMap<TransportId, (ParticipantKey, Target)>,
    tracks: BTreeMap<TrackKey, TrackPublication>,
    by_sid: HashMap<TrackSid, TrackKey>,
    next_key: u32,

    /// Tracks that received media in the current batch.
    dirty: Vec<TrackKey>,
    speakers: Speakers<TrackKey>,
    nonces: Nonces,
    batched: Batched,
    timers: Timers,
    outputs: VecDeque<RoomOutput>,
    sif_trailer: Vec<u8>,
    room_update_due: Option<Instant>,
    next_quality: Instant,
    /// Retransmissions that were asked for and wait for an [`Egress`].
    nacked: Vec<(ParticipantKey, rtc::SenderKey, Vec<u16>)>,
    /// Publishers' clocks, likewise.
    reports: Vec<(TrackKey, usize, u64, u32)>,
    /// Set while another node takes the room over.
    moving: Option<Moving>,
    /// Set from the import until the cluster has agreed to it.
    dormant: Option<Dormant>,
    /// Reliable packets that a receiver may lack after it has moved.
    recent: Recent,
    /// Who left lately.
    departed: Departed,
    /// Who was here when the room's former node died, and has not come back yet.
    expected: Expected,
    reunion: Reunion,
    describe: Describe,
}

impl Room {
    /// A room that nobody has joined. `wall` is the wall clock at `now`; `seed` feeds every random choice.
    pub fn new(
        config: Arc<EngineConfig>,
        identity: Arc<DtlsIdentity>,
        name: RoomName,
        options: RoomOptions,
        now: Instant,
        wall: SystemTime,
        seed: u64,
    ) -> Room {
        let mut room = Room::silent(config, identity, name, options, now, wall, seed);
        room.event(RoomEvent::RoomStarted(room.info()));
        room
    }

    /// A room that nobody is told about yet.
    fn silent(
        config: Arc<EngineConfig>,
        identity: Arc<DtlsIdentity>,
        name: RoomName,
        options: RoomOptions,
        now: Instant,
        wall: SystemTime,
        seed: u64,
    ) -> Room {
        let mut rng = Rng::with_seed(seed);
        let unix = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = Clock { origin: now, unix };
        let speakers = Speakers::new(&config);
        Room {
            sid: ids::sid("RM_", &mut rng),
            sif_trailer: std::iter::repeat_with(|| rng.u8(..)).take(16).collect(),
            created_ms: clock.unix_ms(now),
            config,
            identity,
            name,
            options,
            clock,
            rng,
            life: Life::Empty { since: now, departed: false },
            participants: BTreeMap::new(),
            by_identity: HashMap::new(),
            sessions: HashMap::new(),
            transports: HashMap::new(),
            tracks: BTreeMap::new(),
            by_sid: HashMap::new(),
            next_key: 0,
            dirty: Vec::new(),
            speakers,
            nonces: Nonces::default(),
            batched: Batched::default(),
            timers: Timers::new(now),
            outputs: VecDeque::new(),
            room_update_due: None,
            next_quality: now + Duration::from_secs(5),
            nacked: Vec::new(),
            reports: Vec::new(),
            moving: None,
            dormant: None,
            recent: Recent::default(),
            departed: Departed::default(),
            expected: Expected::default(),
            reunion: Reunion::default(),
            describe: Describe::new(now),
        }
    }

    /// The signalling connection is gone, with or without a Leave before.
    pub fn handle_session_closed(&mut self, now: Instant, session: SessionId) {
        self.session_closed(now, session);
    }

    /// A datagram of a transport; decrypted in place. Media is only collected: see [`Self::flush`].
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        transport: TransportId,
        path: &Path,
        datagram: &mut [u8],
        out: &mut dyn Egress,
    ) {
        self.datagram(now, transport, path, datagram, out);
        self.serve_feedback(now, out);
    }

    /// Ends a receive batch: forwards the media collected since the last flush, subscriber by subscriber,
    /// so that a frame's packets leave side by side.
    pub fn flush(&mut self, now: Instant, out: &mut dyn Egress) {
        self.forward_collected(now, out);
    }

    /// Timers. May be called early; does nothing then.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut dyn Egress) {
        self.timeout(now, out);
        self.serve_feedback(now, out);
    }

    /// When [`Self::handle_timeout`] is due next.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.next_timeout()
    }

    /// The next thing to tell the outside.
    pub fn poll_output(&mut self) -> Option<RoomOutput> {
        self.outputs.pop_front()
    }

    /// Whether the room has ended.
    pub fn is_finished(&self) -> bool {
        self.life == Life::Finished
    }

    /// How many tracks are published here, and how many subscriptions they have.
    pub fn track_counts(&self) -> (usize, usize) {
        let subscriptions = self.tracks.values().map(|track| track.subscriptions.len());
        (self.tracks.len(), subscriptions.sum())
    }

    /// The name that clients know it by.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// The room as the server API shows it.
    pub fn info(&self) -> proto::Room {
        let visible = |participant: &&Participant| !participant.is_dependent() && !participant.is_hidden();
        proto::Room {
            sid: self.sid.clone(),
            name: self.name.to_string(),
            empty_timeout: self.options.empty_timeout.as_secs() as u32,
            departure_timeout: self.options.departure_timeout.as_secs() as u32,
            max_participants: self.options.max_participants,
            creation_time: self.created_ms / 1000,
            creation_time_ms: self.created_ms,
            enabled_codecs: self.enabled_codecs(),
            metadata: self.options.metadata.clone(),
            num_participants: self.participants.values().filter(visible).count() as u32,
            num_publishers: self.participants.values().filter(|p| !p.published.is_empty()).count() as u32,
            ..Default::default()
        }
    }

    /// All codecs that may be published, as clients are told.
    fn enabled_codecs(&self) -> Vec<proto::Codec> {
        let mime = |codec: &rtc::Codec| proto::Codec { mime: codec.mime(), fmtp_line: String::new() };
        let mut codecs: Vec<_> = self.config.enabled_codecs.iter().map(mime).collect();
        codecs.push(proto::Codec { mime: "video/rtx".to_owned(), fmtp_line: String::new() });
        codecs
    }

    fn next_key(&mut self) -> u32 {
        self.next_key += 1;
        self.next_key
    }

    fn output(&mut self, output: RoomOutput) {
        debug_assert!(self.outputs.len() < MAX_OUTPUTS, "outputs are not drained");
        self.outputs.push_back(output);
    }

    fn event(&mut self, event: RoomEvent) {
        match &mut self.dormant {
            Some(dormant) => dormant.keep(event),
            None => self.output(RoomOutput::Event(event)),
        }
    }

    /// Sends a signal message to a participant, if it has a connection.
    fn send(&mut self, to: ParticipantKey, message: Message) {
        match self.participants.get(&to).map(Participant::session) {
            Some(Some(session)) => self.send_session(session, message),
            Some(None) => self.hold_for_arrival(to, message),
            None => {}
        }
    }

    fn send_session(&mut self, session: SessionId, message: Message) {
        let response = Box::new(proto::SignalResponse { message: Some(message) });
        self.output(RoomOutput::Session(session, SessionOutput::Response(response)));
    }
}
