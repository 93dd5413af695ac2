//! After a node's death: the room starts again elsewhere from the little that the store keeps of it, and the
//! observers (webhooks) are told a story without holes: every stay that began on the dead node ends, when its
//! participant joins anew or does not come back in time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use livekit_protocol as proto;
use proto::leave_request::Action;
use proto::participant_info::State;
use rtc::transport::DtlsIdentity;

use super::{Life, Room};
use crate::api::*;
use crate::participant::ParticipantKey;
use crate::snapshot::{ParticipantDescription, RoomDescription};

/// Who does not come back within this time has left for good: all tries of an SDK (livekit.md §1.6) take less.
const RETURN_TIMEOUT: Duration = Duration::from_secs(30);

/// Participants that a description names. A store keeps small values; those beyond are not expected back,
/// so their return is told as an arrival.
const MAX_DESCRIBED: usize = 1_000;

/// The description is told this often at most, …
const DESCRIBE_INTERVAL: Duration = Duration::from_millis(250);
/// … and this much less often for each participant, because it grows with them.
const DESCRIBE_INTERVAL_EACH: Duration = Duration::from_millis(1);

/// Whom a restored room expects back.
#[derive(Default)]
pub(super) struct Expected {
    participants: HashMap<String, ParticipantDescription>,
    until: Option<Instant>,
}

impl Expected {
    pub(super) fn take(&mut self, identity: &Identity) -> Option<ParticipantDescription> {
        self.participants.remove(identity.as_str())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.participants.is_empty()
    }

    /// Nobody is waited for any longer.
    pub(super) fn expire_all(&mut self) {
        self.until = None;
    }

    /// For another node: whom it is to expect, and for how many milliseconds.
    pub(super) fn export(&self, now: Instant) -> (Vec<ParticipantDescription>, u64) {
        let left = self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        (self.participants.values().cloned().collect(), left.as_millis() as u64)
    }

    pub(super) fn import(participants: Vec<ParticipantDescription>, left_ms: u64, now: Instant) -> Expected {
        let named = participants.into_iter();
        Expected {
            participants: named.map(|participant| (participant.identity.clone(), participant)).collect(),
            until: Some(now + Duration::from_millis(left_ms)),
        }
    }
}

/// How long a client takes to show what it was told last.
const REUNION_MARGIN: Duration = Duration::from_millis(150);

/// Those who came back after a node's death, until all have: only then some may connect (see `RECONNECT_PAUSE`).
#[derive(Default)]
pub(super) struct Reunion {
    /// With how many tracks they are complete.
    back: Vec<(ParticipantKey, usize)>,
    /// They wait, until then at most.
    waiting: Vec<(ParticipantKey, Instant)>,
}

impl Reunion {
    /// `connects`: when its connection may come up, if that matters.
    pub(super) fn came_back(&mut self, key: ParticipantKey, tracks: usize, connects: Option<Instant>) {
        self.back.push((key, tracks));
        self.waiting.extend(connects.map(|at| (key, at)));
    }
}

/// When the outside is to be told what outlives the node.
pub(super) struct Describe {
    dirty: bool,
    next: Instant,
}

impl Describe {
    pub(super) fn new(now: Instant) -> Describe {
        Describe { dirty: true, next: now }
    }
}

impl Room {
    /// Starts a room again that another node served until it died. Its participants are expected to join.
    pub fn restore(
        config: Arc<EngineConfig>,
        identity: Arc<DtlsIdentity>,
        name: RoomName,
        description: RoomDescription,
        now: Instant,
        wall: SystemTime,
        seed: u64,
    ) -> Room {
        let mut room = Room::silent(config, identity, name, description.options, now, wall, seed);
        room.sid = description.sid;
        room.created_ms = description.created_ms;
        room.life = Life::Empty { since: now, departed: !description.participants.is_empty() };
        let expected = description.participants;
        room.expected = Expected::import(expected, RETURN_TIMEOUT.as_millis() as u64, now);
        room.timers.schedule(now + RETURN_TIMEOUT);
        room
    }

    /// Ends the room on this node without a word: another serves it, or will.
    pub fn abandon(&mut self) {
        if self.life != Life::Finished {
            self.vanish();
        }
    }

