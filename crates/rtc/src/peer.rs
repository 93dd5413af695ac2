//! A peer: one ICE agent, one DTLS session, SRTP both ways, the streams in both directions, data channels
//! and the negotiation that ties them together.
//!
//! The contract: hand in datagrams with [`Peer::handle_datagram`] and time with [`Peer::handle_timeout`];
//! after either, and after any other call that changes something, drain [`Peer::poll_event`] and ask
//! [`Peer::poll_timeout`]. Calls without an [`Egress`] only queue: what they cause leaves with the next
//! call that has one, so call [`Peer::handle_timeout`] soon.

mod hello;
mod negotiation;
mod receive;
mod send;
mod snapshot;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceAgentEvent, IceConnectionState, IceCreds, Protocol};

use crate::negotiate::Negotiator;
use crate::rtcp::{RtcpPacket, RtcpWriter, parse_compound};
use crate::rtp::{DatagramKind, RtpHeader, classify};
use crate::srtp::{MAX_RTCP_OVERHEAD, SrtpReceiver, SrtpSender};
use crate::transport::*;
use crate::twcc::TwccRecorder;
use crate::{Egress, Path, Proto, Ssrc};

use hello::{Ear, HANDSHAKE, client_hello};
use receive::Receiver;
use send::SenderSet;

pub use receive::{MediaPacket, ReceiveStream, StreamKey};
pub use send::{OutPacket, SenderInfo, SenderKey};
pub use snapshot::PeerSnapshot;

/// Addresses of one client that datagrams are accepted from: all its candidates, over several networks.
const MAX_PATHS: usize = 32;

/// Remote candidates that are tried. A host with many interfaces offers a dozen.
const MAX_REMOTE_CANDIDATES: usize = 64;

/// RTCP that we compose stays under this, tag excluded.
const MAX_RTCP: usize = 1_200;

/// Events that may wait to be polled; a flood of data messages beyond is a caller that does not poll.
const MAX_EVENTS: usize = 65_536;

/// Who makes the offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerRole {
    /// The client offers: publishing, or both directions over a single connection.
    Answerer,
    /// We offer: subscriptions over a second connection.
    Offerer,
}

/// What a peer starts with.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    pub identity: Arc<DtlsIdentity>,
    pub role: PeerRole,
    pub ice_lite: bool,
    /// We lead ICE: for clients; a server is led.
    pub controlling: bool,
    /// Our own addresses, as host candidates.
    pub candidates: Vec<Path>,
    /// Tell our candidates in the SDP itself; otherwise they are trickled.
    pub candidates_in_sdp: bool,
    /// Put before the random ufrag, so that a listener shared by several shards can tell whose it is.
    pub ufrag_prefix: String,
    /// Feeds the numbers that only need to be unpredictable to bystanders; ICE credentials and keys come
    /// from the system's random source.
    pub seed: u64,
}

/// What happened on a peer.
#[derive(Debug)]
pub enum PeerEvent {
    /// ICE accepts datagrams that come this way.
    PathValidated(Path),
    /// STUN for this local ufrag belongs to the peer from now on.
    UfragChanged(String),
    /// Media and data flow: ICE and DTLS are up.
    Connected,
    /// ICE has lost the peer, or has it again.
    IceDisconnected,
    IceReconnected,
    /// The handshake failed for good.
    DtlsFailed,
    ChannelOpened(ChannelId, ChannelConfig),
    ChannelMessage(ChannelId, Bytes),
    ChannelClosed(ChannelId),
    /// The receiver of a stream of ours wants a key frame.
    KeyframeWanted(SenderKey),
    /// The receiver lacks these packets of ours.
    Nack(SenderKey, Vec<u16>),
    /// Loss that retransmission cannot repair any more: ask the publisher for a key frame.
    StreamBroken(StreamKey),
    /// The publisher's clock: `rtp_time` was captured at `ntp`.
    SenderReport {
        stream: StreamKey,
        ntp: u64,
        rtp_time: u32,
    },
    /// The bandwidth towards the peer is estimated anew, in bit/s.
    BandwidthEstimate(u64),
}

