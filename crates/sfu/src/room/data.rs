//! Data packets between participants (livekit.md §2.14).

use std::time::Instant;

use bytes::Bytes;
use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::{Kind, Value};
use proto::participant_info::State;
use rtc::transport::{ChannelConfig, ChannelId};

use super::Room;
use super::migrate::MAX_RECENT_BYTES;
use crate::api::AdminError;
use crate::participant::{Participant, ParticipantKey, Target, Transport, WaitingData};
use crate::snapshot::AdminTail;

/// Bytes that wait for a receiver whose channel is not open yet: all that it may have to be sent again after it has
/// moved, and as much that is new.
const MAX_WAITING_BYTES: usize = 2 * MAX_RECENT_BYTES;

/// A lossy packet is dropped rather than queued behind this many bytes.
const LOSSY_BUFFER_BYTES: usize = 64 * 1024;

/// Which kind of channel a label means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Label {
    Reliable,
    Lossy,
    DataTrack,
    Other,
}

impl Label {
    fn of(label: &str) -> Label {
        match label {
            "_reliable" => Label::Reliable,
            "_lossy" => Label::Lossy,
            "_data_track" => Label::DataTrack,
            _ => Label::Other,
        }
    }
}

impl Room {
    pub(super) fn channel_opened(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        target: Target,
        id: ChannelId,
        config: &ChannelConfig,
    ) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        let Some(transport) = participant.transport(target) else { return };
        let channels = &mut transport.channels;
        match Label::of(&config.label) {
            Label::Reliable => channels.reliable = Some(id),
            Label::Lossy => channels.lossy = Some(id),
            Label::DataTrack => channels.data_track = Some(id),
            Label::Other => channels.unlabelled.push(id),
        }
        self.deliver_waiting(now, key);
    }

    /// Channels that a client has opened, as it says when it goes on with another node: that may not have been told.
    pub(super) fn adopt_channels(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        channels: &[proto::DataChannelInfo],
    ) {
        for channel in channels.iter().filter(|c| c.target() == proto::SignalTarget::Publisher) {
            let Ok(id) = u16::try_from(channel.id) else { continue };
            let config = match Label::of(&channel.label) {
                Label::Reliable | Label::Other => ChannelConfig::reliable(&channel.label),
                Label::Lossy | Label::DataTrack => ChannelConfig::lossy(&channel.label),
            };
            let Some(participant) = self.participants.get_mut(&key) else { return };
            participant.publisher.peer.adopt_channel(now, ChannelId(id), config);
        }
        self.wake_transport(now, key, Target::Publisher);
    }

    pub(super) fn channel_closed(&mut self, key: ParticipantKey, target: Target, id: ChannelId) {
        let Some(transport) = self.participants.get_mut(&key).and_then(|p| p.transport(target)) else {
            return;
        };
        let channels = &mut transport.channels;
        for slot in [&mut channels.reliable, &mut channels.lossy, &mut channels.data_track] {
            if *slot == Some(id) {
                *slot = None;
            }
        }
        channels.unlabelled.retain(|other| *other != id);
    }

    pub(super) fn channel_message(
        &mut self,
        now: Instant,
        key: ParticipantKey,
        target: Target,
        id: ChannelId,
        message: &Bytes,
    ) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        if !participant.permission.can_publish_data {
            return;
        }
        let Some(transport) = participant.transport(target) else { return };
        let Some(config) = transport.peer.channel_config(id) else { return };
        let reliable = config.is_reliable();
        match Label::of(&config.label.clone()) {
            Label::Reliable => self.data_packet(now, key, message, Kind::Reliable),
            Label::Lossy => self.data_packet(now, key, message, Kind::Lossy),
            Label::Other => {
                let kind = if reliable { Kind::Reliable } else { Kind::Lossy };
                self.raw_message(now, key, message, kind);
            }
            Label::DataTrack => {}
        }
    }

    /// A message of a channel of the application's own.
    pub(super) fn raw_message(&mut self, now: Instant, from: ParticipantKey, message: &Bytes, kind: Kind) {
        if self.moving.is_some() && kind == Kind::Reliable {
            return self.pass_raw(from, message);
        }
        let user = proto::UserPacket { payload: message.to_vec(), ..Default::default() };
        let packet = proto::DataPacket { value: Some(Value::User(user)), ..Default::default() };
        self.route(now, Some(from), packet, kind, Some(message));
    }

    pub(super) fn data_packet(&mut self, now: Instant, from: ParticipantKey, message: &Bytes, kind: Kind) {
        let Ok(packet) = proto::DataPacket::decode(message.clone()) else {
            tracing::debug!("data packet could not be decoded");
            return;
        };
        if self.moving.is_some() && kind == Kind::Reliable {
            return self.pass_data(from, message);
        }
        let Some(participant) = self.participants.get_mut(&from) else { return };
        if kind == Kind::Reliable && packet.sequence > 0 {
            if packet.sequence <= participant.data_sequence {
                return;
            }
            participant.data_sequence = packet.sequence;
        }
        let agent = participant.kind == proto::participant_info::Kind::Agent;
        if matches!(packet.value, Some(Value::Transcription(_))) && !agent {
            return;
        }
        self.route(now, Some(from), packet, kind, None);
    }

    /// Stamps a packet with its sender and hands it to its receivers. `raw` is the payload as it came by a
    /// channel of the application's own, for receivers that have such a channel too.
    #[allow(deprecated)]
    fn route(
        &mut self,
        now: Instant,
        from: Option<ParticipantKey>,
        mut packet: proto::DataPacket,
        kind: Kind,
        raw: Option<&Bytes>,
    ) {
        packet.kind = kind as i32;
        if let Some(sender) = from.and_then(|key| self.participants.get(&key)) {
            packet.participant_sid = sender.sid.to_string();
            let speaks_for_another = sender.kind == proto::participant_info::Kind::Agent
                && matches!(packet.value, Some(Value::ChatMessage(_) | Value::StreamHeader(_)))
                && !packet.participant_identity.is_empty();
            if sender.is_hidden() {
                packet.participant_identity = String::new();
            } else if !speaks_for_another {
                packet.participant_identity = sender.identity.to_string();
            }
        }
        let mut destination_sids: &[String] = &[];
        if let Some(Value::User(user)) = &mut packet.value {
            // Old clients read, and write, these fields of the payload instead of the packet's.
            user.participant_sid = packet.participant_sid.clone();
            user.participant_identity = packet.participant_identity.clone();
            if packet.destination_identities.is_empty() {
                packet.destination_identities = user.destination_identities.clone();
            } else {
                user.destination_identities = packet.destination_identities.clone();
            }
        }
        if let Some(Value::User(user)) = &packet.value {
            destination_sids = &user.destination_sids;
        }
        let everybody = packet.destination_identities.is_empty() && destination_sids.is_empty();
        let addressed = |p: &Participant| {
            everybody
                || packet.destination_identities.iter().any(|identity| identity == p.identity.as_str())
                || destination_sids.iter().any(|sid| sid == p.sid.as_str())
        };
        let metrics = matches!(packet.value, Some(Value::Metrics(_)));
        let receivers: Vec<_> = self
            .participants
            .values()
            .filter(|p| Some(p.key) != from && p.state != State::Disconnected && addressed(p))
            .filter(|p| !metrics || p.permission.can_subscribe_metrics)
            .map(|p| p.key)
            .collect();
        let encoded = Bytes::from(packet.encode_to_vec());
        if let (Kind::Reliable, Some(from)) = (kind, from) {
            self.recent.push(now, from, packet.sequence, &receivers, &encoded);
        }
        let numbered = packet.sequence > 0 && kind == Kind::Reliable;
        for receiver in receivers {
            // Who is on its way from another node says first what it has: then it gets this, in order.
            let arrival = self.participants.get(&receiver).and_then(|p| p.arrival.as_ref());
            let arriving = arrival.is_some_and(|arrival| !arrival.synced);
            if !(arriving && numbered) {
                self.deliver(now, receiver, &encoded, kind, raw);
            }
        }
    }

    pub(super) fn deliver(
        &mut self,
        now: Instant,
        to: ParticipantKey,
        packet: &Bytes,
        kind: Kind,
        raw: Option<&Bytes>,
    ) {
        let Some(participant) = self.participants.get_mut(&to) else { return };
        let transport = participant.data_transport();
        let unlabelled = raw.and_then(|raw| Some((*transport.channels.unlabelled.first()?, raw)));
        let sent = match (unlabelled, kind) {
            (Some((channel, raw)), _) => transport.peer.send_data(channel, raw).is_ok(),
            (None, Kind::Lossy) => return self.deliver_lossy(now, to, packet),
            (None, Kind::Reliable) => {
                participant.waiting_data.is_empty() && send_reliable(participant.data_transport(), packet)
            }
        };
        if !sent {
            let Some(participant) = self.participants.get_mut(&to) else { return };
            if participant.waiting_data_bytes + packet.len() > MAX_WAITING_BYTES {
                tracing::debug!("receiver is too slow for reliable data, a packet is dropped");
                return;
            }
            participant.waiting_data_bytes += packet.len();
            participant.waiting_data.push_back(WaitingData { packet: packet.clone() });
        }
        self.wake_data_transport(now, to);
    }

    fn deliver_lossy(&mut self, now: Instant, to: ParticipantKey, packet: &Bytes) {
        let Some(participant) = self.participants.get_mut(&to) else { return };
        let transport = participant.data_transport();
        let Some(channel) = transport.channels.lossy else { return };
        if transport.peer.data_buffered(channel) > LOSSY_BUFFER_BYTES {
            return;
        }
        if transport.peer.send_data(channel, packet).is_ok() {
            self.wake_data_transport(now, to);
        }
    }

    /// Sends what waited for a channel to open or to drain.
    pub(super) fn deliver_waiting(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get_mut(&key) else { return };
        if participant.waiting_data.is_empty() || self.moving.is_some() {
            // What waits goes along with a room that moves.
            return;
        }
        while let Some(waiting) = participant.waiting_data.pop_front() {
            let packet = waiting.packet;
            if !send_reliable(participant.data_transport(), &packet) {
                participant.waiting_data.push_front(WaitingData { packet });
                break;
            }
            participant.waiting_data_bytes -= packet.len();
        }
        self.wake_data_transport(now, key);
    }

    fn wake_data_transport(&mut self, now: Instant, key: ParticipantKey) {
        let Some(participant) = self.participants.get(&key) else { return };
        let target = if participant.subscriber_primary() { Target::Subscriber } else { Target::Publisher };
        self.wake_transport(now, key, target);
    }

    /// A packet from the server API: from nobody, without sequence.
    #[allow(deprecated)]
    pub fn send_data(&mut self, now: Instant, request: proto::SendDataRequest) -> Result<(), AdminError> {
        if !matches!(request.nonce.len(), 0 | 16) {
            return Err(AdminError::InvalidArgument("nonce should be 16-bytes or not present".to_owned()));
        }
        if self.moving.is_some() {
            self.pass_admin(AdminTail::Send { request: request.encode_to_vec() });
            return Ok(());
        }
        if !request.nonce.is_empty() && !self.nonces.insert(&request.nonce) {
            return Ok(());
        }
        let kind = request.kind();
        let user = proto::UserPacket {
            payload: request.data,
            destination_sids: request.destination_sids,
            topic: request.topic,
            nonce: request.nonce,
            ..Default::default()
        };
        let packet = proto::DataPacket {
            destination_identities: request.destination_identities,
            value: Some(Value::User(user)),
            ..Default::default()
        };
        self.route(now, None, packet, kind, None);
        Ok(())
    }
}

fn send_reliable(transport: &mut Transport, packet: &Bytes) -> bool {
    let Some(channel) = transport.channels.reliable else { return false };
    transport.peer.send_data(channel, packet).is_ok()
}

/// The nonces of the last server-API packets, to drop repetitions.
#[derive(Default)]
pub(super) struct Nonces(std::collections::VecDeque<Vec<u8>>);

impl Nonces {
    /// How many are remembered.
    const MAX: usize = 100;

    /// False when the nonce was seen lately.
    fn insert(&mut self, nonce: &[u8]) -> bool {
        if self.0.iter().any(|seen| seen == nonce) {
            return false;
        }
        if self.0.len() == Self::MAX {
            self.0.pop_front();
        }
        self.0.push_back(nonce.to_vec());
        true
    }
}
