//! What everybody is told: participants, the room, speakers and connection quality (livekit.md §2.11).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::participant_info::State;
use proto::signal_response::Message;

use super::Room;
use super::migrate::before;
use crate::participant::{Participant, ParticipantKey};
use crate::snapshot::DepartedSnapshot;

/// Room counters are told at most this often.
const ROOM_UPDATE_INTERVAL: Duration = Duration::from_secs(5);

/// Above this many participants, changes of those who only watch are told in batches, …
const BATCH_ABOVE: usize = 50;

/// … this often.
const BATCH_INTERVAL: Duration = Duration::from_secs(3);

/// Who left is remembered for so long: clients that were without signalling meanwhile, by a move or a break of their
/// own, must be told. All their tries to come back take less.
const DEPARTED_AGE: Duration = Duration::from_secs(60);

/// So many of them. Whoever misses more than that sees ghosts until it joins anew.
const MAX_DEPARTED: usize = 1_000;

/// Who has left lately.
#[derive(Default)]
pub(super) struct Departed(VecDeque<(Instant, proto::ParticipantInfo)>);

impl Departed {
    fn push(&mut self, now: Instant, info: proto::ParticipantInfo) {
        self.0.retain(|(at, _)| now.duration_since(*at) < DEPARTED_AGE);
        if self.0.len() == MAX_DEPARTED {
            self.0.pop_front();
        }
        self.0.push_back((now, info));
    }

    pub(super) fn export(&self, now: Instant) -> Vec<DepartedSnapshot> {
        let aged = |(at, info): &(Instant, proto::ParticipantInfo)| DepartedSnapshot {
            age_ms: now.duration_since(*at).as_millis() as u64,
            info: info.clone(),
        };
        self.0.iter().map(aged).collect()
    }

    pub(super) fn import(departed: Vec<DepartedSnapshot>, now: Instant) -> Departed {
        let departed = departed.into_iter().take(MAX_DEPARTED);
        Departed(departed.map(|gone| (before(now, gone.age_ms), gone.info)).collect())
    }
}

/// Changes that wait to be told together.
#[derive(Default)]
pub(super) struct Batched {
    participants: Vec<ParticipantKey>,
    due: Option<Instant>,
}

impl Room {
    pub(super) fn participant_info(&self, participant: &Participant) -> proto::ParticipantInfo {
        let tracks = participant.published.iter().filter_map(|key| self.tracks.get(key));
        proto::ParticipantInfo {
            sid: participant.sid.to_string(),
            identity: participant.identity.to_string(),
            state: participant.state as i32,
            tracks: tracks.map(|track| track.info.clone()).collect(),
            metadata: participant.metadata.clone(),
            joined_at: participant.joined_at_ms / 1000,
            joined_at_ms: participant.joined_at_ms,
            name: participant.name.clone(),
            version: participant.version,
            permission: Some(participant.permission.clone()),
            is_publisher: !participant.published.is_empty(),
            kind: participant.kind as i32,
            attributes: participant.attributes.clone(),
            kind_details: participant.kind_details.clone(),
            client_protocol: participant.client.client_protocol,
            capabilities: participant.client.capabilities.clone(),
            region: self.config.server_info.region.clone(),
            ..Default::default()
        }
    }

    /// A participant is different from what it was: raises its version and tells everybody.
    pub(super) fn participant_changed(&mut self, now: Instant, key: ParticipantKey) {
        let large = self.participants.len() > BATCH_ABOVE;
        self.description_changed(now);
        let Some(participant) = self.participants.get_mut(&key) else { return };
        participant.version += 1;
        if large && participant.published.is_empty() {
            if !self.batched.participants.contains(&key) {
                self.batched.participants.push(key);
            }
            if self.batched.due.is_none() {
                self.batched.due = Some(now + BATCH_INTERVAL);
                self.timers.schedule(now + BATCH_INTERVAL);
            }
            // The participant itself learns of its own change at once.
            let info = self.participant_info(&self.participants[&key]);
            return self.send(key, update(vec![info]));
        }
        let participant = &self.participants[&key];
        let info = self.participant_info(participant);
        let hidden = participant.is_hidden();
        self.broadcast(update(vec![info]), |other| !hidden || other.key == key);
    }

    /// Somebody has left. Whoever was replaced under its identity is not shown as gone to clients that
    /// understand the change of sid.
    pub(super) fn broadcast_departure(
        &mut self,
        now: Instant,
        info: &proto::ParticipantInfo,
        replaced: bool,
    ) {
        self.departed.push(now, info.clone());
        let message = update(vec![info.clone()]);
        self.broadcast(message, |other| !replaced || other.protocol() <= 11);
    }

    /// Everything about everybody, as a resuming client needs it: who has left meanwhile comes first.
    pub(super) fn send_everybody_to(&mut self, now: Instant, key: ParticipantKey) {
        let lately = |at: &Instant| now.duration_since(*at) < DEPARTED_AGE;
        let departed = self
            .departed
            .0
            .iter()
            .filter(|(at, info)| lately(at) && !self.by_identity.contains_key(info.identity.as_str()));
        let departed: Vec<_> = departed.map(|(_, info)| info.clone()).collect();
        if !departed.is_empty() {
            self.send(key, update(departed));
        }
        let visible = self.participants.values().filter(|other| other.key == key || !other.is_hidden());
        let everybody = visible.map(|other| self.participant_info(other)).collect();
        self.send(key, update(everybody));
    }

    /// A single participant's info, ahead of media that refers to it.
    pub(super) fn send_participant_to(&mut self, to: ParticipantKey, about: ParticipantKey) {
        if let Some(participant) = self.participants.get(&about) {
            let info = self.participant_info(participant);
            self.send(to, update(vec![info]));
        }
    }

    pub(super) fn touch_room_counters(&mut self, now: Instant) {
        self.description_changed(now);
        if self.room_update_due.is_none() {
            self.room_update_due = Some(now + ROOM_UPDATE_INTERVAL);
            self.timers.schedule(now + ROOM_UPDATE_INTERVAL);
        }
    }

    pub(super) fn broadcast_room(&mut self) {
        let room = Some(self.info());
        self.room_update_due = None;
        self.broadcast(Message::RoomUpdate(proto::RoomUpdate { room }), |_| true);
    }

    /// Sends what was held back to be told together.
    pub(super) fn flush_updates(&mut self, now: Instant) {
        if self.room_update_due.is_some_and(|due| due <= now) {
            self.broadcast_room();
        }
        if self.batched.due.is_some_and(|due| due <= now) {
            let batch = std::mem::take(&mut self.batched);
            let visible = batch.participants.iter().filter_map(|key| self.participants.get(key));
            let infos: Vec<_> = visible
                .filter(|other| !other.is_hidden())
                .map(|other| self.participant_info(other))
                .collect();
            if !infos.is_empty() {
                self.broadcast(update(infos), |_| true);
            }
        }
    }

    /// Sends a message to all participants that `to` accepts and that have got their Join already.
    pub(super) fn broadcast(&mut self, message: Message, to: impl Fn(&Participant) -> bool) {
        let joined = |p: &&Participant| p.state != State::Joining && p.state != State::Disconnected;
        let receivers: Vec<_> = self
            .participants
            .values()
            .filter(joined)
            .filter(|p| to(p))
            .filter_map(Participant::session)
            .collect();
        for session in receivers {
            self.send_session(session, message.clone());
        }
    }
}

fn update(participants: Vec<proto::ParticipantInfo>) -> Message {
    Message::Update(proto::ParticipantUpdate { participants })
}
