//! Coming and going: join, resume, leave, and the room's own end (livekit.md §2.4, §2.12, §3.4).

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::participant_info::State;
use proto::signal_response::Message;
use proto::{DisconnectReason, leave_request::Action};
use rtc::transport::ChannelConfig;
use rtc::{Peer, PeerConfig, PeerRole};

use super::{Life, Room};
use crate::api::*;
use crate::ids;
use crate::participant::*;

/// Clients ping this often, in seconds, …
const PING_INTERVAL_S: i32 = 5;
/// … and give up after this much silence.
const PING_TIMEOUT_S: i32 = 15;

/// A participant whose transports never came up is removed after this long.
pub(super) const JOIN_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a participant whose transport failed may take to resume.
pub(super) const RESUME_TIMEOUT: Duration = Duration::from_secs(5);

/// Tokens are refreshed this often, and whenever claims change.
pub(super) const TOKEN_REFRESH: Duration = Duration::from_secs(300);

/// `livekit-client` takes 2 s for a full reconnect. When its connection comes up before its tracks are published
/// again it declares itself reconnected sooner, and then swallows all events of others until those 2 s are over
/// (seen with 2.23: who rejoins meanwhile is never shown). So after a node's death it connects this late, or when
/// everybody is back with what they published: see `restore`.
const RECONNECT_PAUSE: Duration = Duration::from_millis(1500);

/// Faults that a client asked for to test its own resume logic (livekit.md §2.13).
#[derive(Default, Debug, Clone, Copy)]
pub(crate) struct ResumeFaults {
    /// Until then a resume loses its socket after the first message.
    pub(crate) drop_after_first: Option<Instant>,
    /// So many resumes lose their socket before any message.
    pub(crate) drop_before_first: u8,
}

impl Room {
    /// A client connects or resumes. On success the first [`SessionOutput`] of the session is its first
    /// signal response (Join, Reconnect or Leave).
    pub fn join(&mut self, now: Instant, params: JoinParams) -> Result<(), JoinError> {
        if self.life == Life::Finished || self.moving.is_some() {
            return Err(JoinError::RoomClosing);
        }
        if let Some(resume) = params.resume.clone() {
            self.resume(now, params, &resume);
            return Ok(());
        }
        self.check_capacity(&params)?;
        // Who does not resume after a node's death comes back as if the room had not been mirrored.
        let mut unresumed = None;
        if let Some(&old) = self.by_identity.get(&params.identity) {
            let awaited = self.participants.get(&old).filter(|old| old.is_awaited());
            unresumed = awaited.map(|old| old.published.len());
            self.remove(now, old, DisconnectReason::DuplicateIdentity, Some(Action::Disconnect), true);
        }
        self.admit(now, params, unresumed);
        Ok(())
    }

    fn check_capacity(&self, params: &JoinParams) -> Result<(), JoinError> {
        let limit = match self.options.max_participants {
            0 => self.config.limits.max_participants_per_room as u32,
            limit => limit,
        };
        let others =
            self.participants.values().filter(|p| !p.is_dependent() && p.identity != params.identity);
        let dependent = matches!(
            params.kind,
            proto::participant_info::Kind::Agent | proto::participant_info::Kind::Egress
        );
        if !dependent && others.count() as u32 >= limit {
            return Err(JoinError::RoomFull(limit));
        }
        Ok(())
    }