/// One peer connection.
pub struct Peer {
    config: PeerConfig,
    ice: IceAgent,
    ice_connected: bool,
    /// Ways that ICE has validated.
    paths: Vec<Path>,
    /// Where to send.
    path: Option<Path>,
    dtls: Option<DtlsSession>,
    dtls_active: bool,
    /// Who the DTLS session is with.
    dtls_remote: Option<Fingerprint>,
    /// Another process has taken the client over: its handshakes are none of ours.
    handed_over: bool,
    /// The client speaks with that process now.
    gone: bool,
    ear: Ear,
    /// The random number of the ClientHello that is being answered.
    hello: Option<[u8; 32]>,
    /// Certificates, ours and those of processes before us, that the client may take for ours.
    shown: Vec<Fingerprint>,
    /// Until then nothing is heard of the client.
    deaf_until: Option<Instant>,
    srtp: Option<(SrtpSender, SrtpReceiver)>,
    connected: bool,
    data: Option<DataChannels>,
    /// Channels to open once data channels exist.
    wanted_channels: Vec<ChannelConfig>,
    negotiator: Negotiator,
    receiver: Receiver,
    senders: SenderSet,
    twcc: TwccRecorder,
    rtt: Option<Duration>,
    local_ssrc: Ssrc,
    session_id: u64,
    rng: fastrand::Rng,
    events: VecDeque<PeerEvent>,
    due: Option<Instant>,
}

impl Peer {
    /// A peer that knows nothing of the other side yet.
    pub fn new(config: PeerConfig, now: Instant) -> Peer {
        let mut rng = fastrand::Rng::with_seed(config.seed);
        let mut ice = IceAgent::new(new_credentials(&config.ufrag_prefix));
        ice.set_ice_lite(config.ice_lite);
        ice.set_controlling(config.controlling);
        for path in &config.candidates {
            if let Some(candidate) = local_candidate(path) {
                ice.add_local_candidate(candidate);
            }
        }
        Peer {
            ice,
            ice_connected: false,
            paths: Vec::new(),
            path: None,
            dtls: None,
            dtls_active: false,
            dtls_remote: None,
            handed_over: false,
            gone: false,
            ear: Ear::Open,
            hello: None,
            shown: Vec::new(),
            deaf_until: None,
            srtp: None,
            connected: false,
            data: None,
            wanted_channels: Vec::new(),
            negotiator: Negotiator::new(),
            receiver: Receiver::default(),
            senders: SenderSet::new(now, rng.u16(..)),
            twcc: TwccRecorder::new(now),
            rtt: None,
            local_ssrc: Ssrc(rng.u32(1..)),
            session_id: rng.u64(..) >> 2,
            rng,
            events: VecDeque::new(),
            due: Some(now),
            config,
        }
    }

    /// Takes no STUN before `until`, so that the connection does not come up sooner.
    pub fn connect_after(&mut self, until: Instant) {
        self.deaf_until = Some(until);
    }

    /// What STUN from the client must carry in front.
    pub fn local_ufrag(&self) -> &str {
        &self.ice.local_credentials().ufrag
    }

    /// Whether media can flow.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether ICE has a working way right now.
    pub fn is_ice_connected(&self) -> bool {
        self.ice_connected
    }

