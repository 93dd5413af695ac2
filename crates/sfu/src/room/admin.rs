//! The server API's view of a room (livekit.md §3.2).

use std::time::Instant;

use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_response::Message;
use proto::{DisconnectReason, leave_request::Action};

use super::Room;
use super::signal::{merged, size_of_map};
use crate::api::AdminError;
use crate::participant::ParticipantKey;
use crate::snapshot::AdminTail;

impl Room {
    /// All participants that the server API shows.
    pub fn participants(&self) -> Vec<proto::ParticipantInfo> {
        let visible = self.participants.values().filter(|participant| !participant.is_hidden());
        visible.map(|participant| self.participant_info(participant)).collect()
    }

    pub fn participant(&self, identity: &str) -> Result<proto::ParticipantInfo, AdminError> {
        let key = self.find(identity)?;
        Ok(self.participant_info(&self.participants[&key]))
    }

    pub fn remove_participant(&mut self, now: Instant, identity: &str) -> Result<(), AdminError> {
        let key = self.find(identity)?;
        if self.moving.is_some() {
            self.pass_admin(AdminTail::Remove { identity: identity.to_owned() });
            return Ok(());
        }
        self.remove(now, key, DisconnectReason::ParticipantRemoved, Some(Action::Disconnect), true);
        Ok(())
    }

    pub fn mute_track(
        &mut self,
        now: Instant,
        identity: &str,
        track_sid: &str,
        muted: bool,
    ) -> Result<proto::TrackInfo, AdminError> {
        let key = self.find(identity)?;
        if !muted && !self.config.enable_remote_unmute {
            return Err(AdminError::RemoteUnmuteDisabled);
        }
        let track = self.own_track(key, track_sid).ok_or(AdminError::TrackNotFound)?;
        if self.moving.is_some() {
            let mut info = self.tracks.get(&track).map(|track| track.info.clone()).unwrap_or_default();
            info.muted = muted;
            let (identity, sid) = (identity.to_owned(), track_sid.to_owned());
            self.pass_admin(AdminTail::Mute { identity, sid, muted });
            return Ok(info);
        }
        self.set_muted(now, track, muted);
        let request = proto::MuteTrackRequest { sid: track_sid.to_owned(), muted };
        self.send(key, Message::Mute(request));
        self.tracks.get(&track).map(|track| track.info.clone()).ok_or(AdminError::TrackNotFound)
    }

    pub fn update_participant(
        &mut self,
        now: Instant,
        request: proto::UpdateParticipantRequest,
    ) -> Result<proto::ParticipantInfo, AdminError> {
        let key = self.find(&request.identity)?;
        let limits = &self.config.limits;
        let Some(participant) = self.participants.get_mut(&key) else {
            return Err(AdminError::ParticipantNotFound);
        };
        let attributes = merged(&participant.attributes, &request.attributes);
        let checks = [
            ("metadata", request.metadata.len(), limits.max_metadata_bytes),
            ("name", request.name.len(), limits.max_name_bytes),
            ("attributes", size_of_map(&attributes), limits.max_attributes_bytes),
        ];
        if let Some((what, _, limit)) = checks.into_iter().find(|(_, size, limit)| size > limit) {
            return Err(AdminError::TooLarge(what, limit));
        }
        if self.moving.is_some() {
            // As it will be.
            let mut info = self.participant_info(&self.participants[&key]);
            info.metadata =
                if request.metadata.is_empty() { info.metadata } else { request.metadata.clone() };
            info.name = if request.name.is_empty() { info.name } else { request.name.clone() };
            info.attributes = attributes;
            info.permission = request.permission.clone().or(info.permission);
            self.pass_admin(AdminTail::Update { request: request.encode_to_vec() });
            return Ok(info);
        }
        if !request.metadata.is_empty() {
            participant.metadata = request.metadata;
        }
        if !request.name.is_empty() {
            participant.name = request.name;
        }
        participant.attributes = attributes;
        if let Some(permission) = request.permission {
            participant.permission = permission;
            self.enforce_permission(now, key);
        }
        self.participant_changed(now, key);
        self.send_refresh_token(key);
        self.participants
            .get(&key)
            .map(|participant| self.participant_info(participant))
            .ok_or(AdminError::ParticipantNotFound)
    }

    /// Takes away what a new permission no longer covers, and gives what it newly does.
    fn enforce_permission(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get(&key) else { return };
        let forbidden: Vec<_> = participant
            .published
            .iter()
            .filter(|track| self.tracks.get(track).is_some_and(|t| !participant.may_publish(t.info.source)))
            .copied()
            .collect();
        for track in forbidden {
            self.unpublish(now, track, true);
        }
        self.reconcile_subscriber(now, key);
    }

    pub fn update_subscriptions(
        &mut self,
        now: Instant,
        request: proto::UpdateSubscriptionsRequest,
    ) -> Result<(), AdminError> {
        let key = self.find(&request.identity)?;
        if self.moving.is_some() {
            self.pass_admin(AdminTail::Subscriptions { request: request.encode_to_vec() });
            return Ok(());
        }
        let update = proto::UpdateSubscription {
            track_sids: request.track_sids,
            subscribe: request.subscribe,
            participant_tracks: request.participant_tracks,
        };
        self.client_subscription(now, key, &update);
        Ok(())
    }

    pub fn update_metadata(&mut self, now: Instant, metadata: String) -> Result<proto::Room, AdminError> {
        let limit = self.config.limits.max_metadata_bytes;
        if metadata.len() > limit {
            return Err(AdminError::TooLarge("metadata", limit));
        }
        if self.moving.is_some() {
            let info = proto::Room { metadata: metadata.clone(), ..self.info() };
            self.pass_admin(AdminTail::Metadata { metadata });
            return Ok(info);
        }
        self.options.metadata = metadata;
        self.description_changed(now);
        self.broadcast_room();
        Ok(self.info())
    }

    fn find(&self, identity: &str) -> Result<ParticipantKey, AdminError> {
        self.by_identity.get(identity).copied().ok_or(AdminError::ParticipantNotFound)
    }
}
