//! Data channels: SCTP over DTLS (RFC 8831) with in-band establishment. One association per peer, made
//! lazily: a peer that negotiates no application section pays nothing.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier as Ppi, ReliabilityType, ServerConfig, StreamEvent, TransportConfig,
};
use serde::{Deserialize, Serialize};

use super::dcep::Dcep;

/// Largest message in either direction, in bytes. Clients clamp to 64,000 (livekit.md §2.14); the rest is head-room.
pub const MAX_MESSAGE: u32 = 256 * 1024;

/// Channels of one peer. LiveKit clients open three; applications may add some.
const MAX_CHANNELS: usize = 64;

/// Bytes that may wait in one channel before [`DataChannels::send`] refuses more.
pub const MAX_BUFFERED: usize = 4 * 1024 * 1024;

/// SCTP payload per packet: DTLS overhead and IPv6/UDP headers within 1,200 bytes.
const MAX_PAYLOAD: u32 = 1_120;

/// Retransmission as in browsers, not as RFC 9260 has it for the networks of its time: a client that comes back from
/// ten seconds without network would otherwise wait as long again, and a first packet that is lost would cost three
/// seconds. Only ICE decides when the other side is gone, so no number of retries ends the association.
const RTO_INITIAL_MS: u64 = 500;
const RTO_MIN_MS: u64 = 400;
const RTO_MAX_MS: u64 = 3_000;

/// The association needs an address to speak of; the real one is ICE's business.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5000);

/// Number of a channel: the SCTP stream it runs on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelId(pub u16);

/// How a channel behaves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChannelConfig {
    pub label: String,
    pub protocol: String,
    pub ordered: bool,
    pub max_retransmits: Option<u16>,
    pub max_lifetime_ms: Option<u16>,
}

impl ChannelConfig {
    /// Ordered and reliable.
    pub fn reliable(label: &str) -> ChannelConfig {
        let label = label.to_owned();
        ChannelConfig {
            label,
            protocol: String::new(),
            ordered: true,
            max_retransmits: None,
            max_lifetime_ms: None,
        }
    }

    /// Unordered, sent once.
    pub fn lossy(label: &str) -> ChannelConfig {
        ChannelConfig { ordered: false, max_retransmits: Some(0), ..ChannelConfig::reliable(label) }
    }

    /// Whether every message arrives as long as the association lives.
    pub fn is_reliable(&self) -> bool {
        self.max_retransmits.is_none() && self.max_lifetime_ms.is_none()
    }

    fn reliability(&self) -> (ReliabilityType, u32) {
        match (self.max_retransmits, self.max_lifetime_ms) {
            (Some(retransmits), _) => (ReliabilityType::Rexmit, u32::from(retransmits)),
            (None, Some(lifetime_ms)) => (ReliabilityType::Timed, u32::from(lifetime_ms)),
            (None, None) => (ReliabilityType::Reliable, 0),
        }
    }
}

/// What happened on the association.
#[derive(Debug)]
pub enum DataEvent {
    /// A channel can be used, whoever opened it.
    Opened(ChannelId, ChannelConfig),
    Message(ChannelId, Bytes),
    Closed(ChannelId),
}

/// Why a message was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("the data channel is not open")]
    NotOpen,
    #[error("more than {MAX_BUFFERED} bytes wait in the data channel already; drop the message or wait")]
    Full,
    #[error("a message may have at most {MAX_MESSAGE} bytes")]
    TooLarge,
    #[error("the association refused the message: {0}")]
    Association(String),
}

struct Channel {
    config: ChannelConfig,
    open: bool,
    /// The other side may not have heard of it: the next association begins with telling.
    announce: bool,
}

impl Channel {
    fn new(config: ChannelConfig, open: bool) -> Channel {
        Channel { config, open, announce: false }
    }
}

/// Channels carried to another process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carried {
    /// The other side has had an association with us. Otherwise it begins one as it always would.
    pub(crate) associated: bool,
    /// The other side has opened them, or confirmed them.
    pub(crate) open: Vec<(ChannelId, ChannelConfig)>,
    /// We have opened them, and the other side may not know.
    pub(crate) unconfirmed: Vec<(ChannelId, ChannelConfig)>,
    /// To be opened when there is an association.
    pub(crate) waiting: Vec<ChannelConfig>,
}

/// Who starts the association once DTLS is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    /// The other side, or it is under way.
    Nobody,
    We,
}