    /// The way that is in use.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_ref()
    }

    /// Round trip time to the peer, smoothed, once measured.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Share of packets that the peer lost lately of what we send, 0.0..=1.0, worst stream.
    pub fn send_loss(&self) -> f32 {
        self.senders.iter().map(|sender| sender.stats.remote_loss()).fold(0.0, f32::max)
    }

    /// Share of packets that we lost lately of what the peer sends, 0.0..=1.0, worst stream.
    pub fn receive_loss(&self) -> f32 {
        self.receiver.loss()
    }

    /// A candidate that came by signalling, in SDP form. Unusable ones (mDNS names, TCP of the active kind
    /// without port) are ignored.
    pub fn add_remote_candidate(&mut self, candidate: &str) {
        if self.ice.remote_candidates().count() >= MAX_REMOTE_CANDIDATES {
            return;
        }
        match Candidate::from_sdp_string(candidate) {
            // Who connects by TCP is found out when the connection comes.
            Ok(candidate) if candidate.proto() == Protocol::Udp => self.ice.add_remote_candidate(candidate),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "remote candidate ignored"),
        }
    }

    /// Opens a data channel now or as soon as the peer is connected.
    pub fn open_channel(&mut self, config: ChannelConfig) {
        match &mut self.data {
            Some(data) => data.open(config),
            None => self.wanted_channels.push(config),
        }
    }

    /// The data channels of the moment, whether usable or not.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, &ChannelConfig)> {
        self.data.iter().flat_map(DataChannels::iter)
    }

    /// The client says that it has opened this channel: whoever it told may have been another process.
    pub fn adopt_channel(&mut self, now: Instant, id: ChannelId, config: ChannelConfig) {
        if let Some(data) = &mut self.data {
            data.adopt(id, config);
            self.due = Some(now);
        }
    }

    /// Sends one message on an open channel.
    pub fn send_data(&mut self, channel: ChannelId, message: &[u8]) -> Result<(), SendError> {
        self.data.as_mut().ok_or(SendError::NotOpen)?.send(channel, message)
    }

    /// Bytes that wait in a channel.
    pub fn data_buffered(&mut self, channel: ChannelId) -> usize {
        self.data.as_mut().map_or(0, |data| data.buffered_amount(channel))
    }

    /// How a channel behaves.
    pub fn channel_config(&self, channel: ChannelId) -> Option<&ChannelConfig> {
        self.data.as_ref()?.config(channel)
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<PeerEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// A stream that the peer sends.
    pub fn stream(&self, key: StreamKey) -> Option<&ReceiveStream> {
        self.receiver.stream(key)
    }

    /// Asks the peer for a key frame of its stream.
    pub fn request_keyframe(&mut self, stream: StreamKey) {
        self.receiver.request_keyframe(stream);
    }

    /// Bandwidth towards the peer in bit/s, as last estimated.
    pub fn estimate_bps(&self) -> u64 {
        self.senders.estimator.estimate_bps()
    }

    /// Tells the estimator how much the caller would like to send, in bit/s: more than the estimate makes
    /// it probe. `None` stops probing.
    pub fn set_needed_bps(&mut self, now: Instant, needed_bps: Option<u64>) {
        self.senders.estimator.set_needed_bps(now, needed_bps);
        self.sooner(self.senders.estimator.next_timeout());
    }

    /// Whether the path to the peer shows signs of congestion.
    pub fn is_congested(&self, now: Instant) -> bool {
        self.senders.estimator.is_congested(now)
    }

    /// Takes a datagram from a way that is validated (or STUN from any). Media is returned with its place
    /// in `datagram`, which now holds plaintext.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        path: &Path,
        datagram: &mut [u8],
        out: &mut dyn Egress,
    ) -> Option<MediaPacket> {
        match classify(datagram) {
            DatagramKind::Rtp => return self.handle_rtp(now, datagram),
            DatagramKind::Rtcp => self.handle_rtcp(now, datagram),
            DatagramKind::Stun => self.handle_stun(now, path, datagram),
            DatagramKind::Dtls => self.handle_dtls(now, datagram),
            DatagramKind::Unknown => return None,
        }
        self.service(now, out);
        None
    }

    /// Lets time pass and sends whatever is due or queued.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut dyn Egress) {
        self.ice.handle_timeout(now);
        if let Some(dtls) = self.dtls.as_mut().filter(|_| self.connected || !self.handed_over) {
            dtls.handle_timeout(now);
        }
        if let Some(data) = &mut self.data {
            data.handle_timeout(now);
        }
        self.service(now, out);
    }

    fn handle_rtp(&mut self, now: Instant, datagram: &mut [u8]) -> Option<MediaPacket> {
        let header = RtpHeader::parse(datagram).ok()?;
        let (_, srtp) = self.srtp.as_mut()?;
        let len = srtp.unprotect_rtp(datagram, &header).ok()?;
        let packet = &datagram[..len];
        let ext = self.receiver.ext.read(&header, packet);
        if let Some(seq) = ext.transport_cc {
            self.twcc.record(seq, header.marker, now);
        }
        let payload = header.payload(packet).ok()?;
        let media = self.receiver.on_packet(now, &header, ext, packet, payload);
        self.sooner(self.twcc.next_timeout());
        self.sooner(self.receiver.poll_timeout());
        media
    }

    fn handle_stun(&mut self, now: Instant, path: &Path, datagram: &[u8]) {
        if self.gone || self.deaf_until.is_some_and(|until| now < until) {
            return;
        }
        let Ok(message) = StunMessage::parse(datagram) else { return };
        let proto = protocol(path.proto);
        let packet = StunPacket { proto, source: path.remote, destination: path.local, message };
        let asks = packet.message.is_binding_request();
        if !self.ice.handle_packet(now, packet) {
            return;
        }
        if asks {
            self.ear.checked();
        }
        self.ice.handle_timeout(now);
        if !self.paths.contains(path) && self.paths.len() < MAX_PATHS {
            self.paths.push(*path);
            self.event(PeerEvent::PathValidated(*path));
        }
        // Who nominates waits for its own check to be answered: the other side takes nothing from a way that it has not
        // checked, and a first flight of DTLS that is lost costs a second.
        if self.path.is_none() && !self.config.controlling {
            self.path = Some(*path);
        }
    }

    fn handle_dtls(&mut self, now: Instant, datagram: &[u8]) {
        // Application data (content type 23) goes on; a handshake is meant for whoever took over.
        if self.handed_over && datagram.first() != Some(&23) {
            return;
        }
        let hello = client_hello(datagram);
        if !self.ear.hears(datagram, hello.is_some()) {
            return;
        }
        if hello.is_some() && hello != self.hello {
            self.begin_again(now);
            self.hello = hello;
        }
        if self.hello.is_none() && !self.dtls_active && datagram.first() == Some(&HANDSHAKE) {
            // The rest of a handshake that began with another process.
            return;
        }
        if let Some(dtls) = &mut self.dtls {
            dtls.handle_packet(now, datagram);
        }
    }

    /// The client begins a handshake. If that is not its first here, it has given the one before up, in which another
    /// process may have had a part.
    fn begin_again(&mut self, now: Instant) {
        let handshaking = self.dtls.as_ref().is_some_and(|dtls| dtls.state() == DtlsState::Handshaking);
        if let Some(remote) = self.dtls_remote
            && self.hello.is_some()
            && handshaking
            && !self.dtls_active
        {
            self.start_dtls(now, remote);
        }
    }

    fn handle_rtcp(&mut self, now: Instant, datagram: &mut [u8]) {
        let Some((_, srtp)) = &mut self.srtp else { return };
        let Ok(len) = srtp.unprotect_rtcp(datagram) else { return };
        for packet in parse_compound(&datagram[..len]).flatten() {
            match packet {
                RtcpPacket::SenderReport(report) => {
                    if let Some(stream) = self.receiver.on_sender_report(now, report.ssrc, report.ntp) {
                        let (ntp, rtp_time) = (report.ntp, report.rtp_time);
                        self.event(PeerEvent::SenderReport { stream, ntp, rtp_time });
                    }
                    self.handle_reports(now, report.reports.iter());
                }
                RtcpPacket::ReceiverReport(report) => self.handle_reports(now, report.reports.iter()),
                RtcpPacket::Nack(nack) => {
                    if let Some((key, _)) = self.senders.by_ssrc(nack.media) {
                        let seqs = nack.seqs().collect();
                        self.event(PeerEvent::Nack(key, seqs));
                    }
                }
                RtcpPacket::Pli { media, .. } => self.keyframe_wanted(media),
                RtcpPacket::Fir(fir) => {
                    fir.entries().for_each(|(media, _)| self.keyframe_wanted(media));
                }
                RtcpPacket::TransportFeedback(feedback) => {
                    let SenderSet { sent, estimator, .. } = &mut self.senders;
                    let before = estimator.estimate_bps();
                    let results = sent.on_feedback(feedback.reference_ticks(), feedback.statuses());
                    estimator.on_feedback(now, results, self.rtt);
                    let after = estimator.estimate_bps();
                    if before != after {
                        self.event(PeerEvent::BandwidthEstimate(after));
                    }
                }
                RtcpPacket::Sdes(_) | RtcpPacket::Bye(_) | RtcpPacket::Remb(_) | RtcpPacket::Other { .. } => {
                }
            }
        }
    }

    fn handle_reports(&mut self, now: Instant, blocks: impl Iterator<Item = crate::rtcp::ReportBlock>) {
        for block in blocks {
            let Some((_, sender)) = self.senders.by_ssrc(block.ssrc) else { continue };
            if sender.info.ssrc != block.ssrc {
                continue;
            }
            if let Some(rtt) = sender.stats.on_report_block(&block, now) {
                self.rtt = Some(self.rtt.map_or(rtt, |smoothed| (smoothed * 7 + rtt) / 8));
            }
        }
    }

    fn keyframe_wanted(&mut self, media: Ssrc) {
        if let Some((key, _)) = self.senders.by_ssrc(media) {
            self.event(PeerEvent::KeyframeWanted(key));
        }
    }

    /// Moves everything along that can move, sends it, and finds the next due time.
    fn service(&mut self, now: Instant, out: &mut dyn Egress) {
        self.service_ice(out);
        self.service_dtls(now, out);
        self.service_rtcp(now, out);
        self.service_probe(now, out);
        // Without keys there is no media, and its timers would be due for ever.
        let media = self.srtp.as_ref().map(|_| {
            [self.receiver.poll_timeout(), self.twcc.next_timeout(), self.senders.estimator.next_timeout()]
        });
        let transport = [
            self.ice.poll_timeout(),
            self.dtls.as_ref().filter(|_| !self.dtls_waits()).and_then(DtlsSession::poll_timeout),
            self.data.as_ref().and_then(DataChannels::poll_timeout),
        ];
        self.due = transport.into_iter().chain(media.into_iter().flatten()).flatten().min();
    }

    fn service_ice(&mut self, out: &mut dyn Egress) {
        while let Some(transmit) = self.ice.poll_transmit() {
            let proto = if transmit.proto == Protocol::Udp { Proto::Udp } else { Proto::Tcp };
            let path = Path { proto, local: transmit.source, remote: transmit.destination };
            out.send(&path, &transmit.contents);
        }
        while let Some(event) = self.ice.poll_event() {
            match event {
                IceAgentEvent::NominatedSend { proto, source, destination } => {
                    let proto = if proto == Protocol::Udp { Proto::Udp } else { Proto::Tcp };
                    self.path = Some(Path { proto, local: source, remote: destination });
                }
                IceAgentEvent::IceConnectionStateChange(state) => self.ice_changed(state),
                IceAgentEvent::IceRestart(_) | IceAgentEvent::DiscoveredRecv { .. } => {}
            }
        }
    }

    fn ice_changed(&mut self, state: IceConnectionState) {
        tracing::debug!(?state, session = self.session_id, "ICE");
        let connected = state.is_connected();
        if connected == self.ice_connected {
            return;
        }
        if connected {
            self.ice_connected = true;
            if self.connected {
                self.event(PeerEvent::IceReconnected);
            }
        } else if state.is_disconnected() {
            self.ice_connected = false;
            self.event(PeerEvent::IceDisconnected);
        }
    }

    /// A flight of a handshake that another process goes on with would only confuse the client.
    fn dtls_waits(&self) -> bool {
        !self.connected && self.handed_over
    }

    fn service_dtls(&mut self, now: Instant, out: &mut dyn Egress) {
        if self.dtls_waits() {
            return;
        }
        let (Some(dtls), Some(path)) = (&mut self.dtls, self.path) else { return };
        let before = dtls.state();
        loop {
            let mut received = Vec::new();
            let mut keys = None;
            dtls.drain(|event| match event {
                DtlsEvent::Transmit(datagram) => out.send(&path, datagram),
                DtlsEvent::Keys(material) => keys = Some(material),
                DtlsEvent::Data(packet) => received.push(packet.to_vec()),
                DtlsEvent::Connected => {}
            });
            if let Some(material) = keys {
                self.srtp = Some(material.into_contexts(self.dtls_active));
            }
            let Some(data) = &mut self.data else { break };
            // An association that is only beginning begins with the process that goes on.
            if dtls.state() != DtlsState::Connected || (self.handed_over && !data.is_connected()) {
                break;
            }
            for packet in received {
                data.handle_packet(now, &packet);
            }
            let mut sent = false;
            while let Some(packets) = data.poll_transmit(now) {
                packets.iter().for_each(|packet| dtls.send(packet));
                sent = true;
            }
            if !sent {
                break;
            }
        }
        let after = dtls.state();
        if before != after {
            tracing::debug!(state = ?after, session = self.session_id, "DTLS");
            match after {
                DtlsState::Connected => {
                    self.connected = true;
                    self.certificate_seen();
                    if let Some(data) = &mut self.data {
                        data.dtls_connected();
                    }
                    self.due = Some(now);
                    self.senders.estimator.start(now);
                    self.event(PeerEvent::Connected);
                }
                DtlsState::Failed => self.event(PeerEvent::DtlsFailed),
                DtlsState::Handshaking => {}
            }
        }
        while let Some(event) = self.data.as_mut().and_then(DataChannels::poll_event) {
            self.event(match event {
                DataEvent::Opened(id, config) => PeerEvent::ChannelOpened(id, config),
                DataEvent::Message(id, message) => PeerEvent::ChannelMessage(id, message),
                DataEvent::Closed(id) => PeerEvent::ChannelClosed(id),
            });
        }
    }

    fn service_rtcp(&mut self, now: Instant, out: &mut dyn Egress) {
        let (Some((srtp, _)), Some(path)) = (&mut self.srtp, self.path) else { return };
        let media_due = self.receiver.poll_timeout().is_some_and(|due| due <= now);
        if media_due || self.receiver.has_keyframe_requests() {
            let mut buffer = [0; MAX_RTCP + MAX_RTCP_OVERHEAD];
            let mut writer = RtcpWriter::new(&mut buffer[..MAX_RTCP]);
            let broken = self.receiver.write_rtcp(now, self.local_ssrc, self.rtt, &mut writer);
            let len = writer.len();
            send_rtcp(srtp, &mut buffer, len, &path, out);
            for stream in broken.0 {
                self.events.push_back(PeerEvent::StreamBroken(stream));
            }
        }
        while let Some(feedback) = self.twcc.feedback(now) {
            let mut buffer = [0; MAX_RTCP + MAX_RTCP_OVERHEAD];
            let mut writer = RtcpWriter::new(&mut buffer[..MAX_RTCP]);
            let media = self.receiver.any_ssrc().unwrap_or(self.local_ssrc);
            let told = writer.transport_feedback(
                self.local_ssrc,
                media,
                feedback.base_seq,
                feedback.feedback_count,
                feedback.arrivals,
            );
            if told == 0 {
                break;
            }
            let len = writer.len();
            send_rtcp(srtp, &mut buffer, len, &path, out);
            self.twcc.told(told, now);
        }
    }

    /// Forwards the publisher's clock to the receiver of one of our streams (RFC 3550 §6.4.1).
    pub fn send_sender_report(
        &mut self,
        now: Instant,
        key: SenderKey,
        ntp: u64,
        rtp_time: u32,
        out: &mut dyn Egress,
    ) {
        let (Some((srtp, _)), Some(path)) = (&mut self.srtp, self.path) else { return };
        let Some(sender) = self.senders.get_mut(key) else { return };
        if sender.format.is_none() || sender.stats.packet_count() == 0 {
            return;
        }
        let mut buffer = [0; 512];
        let mut writer = RtcpWriter::new(&mut buffer[..400]);
        let (packets, octets) = (sender.stats.packet_count(), sender.stats.octet_count());
        writer.sender_report(sender.info.ssrc, ntp, rtp_time, packets, octets, &[]);
        writer.sdes(sender.info.ssrc, &sender.info.cname, Some(sender.info.mid.as_str()));
        sender.stats.on_sender_report_sent(ntp, now);
        let len = writer.len();
        send_rtcp(srtp, &mut buffer, len, &path, out);
    }

    /// Sends one packet of a stream. Returns its size on the wire, or `None` when it cannot be sent (not
    /// connected, or not negotiated).
    #[inline]
    pub fn send_media(
        &mut self,
        now: Instant,
        key: SenderKey,
        packet: &OutPacket<'_>,
        out: &mut dyn Egress,
    ) -> Option<usize> {
        let ((srtp, _), path) = (self.srtp.as_mut()?, self.path.as_ref()?);
        self.senders.send(now, key, packet, srtp, path, out)
    }

    /// Sends a packet again that the receiver lacks.
    pub fn resend_media(
        &mut self,
        now: Instant,
        key: SenderKey,
        packet: &OutPacket<'_>,
        out: &mut dyn Egress,
    ) -> Option<usize> {
        let ((srtp, _), path) = (self.srtp.as_mut()?, self.path.as_ref()?);
        self.senders.resend(now, key, packet, srtp, path, out)
    }

    fn service_probe(&mut self, now: Instant, out: &mut dyn Egress) {
        let (Some((srtp, _)), Some(path)) = (&mut self.srtp, self.path) else { return };
        while let Some(padding) = self.senders.estimator.next_padding(now) {
            if !self.senders.send_padding(now, padding, srtp, &path, out) {
                return;
            }
        }
    }

    fn sooner(&mut self, at: Option<Instant>) {
        self.due = match (self.due, at) {
            (Some(due), Some(at)) => Some(due.min(at)),
            (due, at) => due.or(at),
        };
    }

    fn event(&mut self, event: PeerEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        }
    }
}

fn send_rtcp(srtp: &mut SrtpSender, buffer: &mut [u8], len: usize, path: &Path, out: &mut dyn Egress) {
    if len == 0 {
        return;
    }
    match srtp.protect_rtcp(buffer, len) {
        Ok(sealed) => out.send(path, &buffer[..sealed]),
        Err(error) => tracing::debug!(%error, "RTCP not sent"),
    }
}

fn new_credentials(prefix: &str) -> IceCreds {
    let mut credentials = IceCreds::new();
    credentials.ufrag.insert_str(0, prefix);
    credentials
}

fn protocol(proto: Proto) -> Protocol {
    match proto {
        Proto::Udp => Protocol::Udp,
        Proto::Tcp => Protocol::Tcp,
    }
}

fn local_candidate(path: &Path) -> Option<Candidate> {
    let candidate = match path.proto {
        Proto::Udp => Candidate::builder().udp().host(path.local).build(),
        Proto::Tcp => Candidate::builder().tcp().host(path.local).tcptype("passive".parse().ok()?).build(),
    };
    candidate
        .inspect_err(|error| tracing::warn!(%error, %path.local, "address is not usable as candidate"))
        .ok()
}
