//! A client of the measured room: enough of one to connect, to publish frames of a known size and to take
//! what comes. None of its work is timed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;
use rtc::negotiate::Outgoing;
use rtc::transport::DtlsIdentity;
use rtc::{
    Codec, DatagramQueue, ExtSeq, MediaKind, OutPacket, Path, Peer, PeerConfig, PeerEvent, PeerRole, Proto,
    SenderKey, Ssrc,
};

/// Payload of each packet, in bytes: what the floor sends too.
pub(crate) const PAYLOAD: usize = 1_200;

/// One connection of a client.
pub(crate) struct Side {
    pub(crate) peer: Peer,
    pub(crate) out: DatagramQueue,
}

impl Side {
    fn new(identity: &Arc<DtlsIdentity>, role: PeerRole, local: SocketAddr, now: Instant, seed: u64) -> Side {
        let config = PeerConfig {
            identity: identity.clone(),
            role,
            ice_lite: false,
            controlling: true,
            candidates: vec![Path { proto: Proto::Udp, local, remote: local }],
            candidates_in_sdp: true,
            ufrag_prefix: String::new(),
            seed,
        };
        Side { peer: Peer::new(config, now), out: DatagramQueue::default() }
    }
}

/// The state of a VP8 stream.
struct Stream {
    sender: SenderKey,
    seq: u64,
    timestamp: u32,
    picture_id: u16,
    tl0: u8,
    needs_key: bool,
}

pub(crate) struct Client {
    pub(crate) number: u64,
    pub(crate) publisher: Side,
    pub(crate) subscriber: Side,
    /// Messages for the server.
    pub(crate) asks: Vec<Ask>,
    /// Media packets that arrived and could be decrypted.
    pub(crate) received: u64,
    stream: Option<Stream>,
}

impl Client {
    /// `addresses`: of the publishing and of the subscribing connection.
    pub(crate) fn new(
        number: u64,
        identity: &Arc<DtlsIdentity>,
        addresses: [SocketAddr; 2],
        now: Instant,
    ) -> Client {
        let [publisher, subscriber] = addresses;
        Client {
            number,
            publisher: Side::new(identity, PeerRole::Offerer, publisher, now, number * 2),
            subscriber: Side::new(identity, PeerRole::Answerer, subscriber, now, number * 2 + 1),
            asks: Vec::new(),
            received: 0,
            stream: None,
        }
    }

    /// Begins to publish one video track.
    pub(crate) fn publish(&mut self, now: Instant) {
        let cid = format!("camera-{}", self.number);
        let ssrc = 1_000_000 + self.number as u32 * 2;
        let outgoing = Outgoing {
            stream: cid.clone(),
            track: cid.clone(),
            cname: cid.clone(),
            codec: Codec::Vp8,
            stereo: false,
            ssrc: Ssrc(ssrc),
            rtx_ssrc: Some(Ssrc(ssrc + 1)),
            rids: Vec::new(),
        };
        let (sender, _) = self.publisher.peer.add_sender(None, MediaKind::Video, outgoing);
        self.stream = Some(Stream { sender, seq: 1, timestamp: 0, picture_id: 1, tl0: 0, needs_key: true });
        self.asks.push(Ask::AddTrack(proto::AddTrackRequest {
            cid,
            r#type: proto::TrackType::Video as i32,
            source: proto::TrackSource::Camera as i32,
            width: 1_280,
            height: 720,
            ..Default::default()
        }));
        let sdp = self.publisher.peer.create_offer(now);
        let offer = proto::SessionDescription { r#type: "offer".into(), sdp, id: 1, ..Default::default() };
        self.asks.push(Ask::Offer(offer));
    }

    /// Writes one frame of `packets` packets to the publishing connection.
    pub(crate) fn send_frame(&mut self, now: Instant, packets: usize) {
        let (Some(stream), Side { peer, out }) = (&mut self.stream, &mut self.publisher) else { return };
        let key = std::mem::take(&mut stream.needs_key);
        for index in 0..packets {
            stream.seq += 1;
            let mut payload = vec![0x5a; PAYLOAD];
            let start = if index == 0 { 0x10 } else { 0 };
            let [high, low] = (0x8000 | stream.picture_id).to_be_bytes();
            payload[..6].copy_from_slice(&[0x80 | start, 0xf0, high, low, stream.tl0, 0]);
            if index == 0 {
                payload[6] = u8::from(!key);
                payload[9..16].copy_from_slice(&[0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02]);
            }
            let packet = OutPacket {
                seq: ExtSeq(stream.seq),
                timestamp: stream.timestamp,
                marker: index + 1 == packets,
                red: false,
                head: &[],
                body: &payload,
                dependency_descriptor: None,
                abs_capture_time: None,
                playout_delay: None,
            };
            peer.send_media(now, stream.sender, &packet, out);
        }
        stream.timestamp = stream.timestamp.wrapping_add(3_000);
        stream.picture_id = (stream.picture_id + 1) & 0x7fff;
        stream.tl0 = stream.tl0.wrapping_add(1);
    }

    /// A message of the server.
    pub(crate) fn told(&mut self, now: Instant, message: Told) {
        match message {
            Told::Answer(answer) => {
                self.publisher.peer.accept_answer(now, &answer.sdp).expect("the server's own answer");
            }
            Told::Offer(offer) => {
                let peer = &mut self.subscriber.peer;
                peer.accept_offer(now, &offer.sdp).expect("the server's own offer");
                let sdp = peer.create_answer(now);
                let id = offer.id;
                self.asks.push(Ask::Answer(proto::SessionDescription {
                    r#type: "answer".into(),
                    sdp,
                    id,
                    ..Default::default()
                }));
            }
            _ => {}
        }
    }

    /// A datagram for one of the two connections.
    pub(crate) fn datagram(&mut self, now: Instant, publishing: bool, path: &Path, bytes: &mut [u8]) {
        let side = if publishing { &mut self.publisher } else { &mut self.subscriber };
        if side.peer.handle_datagram(now, path, bytes, &mut side.out).is_some() {
            self.received += 1;
        }
    }

    /// Timers, and what the server asks the publisher for.
    pub(crate) fn tick(&mut self, now: Instant) {
        for side in [&mut self.publisher, &mut self.subscriber] {
            if side.peer.poll_timeout().is_some_and(|due| due <= now) {
                side.peer.handle_timeout(now, &mut side.out);
            }
        }
        while self.subscriber.peer.poll_event().is_some() {}
        while let Some(event) = self.publisher.peer.poll_event() {
            if let (PeerEvent::KeyframeWanted(_), Some(stream)) = (event, &mut self.stream) {
                stream.needs_key = true;
            }
        }
    }
}
