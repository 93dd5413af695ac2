//! Two peers on a virtual clock: what a client and the server do together.

use std::time::{Duration, Instant};

use rtc::negotiate::{Outgoing, ReceivePrefs};
use rtc::transport::{ChannelConfig, DtlsIdentity};
use rtc::{
    Codec, DatagramQueue, ExtSeq, MediaKind, MediaPacket, OutPacket, Path, Peer, PeerConfig, PeerEvent,
    PeerRole, Proto, Ssrc,
};

struct Pair {
    now: Instant,
    client: Peer,
    server: Peer,
    to_server: DatagramQueue,
    to_client: DatagramQueue,
    client_events: Vec<PeerEvent>,
    server_events: Vec<PeerEvent>,
    received: Vec<(MediaPacket, Vec<u8>)>,
    /// Drop this datagram of media, by order.
    drop_media: Option<usize>,
    media_seen: usize,
    /// The client's hello does not fit into a datagram, as that of a browser with post-quantum keys.
    large_hello: bool,
}

fn peer(now: Instant, role: PeerRole, port: u16, seed: u64) -> Peer {
    Peer::new(peer_config(role, port, seed), now)
}

fn peer_config(role: PeerRole, port: u16, seed: u64) -> PeerConfig {
    let local = format!("127.0.0.1:{port}").parse().unwrap();
    let path = Path { proto: Proto::Udp, local, remote: local };
    PeerConfig {
        identity: DtlsIdentity::generate().unwrap(),
        role,
        ice_lite: false,
        controlling: port == 1000,
        candidates: vec![path],
        candidates_in_sdp: true,
        ufrag_prefix: String::new(),
        seed,
    }
}

impl Pair {
    fn new() -> Pair {
        let now = Instant::now();
        Pair {
            now,
            client: peer(now, PeerRole::Offerer, 1000, 1),
            server: peer(now, PeerRole::Answerer, 2000, 2),
            to_server: DatagramQueue::default(),
            to_client: DatagramQueue::default(),
            client_events: Vec::new(),
            server_events: Vec::new(),
            received: Vec::new(),
            drop_media: None,
            media_seen: 0,
            large_hello: false,
        }
    }

    fn negotiate(&mut self) {
        let offer = self.client.create_offer(self.now);
        self.server.accept_offer(self.now, &offer).unwrap();
        let mids: Vec<_> =
            self.server.sections().iter().filter(|section| section.remote_sends()).map(|s| s.mid).collect();
        for mid in mids {
            let codecs = vec![Codec::Vp8, Codec::Opus, Codec::H264];
            self.server.set_receive(mid, ReceivePrefs { codecs, ..Default::default() });
        }
        let answer = self.server.create_answer(self.now);
        self.client.accept_answer(self.now, &answer).unwrap();
    }

    /// Lets virtual time pass, delivering everything at once.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let due = [self.client.poll_timeout(), self.server.poll_timeout()].into_iter().flatten().min();
            self.now = due.map_or(end, |due| due.clamp(self.now + Duration::from_micros(100), end));
            self.client.handle_timeout(self.now, &mut self.to_server);
            self.server.handle_timeout(self.now, &mut self.to_client);
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        for _ in 0..100 {
            if self.to_server.datagrams.is_empty() && self.to_client.datagrams.is_empty() {
                break;
            }
            while let Some((path, mut datagram)) = self.to_server.datagrams.pop_front() {
                let seen = flip(path);
                if matches!(datagram[0], 128..=191) && !(192..224).contains(&datagram[1]) {
                    self.media_seen += 1;
                    if self.drop_media == Some(self.media_seen) {
                        continue;
                    }
                }
                // As a shard does: from a way that is not validated, only STUN (first byte 0 to 3) is heard.
                if datagram[0] > 3 && !self.has_validated(&seen) {
                    continue;
                }
                if self.large_hello && datagram.starts_with(&[22]) && datagram[13] == 1 {
                    let first = halve_hello(&mut datagram);
                    self.hear(&seen, first);
                }
                self.hear(&seen, datagram);
            }
            while let Some((path, mut datagram)) = self.to_client.datagrams.pop_front() {
                let seen = flip(path);
                self.client.handle_datagram(self.now, &seen, &mut datagram, &mut self.to_server);
            }
        }
        self.client_events.extend(std::iter::from_fn(|| self.client.poll_event()));
        self.server_events.extend(std::iter::from_fn(|| self.server.poll_event()));
    }

    fn hear(&mut self, path: &Path, mut datagram: Vec<u8>) {
        let media = self.server.handle_datagram(self.now, path, &mut datagram, &mut self.to_client);
        self.server_events.extend(std::iter::from_fn(|| self.server.poll_event()));
        if let Some(media) = media {
            let payload = datagram[media.payload.clone()].to_vec();
            self.received.push((media, payload));
        }
    }

    fn has_validated(&self, path: &Path) -> bool {
        self.server_events
            .iter()
            .any(|event| matches!(event, PeerEvent::PathValidated(known) if known == path))
    }
}

