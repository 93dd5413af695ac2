//! A client as far as the sockets can tell: joins, reads the ICE credentials out of the server's offer and
//! speaks STUN over real sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use is::stun::{StunMessage, TransId};
use is::{DefaultSha1HmacProvider, Sha1HmacProvider};
use livekit_protocol as proto;
use net::{NetConfig, Session, ShardStats, Shards};
use proto::signal_request::Message as Ask;
use proto::signal_response::Message;
use rtc::Proto;
use sfu::{EngineConfig, JoinParams, Limits, SessionId, SessionOutput};

/// Nothing here takes a hundredth of that.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn config(shards: usize, ip: IpAddr) -> NetConfig {
    NetConfig {
        addresses: vec![ip.into()],
        udp_ports: 0..=0,
        tcp_port: Some(0),
        shards: Some(shards),
        fence: std::sync::Arc::new(net::Fence::open()),
        engine: EngineConfig {
            candidates: Vec::new(),
            ufrag_prefix: String::new(),
            ice_lite: true,
            audio_active_level: 35,
            audio_min_percentile: 40,
            audio_update_interval: Duration::from_millis(400),
            audio_smooth_intervals: 2,
            dynacast_pause_delay: Duration::from_secs(5),
            allow_pause: true,
            enabled_codecs: vec![rtc::Codec::Opus, rtc::Codec::Vp8],
            enable_remote_unmute: false,
            describe_rooms: false,
            limits: Limits::default(),
            server_info: Default::default(),
        },
    }
}

pub(crate) fn shards(count: usize) -> Shards {
    Shards::start(config(count, Ipv4Addr::LOCALHOST.into())).expect("loopback is always there")
}

pub(crate) fn params(identity: &str) -> JoinParams {
    static NEXT_SESSION: AtomicU64 = AtomicU64::new(1);
    JoinParams {
        session: SessionId(NEXT_SESSION.fetch_add(1, Ordering::Relaxed)),
        identity: identity.into(),
        name: identity.to_owned(),
        metadata: String::new(),
        attributes: Default::default(),
        kind: proto::participant_info::Kind::Standard,
        kind_details: Vec::new(),
        permission: proto::ParticipantPermission { can_subscribe: true, ..Default::default() },
        client: proto::ClientInfo { protocol: 16, ..Default::default() },
        single_peer_connection: false,
        auto_subscribe: true,
        auto_subscribe_data_track: true,
        adaptive_stream: false,
        subscriber_allow_pause: None,
        add_tracks: Vec::new(),
        publisher_offer: None,
        resume: None,
        ice_servers: Vec::new(),
    }
}

pub(crate) async fn join(shards: &Shards, room: &str, identity: &str) -> Session {
    shards.join(&room.into(), Default::default(), true, params(identity)).await.expect("an open room")
}

/// What STUN towards the server's subscriber transport must carry.
pub(crate) struct Credentials {
    pub(crate) ufrag: String,
    pub(crate) password: String,
}

/// Waits for the server's offer and answers it.
pub(crate) async fn credentials(session: &mut Session) -> Credentials {
    let sdp = loop {
        let output = tokio::time::timeout(PATIENCE, session.recv()).await.expect("an offer in time");
        if let Some(SessionOutput::Response(response)) = output
            && let Some(Message::Offer(offer)) = response.message
        {
            break offer.sdp;
        }
    };
    let value = |name: &str| {
        sdp.lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("{name} is not in the offer {sdp}"))
            .to_owned()
    };
    let answer = answer(&value("a=mid:"));
    session.send(proto::SignalRequest { message: Some(Ask::Answer(answer)) }).expect("a shard that lives");
    Credentials { ufrag: value("a=ice-ufrag:"), password: value("a=ice-pwd:") }
}

/// A client that takes the data channels, which the first offer is all about.
fn answer(mid: &str) -> proto::SessionDescription {
    let fingerprint = ["AB"; 32].join(":");
    let lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        &format!("a=group:BUNDLE {mid}"),
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:client",
        "a=ice-pwd:a-password-that-is-long-enough",
        &format!("a=fingerprint:sha-256 {fingerprint}"),
        "a=setup:active",
        &format!("a=mid:{mid}"),
        "a=sctp-port:5000",
        "",
    ];
    proto::SessionDescription { r#type: "answer".into(), sdp: lines.join("\r\n"), ..Default::default() }
}

impl Credentials {
    /// A connectivity check of a client.
    pub(crate) fn binding_request(&self) -> Vec<u8> {
        let username = format!("{}:client", self.ufrag);
        let message = StunMessage::binding_request(&username, TransId::new(), true, 1, 1, true);
        let mut bytes = vec![0; 512];
        let hmac = |key: &[u8], payloads: &[&[u8]]| DefaultSha1HmacProvider.sha1_hmac(key, payloads);
        let len =
            message.to_bytes(Some(self.password.as_bytes()), &mut bytes, hmac).expect("a short message");
        bytes.truncate(len);
        bytes
    }
}

/// The address of a shard's socket for clients.
pub(crate) fn candidate(shards: &Shards, proto: Proto) -> SocketAddr {
    shards.candidates().iter().find(|path| path.proto == proto).expect("a candidate").local
}

/// Asks for the counters until they are as expected.
pub(crate) async fn eventually(
    shards: &Shards,
    what: &str,
    expected: impl Fn(&ShardStats) -> bool,
) -> ShardStats {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let stats = shards.stats().await;
        if expected(&stats) {
            return stats;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} never came: {stats:?}");
        tokio::task::yield_now().await;
    }
}