/// The data channels of one peer.
pub struct DataChannels {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    /// The DTLS client opens even streams, the server odd ones (RFC 8832 §6).
    next_id: u16,
    channels: HashMap<ChannelId, Channel>,
    /// Asked for before the association was up.
    waiting: Vec<ChannelConfig>,
    dtls_client: bool,
    connected: bool,
    /// There was an association once, here or with a process before us.
    was_connected: bool,
    start: Start,
    events: VecDeque<DataEvent>,
}

impl DataChannels {
    /// `dtls_client`: that side starts the association as well.
    pub fn new(dtls_client: bool) -> DataChannels {
        let mut channels = DataChannels {
            endpoint: endpoint(),
            association: None,
            next_id: u16::from(!dtls_client),
            channels: HashMap::new(),
            waiting: Vec::new(),
            dtls_client,
            connected: false,
            was_connected: false,
            start: Start::Nobody,
            events: VecDeque::new(),
        };
        if dtls_client {
            channels.connect();
        }
        channels
    }

    /// Channels that the other side has open already: it spoke with another process of ours until now. The
    /// association is ours to begin anew, if there was one, when DTLS is up; the other side takes it as a restart
    /// (RFC 9260 §5.2.2). Each channel is reported as opened then.
    pub(crate) fn restored(dtls_client: bool, carried: Carried) -> DataChannels {
        let open = carried.open.into_iter().map(|(id, config)| (id, Channel::new(config, false)));
        let unconfirmed = carried.unconfirmed.into_iter();
        let unconfirmed =
            unconfirmed.map(|(id, config)| (id, Channel { config, open: false, announce: true }));
        let channels: HashMap<_, _> = open.chain(unconfirmed).take(MAX_CHANNELS).collect();
        let mut channels = DataChannels {
            endpoint: endpoint(),
            association: None,
            next_id: u16::from(!dtls_client),
            channels,
            waiting: carried.waiting,
            dtls_client,
            connected: false,
            was_connected: carried.associated,
            start: if carried.associated { Start::We } else { Start::Nobody },
            events: VecDeque::new(),
        };
        if dtls_client && !carried.associated {
            channels.connect();
        }
        channels
    }

    /// The other side has become another process: the association ends, its channels stay and are reported
    /// as opened again when that process has begun a new one. If there was none yet it is for us to begin, as before.
    pub(crate) fn restart(&mut self) {
        let begins = self.association.is_some() && !self.was_connected;
        self.endpoint = endpoint();
        self.association = None;
        self.connected = false;
        self.channels.values_mut().for_each(|channel| channel.open = false);
        if begins {
            self.connect();
        }
    }

    /// DTLS can carry packets from now on.
    pub(crate) fn dtls_connected(&mut self) {
        if self.start == Start::We && self.association.is_none() {
            self.start = Start::Nobody;
            self.connect();
        }
    }

    /// Whether there is an association now.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    /// For another process that goes on with the other side.
    pub(crate) fn export(&self) -> Carried {
        let (associated, waiting) = (self.was_connected, self.waiting.clone());
        let mut carried = Carried { associated, waiting, ..Carried::default() };
        for (id, channel) in &self.channels {
            // Between two associations every channel is closed, but only new ones are unknown to the other side.
            let confirmed = !channel.announce && (channel.open || !self.connected);
            let list = if confirmed { &mut carried.open } else { &mut carried.unconfirmed };
            list.push((*id, channel.config.clone()));
        }
        carried.open.sort_by_key(|(id, _)| *id);
        carried.unconfirmed.sort_by_key(|(id, _)| *id);
        carried
    }