/// Takes the first half of a ClientHello off, as a fragment of its own (RFC 6347 §4.2.3); the second half stays.
fn halve_hello(datagram: &mut Vec<u8>) -> Vec<u8> {
    let (headers, body) = datagram.split_at(25);
    let (first, second) = body.split_at(body.len() / 2);
    let fragment = |offset: usize, part: &[u8]| {
        let mut fragment = headers.to_vec();
        // The record's length, the fragment's offset and length.
        fragment[11..13].copy_from_slice(&(part.len() as u16 + 12).to_be_bytes());
        fragment[19..22].copy_from_slice(&(offset as u32).to_be_bytes()[1..]);
        fragment[22..25].copy_from_slice(&(part.len() as u32).to_be_bytes()[1..]);
        fragment.extend(part);
        fragment
    };
    let rest = fragment(first.len(), second);
    let first = fragment(0, first);
    *datagram = rest;
    first
}

fn flip(path: Path) -> Path {
    Path { proto: path.proto, local: path.remote, remote: path.local }
}

fn outgoing(codec: Codec) -> Outgoing {
    Outgoing {
        stream: "stream".into(),
        track: "track".into(),
        cname: "cname".into(),
        codec,
        stereo: false,
        ssrc: Ssrc(1111),
        rtx_ssrc: (codec.kind() == MediaKind::Video).then_some(Ssrc(2222)),
        rids: Vec::new(),
    }
}

fn packet(seq: u64, body: &[u8]) -> OutPacket<'_> {
    OutPacket {
        seq: ExtSeq(1_000 + seq),
        timestamp: 3_000 * seq as u32,
        marker: true,
        red: false,
        head: &[],
        body,
        dependency_descriptor: None,
        abs_capture_time: None,
        playout_delay: None,
    }
}

#[test]
fn peers_connect_and_media_arrives_decrypted() {
    let mut pair = Pair::new();
    let (sender, _) = pair.client.add_sender(None, MediaKind::Video, outgoing(Codec::Vp8));
    pair.negotiate();
    pair.run(Duration::from_secs(2));
    assert!(pair.client.is_connected() && pair.server.is_connected());

    for seq in 0..10 {
        pair.client.send_media(pair.now, sender, &packet(seq, b"hello"), &mut pair.to_server).unwrap();
        pair.run(Duration::from_millis(20));
    }
    assert_eq!(pair.received.len(), 10);
    assert!(pair.received.iter().all(|(media, payload)| media.codec == Codec::Vp8 && payload == b"hello"));
}

/// The server knows the client's candidates from the offer, and may check them before its answer has arrived. The
/// client took that for a way it could begin DTLS on; its first flight was lost, and the next came after a second.
#[test]
fn a_server_that_checks_before_its_answer_arrives_delays_nothing() {
    let mut pair = Pair::new();
    pair.client.add_sender(None, MediaKind::Video, outgoing(Codec::Vp8));
    let offer = pair.client.create_offer(pair.now);
    pair.server.accept_offer(pair.now, &offer).unwrap();
    let answer = pair.server.create_answer(pair.now);
    pair.run(Duration::from_millis(100));
    pair.client.accept_answer(pair.now, &answer).unwrap();
    pair.run(Duration::from_millis(500));
    assert!(pair.client.is_connected() && pair.server.is_connected());
}