    /// `unresumed`: with how many tracks it is complete again, if the client could not resume.
    fn admit(&mut self, now: Instant, params: JoinParams, unresumed: Option<usize>) {
        let key = ParticipantKey(self.next_key());
        let session = params.session;
        // SDKs take who comes back by a full reconnect for somebody new, and so do we: the former stay ends.
        let before = self.expected.take(&params.identity);
        let tracks = before.as_ref().map(|before| before.tracks.len()).or(unresumed);
        let connect_after =
            (tracks.is_some() && is_javascript(&params.client)).then(|| now + RECONNECT_PAUSE);
        if let Some(tracks) = tracks {
            self.reunion.came_back(key, tracks, connect_after);
        }
        if let Some(before) = before {
            self.end_former_stay(before);
        }
        let publisher = self.open_transport(now, key, Target::Publisher, PeerRole::Answerer);
        let topology = if params.single_peer_connection {
            Topology::Single {
                requested_audio: 0,
                requested_video: 0,
                renegotiate: false,
                sections: [0; 2],
                asked_at: None,
            }
        } else {
            let transport = Box::new(self.open_transport(now, key, Target::Subscriber, PeerRole::Offerer));
            Topology::Dual {
                transport,
                offer: OfferState::Idle,
                offer_id: u32::from(self.rng.u8(1..)),
                last_offer_at: None,
            }
        };
        let mut participant = Participant {
            key,
            sid: ids::participant_sid(&mut self.rng),
            identity: params.identity.clone(),
            name: params.name.clone(),
            metadata: params.metadata.clone(),
            attributes: params.attributes.clone(),
            kind: params.kind,
            kind_details: params.kind_details.iter().map(|detail| *detail as i32).collect(),
            permission: params.permission.clone(),
            client: params.client.clone(),
            ice_servers: params.ice_servers.clone(),
            state: State::Joining,
            joined_at: now,
            joined_at_ms: self.clock.unix_ms(now),
            version: 0,
            signal: Signal::Connected(session),
            announced_active: false,
            publisher,
            topology,
            last_offer_id: 0,
            auto_subscribe: params.auto_subscribe,
            adaptive_stream: params.adaptive_stream,
            allow_pause: params.subscriber_allow_pause.unwrap_or(self.config.allow_pause),
            wanted: Default::default(),
            unbound: Default::default(),
            bound: Default::default(),
            policy: SubscriptionPolicy::default(),
            pending: Vec::new(),
            queued: Default::default(),
            published: Vec::new(),
            data_sequence: 0,
            waiting_data: Default::default(),
            waiting_data_bytes: 0,
            resume_faults: ResumeFaults::default(),
            next_token_refresh: now + TOKEN_REFRESH,
            streams: Vec::new(),
            arrival: None,
            settles_until: None,
            told_quality: Vec::new(),
        };
        if let Some(at) = connect_after {
            participant.transports().for_each(|(_, transport)| transport.peer.connect_after(at));
        }
        if participant.subscriber_primary() {
            let channels = &mut participant.downlink().peer;
            channels.offer_data_channels();
            channels.open_channel(ChannelConfig::reliable("_reliable"));
            channels.open_channel(ChannelConfig::lossy("_lossy"));
            channels.open_channel(ChannelConfig::lossy("_data_track"));
        }
        self.sessions.insert(session, key);
        self.by_identity.insert(params.identity, key);
        let dependent = participant.is_dependent();
        self.participants.insert(key, participant);
        if !dependent {
            self.life = Life::Open;
        }

        let response = self.join_response(key);
        self.send(key, Message::Join(response));
        self.set_state(now, key, State::Joined);
        self.send_refresh_token(key);
        self.timers.schedule(now + JOIN_TIMEOUT);
        self.touch_room_counters(now);

        for request in params.add_tracks {
            self.add_track(now, key, request);
        }
        if let Some(offer) = params.publisher_offer {
            self.client_offer(now, key, offer);
        }
        self.reconcile_subscriber(now, key);
        if self.participants.get(&key).is_some_and(Participant::subscriber_primary) {
            // The first offer goes out at once, with what there is, so that the client can connect.
            self.send_offer(now, key);
        }
    }

    fn join_response(&self, key: ParticipantKey) -> proto::JoinResponse {
        let participant = &self.participants[&key];
        let others = self.participants.values().filter(|other| other.key != key && !other.is_hidden());
        proto::JoinResponse {
            room: Some(self.info()),
            participant: Some(self.participant_info(participant)),
            other_participants: others.map(|other| self.participant_info(other)).collect(),
            server_version: self.config.server_info.version.clone(),
            ice_servers: participant.ice_servers.clone(),
            subscriber_primary: participant.subscriber_primary(),
            client_configuration: Some(proto::ClientConfiguration::default()),
            server_region: self.config.server_info.region.clone(),
            ping_timeout: PING_TIMEOUT_S,
            ping_interval: PING_INTERVAL_S,
            server_info: Some(self.config.server_info.clone()),
            sif_trailer: self.sif_trailer.clone(),
            enabled_publish_codecs: self
                .enabled_codecs()
                .into_iter()
                .filter(|codec| codec.mime != "video/rtx")
                .collect(),
            fast_publish: participant.permission.can_publish,
            ..Default::default()
        }
    }

