//! What clients ask for: each signal message finds its handler here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::request_response::{Reason, Request};
use proto::signal_request::Message as Ask;
use proto::signal_response::Message;
use proto::{DisconnectReason, leave_request::Action};

use super::Room;
use crate::api::SessionId;
use crate::participant::{ParticipantKey, Signal, SubscriptionPolicy, Target};
use crate::publication::TrackKey;

/// For so long after the request resumes lose their socket.
const RESUME_FAULT: Duration = Duration::from_secs(5);

/// Entries of one request that are looked at; more than any room has tracks.
const MAX_ENTRIES: usize = 10_000;

impl Room {
    /// A message of a signalling connection. Unknown sessions are ignored.
    pub fn handle_signal(&mut self, now: Instant, session: SessionId, request: proto::SignalRequest) {
        let Some(&key) = self.sessions.get(&session) else { return };
        if self.moving.is_some() {
            return self.pass_signal(key, &request);
        }
        self.request(now, key, request);
    }

    /// Carries out what a participant asks for.
    pub(super) fn request(&mut self, now: Instant, key: ParticipantKey, request: proto::SignalRequest) {
        let Some(message) = request.message else { return };
        match message {
            Ask::Offer(offer) => self.client_offer(now, key, offer),
            Ask::Answer(answer) => self.client_answer(now, key, answer),
            Ask::Trickle(trickle) => self.client_trickle(now, key, &trickle),
            Ask::AddTrack(request) => self.add_track(now, key, request),
            Ask::Mute(request) => self.client_mute(now, key, &request),
            Ask::Subscription(update) => self.client_subscription(now, key, &update),
            Ask::TrackSetting(settings) => self.client_track_settings(now, key, &settings),
            Ask::Leave(request) => self.client_leave(now, key, request),
            Ask::SubscriptionPermission(policy) => self.client_policy(now, key, policy),
            Ask::SyncState(state) => self.client_sync_state(now, key, &state),
            Ask::Simulate(scenario) => self.client_simulate(now, key, &scenario),
            Ask::UpdateMetadata(update) => self.client_metadata(now, key, update),
            Ask::UpdateAudioTrack(update) => self.client_audio_track(now, key, &update),
            Ask::UpdateVideoTrack(update) => self.client_video_track(now, key, &update),
            // Answered by the signalling endpoint itself, or deprecated and without effect.
            #[allow(deprecated)]
            Ask::Ping(_) | Ask::PingReq(_) | Ask::UpdateLayers(_) => {}
            Ask::PublishDataTrackRequest(_)
            | Ask::UnpublishDataTrackRequest(_)
            | Ask::UpdateDataSubscription(_)
            | Ask::StoreDataBlobRequest(_)
            | Ask::GetDataBlobRequest(_) => {
                self.respond(key, 0, Reason::UnsupportedType, "data tracks are not available", None);
            }
        }
    }

    /// Answers a request that has no answer of its own.
    pub(super) fn respond(
        &mut self,
        key: ParticipantKey,
        request_id: u32,
        reason: Reason,
        message: &str,
        request: Option<Request>,
    ) {
        let ok = reason == Reason::Ok;
        if ok && self.participants.get(&key).is_none_or(|p| p.protocol() <= 14) {
            return;
        }
        self.send(
            key,
            Message::RequestResponse(proto::RequestResponse {
                request_id,
                reason: reason as i32,
                message: message.to_owned(),
                request,
            }),
        );
    }

    fn client_trickle(&mut self, now: Instant, key: ParticipantKey, trickle: &proto::TrickleRequest) {
        let target = Target::from_proto(trickle.target);
        let Some(transport) = self.participants.get_mut(&key).and_then(|p| p.transport(target)) else {
            return;
        };
        let Some(candidate) = candidate_of(&trickle.candidate_init) else { return };
        transport.peer.add_remote_candidate(&candidate);
        self.wake_transport(now, key, target);
    }

    /// A published track of this participant by sid.
    pub(super) fn own_track(&self, key: ParticipantKey, sid: &str) -> Option<TrackKey> {
        let track = *self.by_sid.get(sid)?;
        (self.tracks.get(&track)?.publisher == key).then_some(track)
    }

    fn client_audio_track(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        update: &proto::UpdateLocalAudioTrack,
    ) {
        let Some(track) = self.own_track(key, &update.track_sid) else {
            let request = Some(Request::UpdateAudioTrack(update.clone()));
            return self.respond(key, 0, Reason::NotFound, "track not found", request);
        };
        if let Some(track) = self.tracks.get_mut(&track) {
            track.info.audio_features = update.features.clone();
        }
        self.participant_changed(now, key);
    }

    fn client_video_track(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        update: &proto::UpdateLocalVideoTrack,
    ) {
        let Some(track) = self.own_track(key, &update.track_sid) else {
            let request = Some(Request::UpdateVideoTrack(update.clone()));
            return self.respond(key, 0, Reason::NotFound, "track not found", request);
        };
        if let Some(track) = self.tracks.get_mut(&track) {
            track.info.width = update.width;
            track.info.height = update.height;
        }
        self.participant_changed(now, key);
    }