#[test]
fn a_lost_packet_is_asked_for_and_comes_by_rtx() {
    let mut pair = Pair::new();
    let (sender, _) = pair.client.add_sender(None, MediaKind::Video, outgoing(Codec::Vp8));
    pair.negotiate();
    pair.run(Duration::from_secs(2));
    pair.drop_media = Some(pair.media_seen + 3);

    for seq in 0..8 {
        pair.client.send_media(pair.now, sender, &packet(seq, b"frame"), &mut pair.to_server).unwrap();
        pair.run(Duration::from_millis(10));
    }
    let asked: Vec<u16> = pair
        .client_events
        .iter()
        .filter_map(|event| match event {
            PeerEvent::Nack(key, seqs) if *key == sender => Some(seqs.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(asked.first(), Some(&(1_002)));

    pair.client.resend_media(pair.now, sender, &packet(2, b"frame"), &mut pair.to_server).unwrap();
    pair.run(Duration::from_millis(50));
    let repaired: Vec<_> = pair.received.iter().filter(|(media, _)| media.repaired).collect();
    assert_eq!(repaired.len(), 1);
    assert_eq!(repaired[0].0.seq.wire(), 1_002);
    assert_eq!(repaired[0].1, b"frame");
}

#[test]
fn data_channels_carry_messages_both_ways() {
    let mut pair = Pair::new();
    pair.client.offer_data_channels();
    pair.client.open_channel(ChannelConfig::reliable("_reliable"));
    pair.client.open_channel(ChannelConfig::lossy("_lossy"));
    pair.negotiate();
    pair.run(Duration::from_secs(3));

    let opened = |events: &[PeerEvent], label: &str| {
        events.iter().find_map(|event| match event {
            PeerEvent::ChannelOpened(id, config) if config.label == label => Some(*id),
            _ => None,
        })
    };
    let client_side = opened(&pair.client_events, "_reliable").expect("open at the client");
    let server_side = opened(&pair.server_events, "_reliable").expect("open at the server");
    assert!(opened(&pair.server_events, "_lossy").is_some());

    let large = vec![7; 60_000];
    pair.client.send_data(client_side, &large).unwrap();
    pair.server.send_data(server_side, b"answer").unwrap();
    pair.run(Duration::from_secs(2));
    let message = |events: &[PeerEvent]| {
        events.iter().find_map(|event| match event {
            PeerEvent::ChannelMessage(_, message) => Some(message.clone()),
            _ => None,
        })
    };
    assert_eq!(message(&pair.server_events).as_deref(), Some(large.as_slice()));
    assert_eq!(message(&pair.client_events).as_deref(), Some(b"answer".as_slice()));
}

/// Chromium could not connect: each part of its hello was taken for the first of another handshake.
#[test]
fn a_client_whose_hello_comes_in_parts_can_connect() {
    let mut pair = Pair::new();
    pair.large_hello = true;
    pair.client.add_sender(None, MediaKind::Video, outgoing(Codec::Vp8));
    pair.negotiate();
    pair.run(Duration::from_secs(5));
    assert!(pair.client.is_connected() && pair.server.is_connected());
}

#[test]
fn media_survives_an_ice_restart_by_a_new_offer() {
    let mut pair = Pair::new();
    let (sender, _) = pair.client.add_sender(None, MediaKind::Video, outgoing(Codec::Vp8));
    pair.negotiate();
    pair.run(Duration::from_secs(2));
    pair.client.restart_ice();
    pair.negotiate();
    pair.run(Duration::from_secs(2));
    pair.client.send_media(pair.now, sender, &packet(0, b"after"), &mut pair.to_server).unwrap();
    pair.run(Duration::from_millis(20));
    assert_eq!(pair.received.last().map(|(_, payload)| payload.as_slice()), Some(b"after".as_slice()));
    assert!(pair.server_events.iter().any(|event| matches!(event, PeerEvent::UfragChanged(_))));
}

#[test]
fn a_peer_with_another_certificate_is_refused() {
    let mut pair = Pair::new();
    pair.client.add_sender(None, MediaKind::Video, outgoing(Codec::Vp8));
    let offer = pair.client.create_offer(pair.now);
    let forged = offer.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:");
    let forged: String = forged
        .lines()
        .map(|line| if line.starts_with("a=fingerprint") { &line[..line.len() - 3] } else { line })
        .map(|line| format!("{line}\r\n"))
        .collect();
    pair.server.accept_offer(pair.now, &forged).unwrap();
    let answer = pair.server.create_answer(pair.now);
    pair.client.accept_answer(pair.now, &answer).unwrap();
    pair.run(Duration::from_secs(2));
    assert!(!pair.server.is_connected());
    assert!(pair.server_events.iter().any(|event| matches!(event, PeerEvent::DtlsFailed)));
}

#[test]
fn a_client_goes_on_with_another_process_under_the_same_streams_and_channels() {
    let mut pair = Pair::new();
    let (sender, _) = pair.client.add_sender(None, MediaKind::Video, outgoing(Codec::Vp8));
    pair.client.offer_data_channels();
    pair.client.open_channel(ChannelConfig::reliable("_reliable"));
    pair.client.open_channel(ChannelConfig::lossy("_lossy"));
    pair.negotiate();
    pair.run(Duration::from_secs(3));

    let snapshot = serde_json::to_string(&pair.server.export()).unwrap();
    pair.server.hand_over();
    let there = peer_config(PeerRole::Answerer, 3000, 3);
    let mut successor = Peer::import(there, serde_json::from_str(&snapshot).unwrap(), pair.now).unwrap();
    std::mem::swap(&mut pair.server, &mut successor);
    pair.server_events.clear();
    pair.client_events.clear();
    // The bridge: what the client sends by its old way reaches the new process.
    let (local, remote) = ("127.0.0.1:2000".parse().unwrap(), "127.0.0.1:1000".parse().unwrap());
    pair.server.admit_path(Path { proto: Proto::Udp, local, remote });
    pair.client.restart_ice();
    pair.negotiate();
    let moved = pair.now;
    while !(pair.client.is_connected() && pair.server.is_connected()) {
        pair.run(Duration::from_millis(5));
        assert!(pair.now < moved + Duration::from_secs(1), "the handshake takes too long");
    }
    pair.client.send_media(pair.now, sender, &packet(70_000, b"after"), &mut pair.to_server).unwrap();
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.received.last().map(|(_, payload)| payload.as_slice()), Some(b"after".as_slice()));

    let reliable = |events: &[PeerEvent]| {
        events.iter().find_map(|event| match event {
            PeerEvent::ChannelOpened(id, config) if config.label == "_reliable" => Some(*id),
            _ => None,
        })
    };
    let (here, there) = (reliable(&pair.client_events).unwrap(), reliable(&pair.server_events).unwrap());
    assert_eq!(here, there, "the channel keeps its stream");
    pair.client.send_data(here, b"up").unwrap();
    pair.server.send_data(there, b"down").unwrap();
    pair.run(Duration::from_secs(1));
    let got = |events: &[PeerEvent], wanted: &[u8]| {
        events.iter().any(|event| matches!(event, PeerEvent::ChannelMessage(_, message) if message == wanted))
    };
    assert!(got(&pair.server_events, b"up") && got(&pair.client_events, b"down"));
}

/// It woke its shard a thousand times a second for as long as the room lingered where it had been.
#[test]
fn a_peer_that_was_let_go_has_nothing_to_do_at_once() {
    let mut pair = Pair::new();
    let (sender, _) = pair.client.add_sender(None, MediaKind::Video, outgoing(Codec::Vp8));
    pair.negotiate();
    pair.run(Duration::from_secs(2));
    for number in 0..20 {
        let packet = packet(number, b"frame");
        pair.client.send_media(pair.now, sender, &packet, &mut pair.to_server).unwrap();
        pair.run(Duration::from_millis(10));
    }
    assert!(!pair.received.is_empty());
    pair.server.let_go();
    for _ in 0..50 {
        pair.now += Duration::from_millis(100);
        pair.server.handle_timeout(pair.now, &mut pair.to_client);
        assert!(pair.server.poll_timeout().is_none_or(|due| due > pair.now));
    }
}