    pub(super) fn peer_config(&mut self, role: PeerRole) -> PeerConfig {
        PeerConfig {
            identity: self.identity.clone(),
            role,
            ice_lite: self.config.ice_lite,
            controlling: false,
            candidates_in_sdp: true,
            candidates: self.config.candidates.clone(),
            ufrag_prefix: self.config.ufrag_prefix.clone(),
            seed: self.rng.u64(..),
        }
    }

    fn open_transport(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        target: Target,
        role: PeerRole,
    ) -> Transport {
        let config = self.peer_config(role);
        self.transport_of(key, target, Peer::new(config, now))
    }

    /// Gives a peer its place in the room.
    pub(super) fn transport_of(&mut self, key: ParticipantKey, target: Target, peer: Peer) -> Transport {
        let id = TransportId(self.next_key());
        self.transports.insert(id, (key, target));
        self.output(RoomOutput::TransportOpened { transport: id, ufrag: peer.local_ufrag().to_owned() });
        Transport {
            id,
            peer,
            queued: None,
            channels: Channels::default(),
            connected: false,
            bandwidth_cap_bps: None,
            lost_since: None,
        }
    }

    fn resume(&mut self, now: Instant, params: JoinParams, resume: &Resume) {
        let session = params.session;
        let Some(&key) = self.by_identity.get(&params.identity) else {
            tracing::debug!(identity = %params.identity, reason = resume.reason, "nothing to resume");
            return self.refuse_resume(session);
        };
        let Some(participant) = self.participants.get_mut(&key) else { return self.refuse_resume(session) };
        let faults = &mut participant.resume_faults;
        if faults.drop_before_first > 0 {
            faults.drop_before_first -= 1;
            return self.output(RoomOutput::Session(session, SessionOutput::Abort));
        }
        let drop_after_first = faults.drop_after_first.is_some_and(|until| now < until);
        if let Some(old) = participant.session() {
            self.sessions.remove(&old);
            self.output(RoomOutput::Session(old, SessionOutput::Abort));
        }
        let Some(participant) = self.participants.get_mut(&key) else { return };
        participant.apply_client(&params);
        participant.signal = Signal::Connected(session);
        for (_, transport) in participant.transports() {
            transport.lost_since = None;
        }
        let response = proto::ReconnectResponse {
            ice_servers: participant.ice_servers.clone(),
            client_configuration: Some(proto::ClientConfiguration::default()),
            server_info: Some(self.config.server_info.clone()),
            last_message_seq: participant.data_sequence,
        };
        self.sessions.insert(session, key);
        self.send_session(session, Message::Reconnect(response));
        self.arrived(key);
        if drop_after_first {
            if let Some(participant) = self.participants.get_mut(&key) {
                participant.signal = Signal::Lost { since: now };
            }
            self.sessions.remove(&session);
            return self.output(RoomOutput::Session(session, SessionOutput::Abort));
        }
        self.send_everybody_to(key);
        self.send(key, Message::RoomUpdate(proto::RoomUpdate { room: Some(self.info()) }));
        self.resend_subscription_permissions(key);
        self.send_refresh_token(key);
        if !self.offer_waits(key) {
            self.restart_subscriber_ice(now, key);
        }
    }

    fn refuse_resume(&mut self, session: SessionId) {
        self.send_session(session, leave(DisconnectReason::StateMismatch, Action::Reconnect));
        self.output(RoomOutput::Session(session, SessionOutput::Close));
    }

    /// The client said goodbye.
    pub(super) fn client_leave(&mut self, now: Instant, key: ParticipantKey, _request: proto::LeaveRequest) {
        self.remove(now, key, DisconnectReason::ClientInitiated, None, true);
    }

    pub(super) fn session_closed(&mut self, now: Instant, session: SessionId) {
        let Some(key) = self.sessions.remove(&session) else { return };
        let Some(participant) = self.participants.get_mut(&key) else { return };
        if participant.session() != Some(session) {
            return;
        }
        participant.signal = Signal::Lost { since: now };
        let settles = participant.settles_until.is_some_and(|until| now < until);
        if !participant.media_lives() && !settles {
            self.remove(now, key, DisconnectReason::SignalClose, None, true);
        }
    }