    /// Ends the room on this node and has its clients come back as if new: another node serves it.
    pub fn send_away(&mut self, now: Instant) {
        let mut sessions: Vec<_> = std::mem::take(&mut self.sessions).into_keys().collect();
        sessions.sort_unstable();
        for session in sessions {
            let leave = super::join::leave(proto::DisconnectReason::Migration, Action::Reconnect);
            self.send_session(session, leave);
            self.output(RoomOutput::Session(session, SessionOutput::Close));
        }
        self.timers.schedule(now);
        self.abandon();
    }

    /// What of the room outlives its node.
    pub fn describe(&self) -> RoomDescription {
        let here = self.participants.values().map(|participant| ParticipantDescription {
            identity: participant.identity.to_string(),
            sid: participant.sid.to_string(),
            joined_at_ms: participant.joined_at_ms,
            announced: participant.announced_active,
            tracks: participant
                .published
                .iter()
                .filter_map(|track| self.tracks.get(track))
                .map(|track| track.info.clone())
                .collect(),
            info: proto::ParticipantInfo { tracks: Vec::new(), ..self.participant_info(participant) },
        });
        let info = self.info();
        RoomDescription {
            sid: self.sid.clone(),
            created_ms: self.created_ms,
            options: self.options.clone(),
            participants: here
                .chain(self.expected.participants.values().cloned())
                .take(MAX_DESCRIBED)
                .collect(),
            num_participants: info.num_participants,
            num_publishers: info.num_publishers,
        }
    }

    /// Something changed that outlives the node.
    pub(super) fn description_changed(&mut self, now: Instant) {
        if self.config.describe_rooms && !self.describe.dirty {
            self.describe.dirty = true;
            self.timers.schedule(self.describe.next.max(now));
        }
    }

    pub(super) fn tell_description(&mut self, now: Instant) {
        if !self.config.describe_rooms || !self.describe.dirty || now < self.describe.next {
            return;
        }
        self.describe.dirty = false;
        self.describe.next =
            now + DESCRIBE_INTERVAL + DESCRIBE_INTERVAL_EACH * self.participants.len() as u32;
        let description = Box::new(self.describe());
        self.event(RoomEvent::Described(description));
    }

    /// Lets those connect who wait for others, once these are all back and announced to them.
    pub(super) fn reunite(&mut self, now: Instant) {
        self.reunion.waiting.retain(|(_, until)| now + REUNION_MARGIN < *until);
        if self.reunion.waiting.is_empty() {
            return;
        }
        let Reunion { back, waiting } = &self.reunion;
        let published = back.iter().all(|(key, tracks)| {
            self.participants.get(key).is_none_or(|participant| participant.published.len() >= *tracks)
        });
        let announced = waiting.iter().all(|(key, _)| {
            self.participants.get(key).is_none_or(|participant| participant.unbound.is_empty())
        });
        if !self.expected.is_empty() || !published || !announced {
            return;
        }
        for (key, _) in std::mem::take(&mut self.reunion).waiting {
            if let Some(participant) = self.participants.get_mut(&key) {
                let at = now + REUNION_MARGIN;
                participant.transports().for_each(|(_, transport)| transport.peer.connect_after(at));
            }
        }
    }

    /// Those who did not come back in time have left.
    pub(super) fn end_expected(&mut self, now: Instant) {
        if self.expected.is_empty() || self.expected.until.is_some_and(|until| now < until) {
            return;
        }
        for (_, before) in std::mem::take(&mut self.expected.participants) {
            self.end_former_stay(before);
        }
        if let Life::Empty { since, .. } = &mut self.life {
            *since = now;
        }
        self.description_changed(now);
    }

    /// What a participant was before the node died is over: its tracks, and its stay.
    pub(super) fn end_former_stay(&mut self, before: ParticipantDescription) {
        for track in before.tracks {
            self.event(RoomEvent::TrackUnpublished(before.info.clone(), track));
        }
        if before.announced {
            self.event(RoomEvent::ParticipantLeft(proto::ParticipantInfo {
                state: State::Disconnected as i32,
                disconnect_reason: proto::DisconnectReason::ServerShutdown as i32,
                ..before.info
            }));
        }
    }
}
