//! The configuration: a tree of plain structs, one per subsystem, as an operator writes it in `sala.yaml`.
//! Keys are LiveKit's where the meaning is the same; docs/configuration.md explains each.

pub(crate) mod cluster;
mod keys;
mod load;
pub(crate) mod oci;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

pub(crate) use keys::KeyPairs;
pub(crate) use load::{load, parse};

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// HTTP, WebSocket and the server API.
    pub(crate) port: u16,
    /// Addresses that HTTP listens on. Empty: all.
    pub(crate) bind_addresses: Vec<IpAddr>,
    pub(crate) keys: KeyPairs,
    /// A file with `key: secret` lines, readable by its owner only.
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) region: String,
    /// Where a server that stands alone keeps what must outlive it.
    pub(crate) data_dir: PathBuf,
    pub(crate) rtc: Rtc,
    pub(crate) room: Room,
    pub(crate) limit: Limit,
    pub(crate) audio: Audio,
    pub(crate) video: Video,
    pub(crate) logging: Logging,
    pub(crate) meeting: Meeting,
    pub(crate) webhook: Webhook,
    /// Absent: this process stands alone.
    pub(crate) cluster: Option<cluster::Cluster>,
    pub(crate) oci: oci::Oci,
}

/// Where the application is told what happens in rooms.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Webhook {
    pub(crate) urls: Vec<String>,
    /// Which of the API keys signs. Absent: the first.
    pub(crate) api_key: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 7880,
            bind_addresses: Vec::new(),
            keys: KeyPairs::default(),
            key_file: None,
            region: String::new(),
            data_dir: "sala-data".into(),
            rtc: Rtc::default(),
            room: Room::default(),
            limit: Limit::default(),
            audio: Audio::default(),
            video: Video::default(),
            logging: Logging::default(),
            meeting: Meeting::default(),
            webhook: Webhook::default(),
            cluster: None,
            oci: oci::Oci::default(),
        }
    }
}

/// Sockets of media.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rtc {
    /// All media on one UDP port, carried by one thread. Otherwise one port per thread from the range.
    pub(crate) udp_port: Option<u16>,
    pub(crate) port_range_start: u16,
    pub(crate) port_range_end: u16,
    /// ICE over TCP; 0 switches it off.
    pub(crate) tcp_port: u16,
    /// The address that clients are told. Absent: the address that leads to the default route.
    pub(crate) node_ip: Option<IpAddr>,
    pub(crate) use_ice_lite: bool,
    /// `host:port` of STUN servers that clients are told of.
    pub(crate) stun_servers: Vec<String>,
    pub(crate) turn_servers: Vec<TurnServer>,
    pub(crate) congestion_control: CongestionControl,
}

impl Default for Rtc {
    fn default() -> Self {
        Self {
            udp_port: None,
            port_range_start: 50_000,
            port_range_end: 60_000,
            tcp_port: 7881,
            node_ip: None,
            use_ice_lite: false,
            stun_servers: Vec::new(),
            turn_servers: Vec::new(),
            congestion_control: CongestionControl::default(),
        }
    }
}

/// An external TURN server with a static login.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TurnServer {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) protocol: TurnProtocol,
    #[serde(default)]
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) credential: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TurnProtocol {
    Udp,
    Tcp,
    Tls,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CongestionControl {
    /// Whether tracks may be paused for subscribers without the bandwidth for them.
    pub(crate) allow_pause: bool,
}

/// What rooms start with.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Room {
    pub(crate) auto_create: bool,
    /// In order of preference. Empty: every codec that the engine has.
    pub(crate) enabled_codecs: Vec<EnabledCodec>,
    /// 0 = unlimited.
    pub(crate) max_participants: u32,
    /// Seconds until a room that nobody joined ends.
    pub(crate) empty_timeout: u32,
    /// Seconds until a room that everybody left ends.
    pub(crate) departure_timeout: u32,
    pub(crate) enable_remote_unmute: bool,
    pub(crate) sync_streams: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            auto_create: true,
            enabled_codecs: Vec::new(),
            max_participants: 0,
            empty_timeout: 300,
            departure_timeout: 20,
            enable_remote_unmute: false,
            sync_streams: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnabledCodec {
    /// `audio/opus`, `video/VP8`, …
    pub(crate) mime: String,
}

/// Upper bounds on what one client can ask for. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limit {
    pub(crate) max_metadata_size: usize,
    pub(crate) max_attributes_size: usize,
    pub(crate) max_room_name_length: usize,
    pub(crate) max_participant_identity_length: usize,
    pub(crate) max_participant_name_length: usize,
    /// 0 = unlimited.
    pub(crate) signal_message_size_limit: usize,
    /// 0 = unlimited.
    pub(crate) max_api_request_body_size: usize,
}

impl Default for Limit {
    fn default() -> Self {
        let limits = signal::Limits::default();
        Self {
            max_metadata_size: limits.max_metadata_bytes,
            max_attributes_size: limits.max_attributes_bytes,
            max_room_name_length: limits.max_room_name_bytes,
            max_participant_identity_length: limits.max_participant_identity_bytes,
            max_participant_name_length: limits.max_participant_name_bytes,
            signal_message_size_limit: limits.signal_message_bytes,
            max_api_request_body_size: limits.api_request_body_bytes,
        }
    }
}

/// Who counts as speaking.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Audio {
    /// −dBov: lower is louder.
    pub(crate) active_level: u8,
    /// Percentage of an interval's frames that must reach the level.
    pub(crate) min_percentile: u8,
    /// Milliseconds between two updates.
    pub(crate) update_interval: u32,
    /// Intervals that the level is smoothed over.
    pub(crate) smooth_intervals: u32,
}

impl Default for Audio {
    fn default() -> Self {
        Self { active_level: 35, min_percentile: 40, update_interval: 400, smooth_intervals: 2 }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Video {
    /// Layers that nobody watches are switched off after this long: `5s`, `500ms`.
    #[serde(deserialize_with = "load::duration")]
    pub(crate) dynacast_pause_delay: Duration,
}

impl Default for Video {
    fn default() -> Self {
        Self { dynacast_pause_delay: Duration::from_secs(5) }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Logging {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,signal=debug`.
    pub(crate) level: String,
    pub(crate) json: bool,
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: "info".into(), json: false }
    }
}

/// The meeting page. Without a password nobody can create meetings there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Meeting {
    pub(crate) admin_user: String,
    /// A file that holds the password, readable by its owner only. The environment variable
    /// SALA_ADMIN_PASSWORD comes first.
    pub(crate) admin_password_file: Option<PathBuf>,
}

impl Default for Meeting {
    fn default() -> Self {
        Self { admin_user: "admin".into(), admin_password_file: None }
    }
}
