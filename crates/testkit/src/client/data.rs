//! Reliable data of a client: numbered messages, kept until the server has said that it has them, as the SDKs do.

use std::collections::{HashMap, VecDeque};

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::Value;
use rtc::transport::ChannelId;

use super::{Client, Side};

/// See the module.
#[derive(Default)]
pub struct DataLine {
    /// Number of the last message.
    sent: u32,
    kept: VecDeque<(u32, Vec<u8>)>,
    /// Up to this number, messages have been given to the channel.
    given: u32,
    channel: Option<ChannelId>,
    /// The connection is negotiated anew: nothing is given to the channel.
    waits: bool,
    /// By sid of the sender.
    last: HashMap<String, u32>,
    /// By number of the sender.
    last_of: HashMap<u32, u32>,
}

impl std::fmt::Debug for DataLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let DataLine { sent, given, channel, waits, last, .. } = self;
        write!(f, "sent {sent}, given {given} to {channel:?}, waits: {waits}, got {last:?}")
    }
}

impl DataLine {
    /// Number of the message that will be sent next.
    pub fn next(&self) -> u32 {
        self.sent + 1
    }

    /// The last message that came from a client; 0 when there was none.
    pub fn last_of(&self, number: u32) -> u32 {
        self.last_of.get(&number).copied().unwrap_or_default()
    }

    pub(super) fn receive_states(&self) -> Vec<proto::DataChannelReceiveState> {
        let state = |(sid, last_seq): (&String, &u32)| proto::DataChannelReceiveState {
            publisher_sid: sid.clone(),
            last_seq: *last_seq,
        };
        self.last.iter().map(state).collect()
    }

    /// The server has everything up to `last`; the rest is sent again.
    pub(super) fn resumed(&mut self, last: u32) {
        self.kept.retain(|(sequence, _)| *sequence > last);
        self.given = last;
        self.waits = true;
    }

    pub(super) fn negotiated(&mut self) {
        self.waits = false;
    }

    pub(super) fn opened(&mut self, channel: ChannelId) {
        self.channel = Some(channel);
    }

    pub(super) fn give(&mut self, side: &mut Side) {
        let Some(channel) = self.channel.filter(|_| !self.waits && side.peer.is_connected()) else { return };
        for (sequence, packet) in &self.kept {
            if *sequence <= self.given {
                continue;
            }
            if side.peer.send_data(channel, packet).is_err() {
                return;
            }
            self.given = *sequence;
        }
    }
}

impl Client {
    /// Sends `bytes` of reliable data to everybody.
    pub fn send_message(&mut self, bytes: usize) {
        self.data.sent += 1;
        let mut payload = self.number.to_be_bytes().to_vec();
        payload.extend(self.data.sent.to_be_bytes());
        payload.resize(payload.len().max(bytes), self.data.sent as u8);
        let user = proto::UserPacket { payload, ..Default::default() };
        let packet = proto::DataPacket {
            sequence: self.data.sent,
            value: Some(Value::User(user)),
            ..Default::default()
        };
        self.data.kept.push_back((self.data.sent, packet.encode_to_vec()));
    }

    /// A message of the server's reliable channel.
    pub(super) fn message(&mut self, bytes: &[u8]) {
        let Ok(packet) = proto::DataPacket::decode(bytes) else {
            return self.violations.push("data that is no packet".into());
        };
        let Some(Value::User(user)) = packet.value else { return };
        let word =
            |at: usize| user.payload.get(at..at + 4).map(|word| word.try_into().map(u32::from_be_bytes));
        let (Some(Ok(from)), Some(Ok(number))) = (word(0), word(4)) else {
            return self.violations.push("data that nobody sent".into());
        };
        if number != packet.sequence {
            self.violations.push(format!("message {number} of client {from} came as {}", packet.sequence));
        }
        let last = self.data.last.entry(packet.participant_sid).or_default();
        if packet.sequence <= *last {
            return;
        }
        if *last > 0 && packet.sequence != *last + 1 {
            self.violations.push(format!("message {} of client {from} came after {last}", packet.sequence));
        }
        *last = packet.sequence;
        self.data.last_of.insert(from, packet.sequence);
    }
}
