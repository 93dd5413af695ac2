//! The room's new node: it waits for the cluster's agreement, then for the clients, and tells each what it has missed.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use prost::Message as _;
use proto::DisconnectReason;
use proto::data_packet::Kind;
use proto::signal_response::Message;
use rtc::Path;

use super::Room;
use crate::api::*;
use crate::participant::*;

/// A client that was told to move and does not come is given up after this long: all its tries to connect
/// (livekit.md §1.6) have failed by then.
pub(super) const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(20);

/// A copy that nobody agrees to and nobody joins ends by itself. The cluster takes half of that to forget it.
const DORMANCY: Duration = Duration::from_secs(60);

/// Answers that wait for a client on its way.
const MAX_HELD: usize = 64;

/// Events of a copy that may never be the room: what clients cause in the time an agreement takes.
const MAX_EVENTS: usize = 4_096;

/// The cluster has not agreed yet that the room is here: nothing is told to the outside.
pub(crate) struct Dormant {
    /// It ends then, unless the cluster agrees.
    pub(super) until: Instant,
    events: Vec<RoomEvent>,
}

impl Dormant {
    pub(super) fn new(now: Instant) -> Dormant {
        Dormant { until: now + DORMANCY, events: Vec::new() }
    }

    /// Keeps an event for the time when it is true.
    pub(in crate::room) fn keep(&mut self, event: RoomEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push(event);
        }
    }
}

impl Room {
    /// The cluster has agreed: the room that was imported is the room. A client that comes proves the same.
    pub fn activate(&mut self, now: Instant) {
        let Some(dormant) = self.dormant.take() else { return };
        for event in dormant.events {
            self.event(event);
        }
        let until = now + ARRIVAL_TIMEOUT;
        for arrival in self.participants.values_mut().filter_map(|p| p.arrival.as_mut()) {
            arrival.until = until;
        }
        self.timers.schedule(now);
        self.timers.schedule(until);
    }

    pub(in crate::room) fn check_dormant(&mut self, now: Instant) {
        if self.dormant.as_ref().is_some_and(|dormant| now >= dormant.until) {
            self.vanish();
        }
    }

    /// Datagrams of a participant come by a way that the cluster vouches for.
    pub fn admit_path(&mut self, now: Instant, participant: u32, subscriber: bool, path: Path) {
        let key = ParticipantKey(participant);
        let target = if subscriber { Target::Subscriber } else { Target::Publisher };
        let Some(transport) = self.participants.get_mut(&key).and_then(|p| p.transport(target)) else {
            return;
        };
        transport.peer.admit_path(path);
        self.after_peer(now, key, target);
    }

    /// Whether a participant on its way has been waited for long enough; `None` when it is not on its way.
    pub(in crate::room) fn is_overdue(participant: &Participant, now: Instant) -> Option<bool> {
        let arrival = participant.arrival.as_ref()?;
        match participant.signal {
            Signal::Connected(_) => Some(false),
            // Who was here and lost its socket again has as many tries as before.
            Signal::Lost { since } => Some(now >= arrival.until && now >= since + ARRIVAL_TIMEOUT),
        }
    }

    /// A message for a participant without a connection: kept when it is on its way here, else lost, as it
    /// always was.
    pub(in crate::room) fn hold_for_arrival(&mut self, key: ParticipantKey, message: Message) {
        // The state of room and participants is told to whoever arrives anyway.
        let answers = matches!(
            message,
            Message::TrackPublished(_)
                | Message::TrackUnpublished(_)
                | Message::TrackSubscribed(_)
                | Message::RequestResponse(_)
                | Message::Mute(_)
                | Message::SubscriptionResponse(_)
        );
        let arrival = self.participants.get_mut(&key).and_then(|participant| participant.arrival.as_mut());
        if let Some(arrival) = arrival.filter(|arrival| answers && arrival.held.len() < MAX_HELD) {
            arrival.held.push(message);
        }
    }

    /// A participant has resumed; if it came from another node it gets what waited for it.
    pub(in crate::room) fn arrived(&mut self, key: ParticipantKey) {
        let Some(arrival) = self.participants.get_mut(&key).and_then(|p| p.arrival.as_mut()) else { return };
        for message in std::mem::take(&mut arrival.held) {
            self.send(key, message);
        }
    }

    /// Whoever came from another node has media here: it is like any other now.
    pub(in crate::room) fn settled(&mut self, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        if let Some(arrival) = &mut participant.arrival {
            arrival.connected = true;
        }
        participant.arrival.take_if(|arrival| arrival.connected && arrival.synced);
    }

    /// A participant from another node has said which reliable packets it has: it gets the others.
    pub(in crate::room) fn replay_data(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        states: &[proto::DataChannelReceiveState],
    ) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let Some(arrival) = participant.arrival.as_mut().filter(|arrival| !arrival.synced) else { return };
        arrival.synced = true;
        participant.arrival.take_if(|arrival| arrival.connected && arrival.synced);
        let mut missing = Vec::new();
        for (sequence, packet) in self.recent.for_receiver(key) {
            // The sender itself may have left meanwhile.
            let sender = proto::DataPacket::decode(packet.clone()).unwrap_or_default().participant_sid;
            let has = states.iter().find(|state| state.publisher_sid == sender);
            if has.is_none_or(|state| state.last_seq < sequence) {
                missing.push(packet.clone());
            }
        }
        for packet in missing {
            self.deliver(now, key, &packet, Kind::Reliable, None);
        }
    }

    /// A participant that never arrived, or whose connection died, is given up.
    pub(in crate::room) fn give_up(&mut self, now: Instant, key: ParticipantKey) {
        self.remove(now, key, DisconnectReason::ConnectionTimeout, None, true);
    }
}