    fn client_metadata(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        update: proto::UpdateParticipantMetadata,
    ) {
        let id = update.request_id;
        let limits = &self.config.limits;
        let Some(participant) = self.participants.get_mut(&key) else { return };
        if !participant.permission.can_update_metadata {
            let message = "does not have permission to update own metadata";
            return self.respond(key, id, Reason::NotAllowed, message, Some(Request::UpdateMetadata(update)));
        }
        let attributes = merged(&participant.attributes, &update.attributes);
        let message = if update.metadata.len() > limits.max_metadata_bytes {
            Some("metadata exceeds limits")
        } else if update.name.len() > limits.max_name_bytes {
            Some("name exceeds limits")
        } else if size_of_map(&attributes) > limits.max_attributes_bytes {
            Some("attributes exceeds limits")
        } else {
            None
        };
        if let Some(message) = message {
            return self.respond(
                key,
                id,
                Reason::LimitExceeded,
                message,
                Some(Request::UpdateMetadata(update)),
            );
        }
        if !update.metadata.is_empty() {
            participant.metadata = update.metadata.clone();
        }
        if !update.name.is_empty() {
            participant.name = update.name.clone();
        }
        participant.attributes = attributes;
        self.participant_changed(now, key);
        self.send_refresh_token(key);
        self.respond(key, id, Reason::Ok, "", Some(Request::UpdateMetadata(update)));
    }

    fn client_policy(&mut self, now: Instant, key: ParticipantKey, policy: proto::SubscriptionPermission) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        participant.policy = if policy.all_participants {
            SubscriptionPolicy::Everyone
        } else {
            let mut listed = policy.track_permissions;
            listed.truncate(MAX_ENTRIES);
            SubscriptionPolicy::Listed(listed)
        };
        let others: Vec<_> = self.participants.keys().copied().filter(|other| *other != key).collect();
        for other in others {
            self.reconcile_subscriber(now, other);
        }
    }

    fn client_sync_state(&mut self, now: Instant, key: ParticipantKey, state: &proto::SyncState) {
        let known = |track: &proto::TrackPublishedResponse| {
            track.track.as_ref().is_some_and(|info| {
                self.own_track(key, &info.sid).is_some()
                    || self.participants[&key].pending.iter().any(|pending| pending.info.sid == info.sid)
            })
        };
        if !self.participants.contains_key(&key) {
            return;
        }
        if !state.publish_tracks.iter().take(MAX_ENTRIES).all(known) {
            return self.full_reconnect(now, key, DisconnectReason::StateMismatch);
        }
        if !state.track_sids_disabled.is_empty() {
            let settings = proto::UpdateTrackSettings {
                track_sids: state.track_sids_disabled.clone(),
                disabled: true,
                ..Default::default()
            };
            self.client_track_settings(now, key, &settings);
        }
        if let Some(update) = &state.subscription {
            self.client_subscription(now, key, update);
        }
        if self.participants.get(&key).is_some_and(|participant| participant.arrival.is_some()) {
            self.adopt_channels(now, key, &state.data_channels);
        }
        self.replay_data(now, key, &state.datachannel_receive_states);
    }

    fn client_simulate(&mut self, now: Instant, key: ParticipantKey, scenario: &proto::SimulateScenario) {
        use proto::simulate_scenario::Scenario;
        let Some(scenario) = &scenario.scenario else { return };
        let Some(participant) = self.participants.get_mut(&key) else { return };
        match *scenario {
            Scenario::SpeakerUpdate(seconds) => {
                let until = now + Duration::from_secs(u64::from(seconds.clamp(0, 60) as u32));
                self.simulate_speaker(now, key, until);
            }
            Scenario::NodeFailure(_) | Scenario::Migration(_) => {
                if let Some(session) = participant.session() {
                    self.sessions.remove(&session);
                    self.output(crate::RoomOutput::Session(session, crate::SessionOutput::Abort));
                }
                if let Some(participant) = self.participants.get_mut(&key) {
                    participant.signal = Signal::Lost { since: now };
                }
                self.remove(now, key, DisconnectReason::Migration, None, true);
            }
            Scenario::ServerLeave(_) => {
                let action = Some(Action::Disconnect);
                self.remove(now, key, DisconnectReason::ServerShutdown, action, true);
            }
            Scenario::LeaveRequestFullReconnect(_) => {
                self.full_reconnect(now, key, DisconnectReason::UnknownReason);
            }
            Scenario::DisconnectSignalOnResume(_) => {
                participant.resume_faults.drop_after_first = Some(now + RESUME_FAULT);
            }
            Scenario::DisconnectSignalOnResumeNoMessages(_) => {
                participant.resume_faults.drop_before_first = 3
            }
            Scenario::SubscriberBandwidth(bps) => {
                let cap = (bps > 0).then_some(bps as u64);
                participant.downlink().bandwidth_cap_bps = cap;
                self.allocate(now, key);
            }
            // Every candidate is offered anyway: a client that cannot use one takes the next.
            Scenario::SwitchCandidateProtocol(_) => self.restart_subscriber_ice(now, key),
        }
    }
}

/// The candidate line of an `RTCIceCandidateInit` in JSON; `None` for an end-of-candidates mark.
fn candidate_of(init: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(init).ok()?;
    let candidate = value.get("candidate")?.as_str()?;
    (!candidate.is_empty()).then(|| candidate.to_owned())
}

/// Attributes after an update: an empty value deletes its key.
pub(super) fn merged(
    old: &HashMap<String, String>,
    changes: &HashMap<String, String>,
) -> HashMap<String, String> {
    let mut merged = old.clone();
    for (name, value) in changes {
        if value.is_empty() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    merged
}

pub(super) fn size_of_map(map: &HashMap<String, String>) -> usize {
    map.iter().map(|(name, value)| name.len() + value.len()).sum()
}