    /// All channels, whether usable now or not.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChannelId, &ChannelConfig)> {
        self.channels.iter().map(|(id, channel)| (*id, &channel.config))
    }

    /// The other side has a channel of its own making open that we have not heard of: what it said was meant for a
    /// process before us.
    pub(crate) fn adopt(&mut self, id: ChannelId, config: ChannelConfig) {
        if self.channels.contains_key(&id) || self.channels.len() >= MAX_CHANNELS {
            return;
        }
        self.channels.insert(id, Channel::new(config, false));
        if self.connected {
            self.reopen(id);
        }
    }

    fn connect(&mut self) {
        let mut client = ClientConfig::default();
        client.transport = Arc::new(transport());
        self.association = self.endpoint.connect(client, PEER).ok();
    }

    /// Opens a channel, now or as soon as the association is up. [`DataEvent::Opened`] tells its id.
    pub fn open(&mut self, config: ChannelConfig) {
        if self.channels.len() + self.waiting.len() >= MAX_CHANNELS {
            tracing::warn!(label = config.label, "too many data channels");
            return;
        }
        self.waiting.push(config);
        if self.connected {
            self.open_waiting();
        }
    }

    /// Sends one message. An empty one travels as RFC 8831 §6.6 says.
    pub fn send(&mut self, id: ChannelId, message: &[u8]) -> Result<(), SendError> {
        if message.len() > MAX_MESSAGE as usize {
            return Err(SendError::TooLarge);
        }
        if !self.channels.get(&id).is_some_and(|channel| channel.open) {
            return Err(SendError::NotOpen);
        }
        if self.buffered_amount(id) > MAX_BUFFERED {
            return Err(SendError::Full);
        }
        let (_, association) = self.association.as_mut().ok_or(SendError::NotOpen)?;
        let (body, ppi): (&[u8], Ppi) =
            if message.is_empty() { (&[0], Ppi::BinaryEmpty) } else { (message, Ppi::Binary) };
        association
            .stream(id.0)
            .and_then(|mut stream| stream.write_with_ppi(body, ppi))
            .map(drop)
            .map_err(|error| SendError::Association(error.to_string()))
    }

    /// Bytes that wait for the wire or for acknowledgement.
    pub fn buffered_amount(&mut self, id: ChannelId) -> usize {
        let Some((_, association)) = self.association.as_mut() else { return 0 };
        association.stream(id.0).and_then(|stream| stream.buffered_amount()).unwrap_or(0)
    }

    /// How an open or opening channel behaves.
    pub fn config(&self, id: ChannelId) -> Option<&ChannelConfig> {
        self.channels.get(&id).map(|channel| &channel.config)
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<DataEvent> {
        self.events.pop_front()
    }

    pub(crate) fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        let packet = Bytes::copy_from_slice(packet);
        match self.endpoint.handle(now, PEER, None, None, packet) {
            // A second INIT (a peer that restarted) replaces the first association. When both sides begin at once the
            // DTLS client's stands.
            Some((handle, DatagramEvent::NewAssociation(association)))
                if !(self.dtls_client && self.association.is_some() && !self.connected) =>
            {
                self.association = Some((handle, association));
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                if let Some((current, association)) = &mut self.association
                    && *current == handle
                {
                    association.handle_event(event);
                }
            }
            Some((_, DatagramEvent::NewAssociation(_))) | None => {}
        }
        self.process();
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let Some((_, association)) = &mut self.association else { return };
        if association.poll_timeout().is_some_and(|at| at <= now) {
            association.handle_timeout(now);
            self.process();
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.association.as_ref().and_then(|(_, association)| association.poll_timeout())
    }

    /// The next SCTP packets to go into DTLS.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<Bytes>> {
        let transmit =
            self.endpoint.poll_transmit().or_else(|| self.association.as_mut()?.1.poll_transmit(now))?;
        match transmit.payload {
            Payload::RawEncode(packets) => Some(packets),
            Payload::PartialDecode(_) => Some(Vec::new()),
        }
    }

    fn process(&mut self) {
        let mut readable = Vec::new();
        let mut fresh = false;
        while let Some((handle, association)) = &mut self.association {
            while let Some(event) = association.poll_endpoint_event() {
                self.endpoint.handle_event(*handle, event);
            }
            let Some(event) = association.poll() else { break };
            match event {
                Event::Connected => {
                    self.connected = true;
                    self.was_connected = true;
                    fresh = true;
                }
                Event::Stream(StreamEvent::Readable { id } | StreamEvent::Opened { id }) => readable.push(id),
                Event::Stream(StreamEvent::Finished { id } | StreamEvent::Stopped { id, .. }) => {
                    readable.push(id);
                    if self.channels.remove(&ChannelId(id)).is_some() {
                        self.events.push_back(DataEvent::Closed(ChannelId(id)));
                    }
                }
                Event::HandshakeFailed { reason } | Event::AssociationLost { reason } => {
                    tracing::debug!(?reason, "SCTP association ended");
                    self.connected = false;
                    self.association = None;
                    for id in std::mem::take(&mut self.channels).into_keys() {
                        self.events.push_back(DataEvent::Closed(id));
                    }
                }
                _ => {}
            }
        }
        for id in readable {
            self.read(id);
        }
        if fresh {
            let mut known: Vec<_> = self.channels.keys().copied().collect();
            known.sort_unstable();
            known.into_iter().for_each(|id| self.reopen(id));
            self.open_waiting();
        }
    }

    /// A channel from before a restart. Nothing is said about it if the other side has it open. If that is not known it
    /// is told again, and need not answer: what is sent comes after it.
    fn reopen(&mut self, id: ChannelId) {
        let Some((_, association)) = self.association.as_mut() else { return };
        // The other side may have used the stream already.
        if let Err(error) = association.open_stream(id.0, Ppi::Binary) {
            tracing::debug!(%error, "stream of a data channel exists already");
        }
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.open = true;
        let (config, announce) = (channel.config.clone(), std::mem::take(&mut channel.announce));
        if announce {
            self.write_dcep(id.0, &Dcep::Open(config.clone()));
        }
        self.configure(id.0, &config);
        self.events.push_back(DataEvent::Opened(id, config));
    }

    fn read(&mut self, id: u16) {
        loop {
            let Some((_, association)) = self.association.as_mut() else { return };
            let Ok(mut stream) = association.stream(id) else { return };
            let Ok(Some(chunks)) = stream.read_sctp() else { return };
            let mut message = BytesMut::zeroed(chunks.len());
            let Ok(len) = chunks.read(&mut message) else { return };
            message.truncate(len);
            match chunks.ppi {
                Ppi::Dcep => self.handle_dcep(id, &message),
                Ppi::BinaryEmpty | Ppi::StringEmpty => self.message(id, Bytes::new()),
                _ => self.message(id, message.freeze()),
            }
        }
    }

    fn message(&mut self, id: u16, message: Bytes) {
        if self.channels.contains_key(&ChannelId(id)) {
            self.events.push_back(DataEvent::Message(ChannelId(id), message));
        }
    }

    fn handle_dcep(&mut self, id: u16, message: &[u8]) {
        match Dcep::parse(message) {
            Ok(Dcep::Open(config)) => {
                if self.channels.len() >= MAX_CHANNELS || !self.configure(id, &config) {
                    return;
                }
                self.write_dcep(id, &Dcep::Ack);
                self.channels.insert(ChannelId(id), Channel::new(config.clone(), true));
                self.events.push_back(DataEvent::Opened(ChannelId(id), config));
            }
            Ok(Dcep::Ack) => {
                if let Some(channel) = self.channels.get_mut(&ChannelId(id))
                    && !channel.open
                {
                    channel.open = true;
                    self.events.push_back(DataEvent::Opened(ChannelId(id), channel.config.clone()));
                }
            }
            Err(error) => tracing::debug!(%error, "data channel message refused"),
        }
    }

    fn open_waiting(&mut self) {
        for config in std::mem::take(&mut self.waiting) {
            let Some((_, association)) = self.association.as_mut() else { return };
            while self.channels.contains_key(&ChannelId(self.next_id)) {
                self.next_id += 2;
            }
            let id = self.next_id;
            self.next_id += 2;
            if let Err(error) = association.open_stream(id, Ppi::Binary) {
                tracing::debug!(%error, "data channel could not be opened");
                continue;
            }
            // The OPEN itself must arrive whatever the channel's reliability; it is set afterwards.
            self.write_dcep(id, &Dcep::Open(config.clone()));
            self.configure(id, &config);
            self.channels.insert(ChannelId(id), Channel::new(config, false));
        }
    }

    fn configure(&mut self, id: u16, config: &ChannelConfig) -> bool {
        let Some((_, association)) = self.association.as_mut() else { return false };
        let (reliability, value) = config.reliability();
        association
            .stream(id)
            .and_then(|mut stream| stream.set_reliability_params(!config.ordered, reliability, value))
            .is_ok()
    }

    fn write_dcep(&mut self, id: u16, message: &Dcep) {
        let Some((_, association)) = self.association.as_mut() else { return };
        let written =
            association.stream(id).and_then(|mut stream| stream.write_with_ppi(&message.write(), Ppi::Dcep));
        if let Err(error) = written {
            tracing::debug!(%error, "data channel message not sent");
        }
    }
}

fn endpoint() -> Endpoint {
    let mut config = EndpointConfig::default();
    config.max_payload_size(MAX_PAYLOAD);
    let mut server = ServerConfig::default();
    server.transport = Arc::new(transport());
    Endpoint::new(Arc::new(config), Some(Arc::new(server)))
}

fn transport() -> TransportConfig {
    TransportConfig::default()
        .with_max_send_message_size(MAX_MESSAGE)
        .with_max_receive_message_size(MAX_MESSAGE)
        .with_max_receive_buffer_size(1024 * 1024)
        .with_rto_initial_ms(RTO_INITIAL_MS)
        .with_rto_min_ms(RTO_MIN_MS)
        .with_rto_max_ms(RTO_MAX_MS)
        .with_max_init_retransmits(None)
}