    /// Ends a participant's stay. `action` tells the client first; `announce` tells the others.
    pub(super) fn remove(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        reason: DisconnectReason,
        action: Option<Action>,
        announce: bool,
    ) {
        if self.moving.is_some() {
            // Nobody leaves a room that moves: its successor knows who does not arrive.
            return;
        }
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let replaced = reason == DisconnectReason::DuplicateIdentity;
        let session = participant.session();
        let published = participant.published.clone();
        participant.state = State::Disconnected;
        participant.version += 1;
        for track in published {
            self.unpublish(now, track, false);
        }
        self.drop_subscriptions_of(key);
        if let Some(session) = session {
            if let Some(action) = action {
                self.send_session(session, leave(reason, action));
            }
            self.sessions.remove(&session);
            self.output(RoomOutput::Session(session, SessionOutput::Close));
        }
        let Some(mut participant) = self.participants.remove(&key) else { return };
        for (_, transport) in participant.transports() {
            self.transports.remove(&transport.id);
            self.outputs.push_back(RoomOutput::TransportClosed { transport: transport.id });
        }
        if self.by_identity.get(&participant.identity) == Some(&key) {
            self.by_identity.remove(&participant.identity);
        }
        let mut info = self.participant_info(&participant);
        info.disconnect_reason = reason as i32;
        if announce && !participant.is_hidden() {
            self.broadcast_departure(&info, replaced);
        }
        self.event(if participant.announced_active {
            RoomEvent::ParticipantLeft(info)
        } else {
            RoomEvent::ParticipantConnectionAborted(info)
        });
        self.touch_room_counters(now);
        if self.life == Life::Open && self.participants.values().all(Participant::is_dependent) {
            self.life = Life::Empty { since: now, departed: true };
            self.timers.schedule(now + self.options.departure_timeout);
        }
    }

    /// The client shall come back as if new.
    pub(super) fn full_reconnect(&mut self, now: Instant, key: ParticipantKey, reason: DisconnectReason) {
        tracing::debug!(?reason, "asking a participant for a full reconnect");
        self.remove(now, key, reason, Some(Action::Reconnect), true);
    }

    /// Everybody is told to leave, then the room finishes. `reason`: ROOM_DELETED, SERVER_SHUTDOWN, …
    pub fn close(&mut self, now: Instant, reason: DisconnectReason) {
        if self.life == Life::Finished {
            return;
        }
        if self.moving.is_some() {
            return self.vanish();
        }
        self.expected.expire_all();
        self.end_expected(now);
        let keys: Vec<_> = self.participants.keys().copied().collect();
        for key in keys {
            self.remove(now, key, reason, Some(Action::Disconnect), false);
        }
        self.life = Life::Finished;
        self.event(RoomEvent::RoomFinished(self.info()));
        self.output(RoomOutput::Finished);
    }

    /// Closes the room when nobody has been here for too long.
    pub(super) fn check_empty(&mut self, now: Instant) {
        let Life::Empty { since, departed } = self.life else { return };
        if !self.expected.is_empty() {
            return;
        }
        let timeout = if departed { self.options.departure_timeout } else { self.options.empty_timeout };
        if now >= since + timeout {
            self.close(now, DisconnectReason::RoomClosed);
        } else {
            self.timers.schedule(since + timeout);
        }
    }

    pub(super) fn send_refresh_token(&mut self, key: ParticipantKey) {
        let Some(participant) = self.participants.get(&key) else { return };
        if let Some(session) = participant.session() {
            let token = Box::new(participant.refresh_token());
            self.output(RoomOutput::Session(session, SessionOutput::RefreshToken(token)));
        }
    }

    /// Moves a participant's state forward; it never goes back.
    pub(super) fn set_state(&mut self, now: Instant, key: ParticipantKey, state: State) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        if participant.state as i32 >= state as i32 {
            return;
        }
        participant.state = state;
        if state == State::Active && !participant.announced_active {
            participant.announced_active = true;
            let info = self.participant_info(&self.participants[&key]);
            self.event(RoomEvent::ParticipantJoined(info));
        }
        self.participant_changed(now, key);
    }
}

/// A Leave as every protocol version understands it.
pub(super) fn leave(reason: DisconnectReason, action: Action) -> Message {
    Message::Leave(proto::LeaveRequest {
        can_reconnect: action != Action::Disconnect,
        reason: reason as i32,
        action: action as i32,
        regions: None,
    })
}

/// Whether the client is `livekit-client`, in a browser or beneath React Native.
fn is_javascript(client: &proto::ClientInfo) -> bool {
    matches!(client.sdk(), proto::client_info::Sdk::Js | proto::client_info::Sdk::ReactNative)
}
