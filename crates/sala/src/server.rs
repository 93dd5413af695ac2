//! `sala serve`: from a configuration to running shards and listeners, until a signal stops them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use auth::{KeyStore, Secret};
use livekit_protocol as proto;
use net::{Fence, MediaAddress, NetConfig, NetError, Shards};
use sfu::{EngineConfig, RoomOptions};
use signal::{AdminLogin, RoomPolicy, Server};
use socket2::{Domain, Socket, Type};
use store::{EmbeddedOptions, EmbeddedStore};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal as unix_signal};

use crate::cli::ServeArgs;
use crate::config::{self, Config, TurnProtocol};
use crate::notify::Notify;
use crate::webhooks::{self, Telling};
use crate::{log, web};

/// What clients are told the server is. SDKs switch behaviour by these (livekit.md §0): the version is the
/// LiveKit release whose features are there, protocol 18 would need channels that are not.
const COMPATIBLE_VERSION: &str = "1.13.5";
const PROTOCOL: i32 = 17;

/// Publications of one participant: a meeting needs five, a camera wall some dozens.
const MAX_TRACKS_PER_PARTICIPANT: usize = 64;

/// What must not be in the configuration tree, because that is logged.
pub(crate) struct Secrets {
    pub(crate) keys: KeyStore,
    pub(crate) admin_password: Option<Secret>,
}

impl Secrets {
    /// Collects them from the configuration, its files and the environment.
    pub(crate) fn load(config: &mut Config, livekit_keys: Option<&str>) -> anyhow::Result<Self> {
        if let Ok(user) = std::env::var("SALA_ADMIN_USER") {
            config.meeting.admin_user = user;
        }
        let keys = config.key_store(livekit_keys)?;
        let admin_password = config.admin_password(std::env::var("SALA_ADMIN_PASSWORD").ok())?;
        Ok(Self { keys, admin_password })
    }
}

/// Runs as the configuration says.
pub(crate) fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let mut config = match (args.config, args.config_body) {
        (Some(path), _) => config::load(&path)?,
        (None, Some(yaml)) => config::parse(&yaml, "LIVEKIT_CONFIG")?,
        (None, None) => Config::default(),
    };
    let secrets = Secrets::load(&mut config, std::env::var("LIVEKIT_KEYS").ok().as_deref())?;
    match config.cluster.take() {
        Some(cluster) => crate::node::run(config, cluster, secrets),
        None => run(config, secrets, || {}),
    }
}

/// Runs until SIGTERM or SIGINT. `ready` is called when clients can connect.
#[tokio::main]
pub(crate) async fn run(config: Config, secrets: Secrets, ready: impl FnOnce()) -> anyhow::Result<()> {
    log::init(&config.logging)?;
    for key in secrets.keys.weak_ids().filter(|key| *key != "devkey") {
        tracing::warn!(
            key,
            "the secret of this API key is short and can be guessed; make one with `sala keys generate`"
        );
    }
    let listeners = listen(&config).await?;
    let shards = Shards::start(net_config(&config, Arc::new(Fence::open()), false)?)
        .map_err(|error| explain_net(error, &config))?;
    tracing::info!(port = config.port, media = ?shards.candidates(), "server runs");
    let webhooks = start_webhooks(&config, &secrets, &shards)?;
    let server = Arc::new(Server::new(signal_config(&config, &secrets), shards.clone(), web::pages()));
    let stopped = wait_for_stop();
    ready();
    let notify = Arc::new(Notify::from_env());
    notify.ready();
    let alive = || async {
        match shards.all_answer().await {
            true => Ok(()),
            false => Err("a thread of media has ended".to_owned()),
        }
    };
    let shutdown = async {
        tokio::select! {
            _ = stopped => {}
            never = notify.clone().watch(alive) => match never {},
        }
        notify.stopping();
        tracing::info!("stopping: everybody is told to leave");
        shards.shutdown().await;
    };
    signal::serve(server, listeners, shutdown).await;
    if let Some(webhooks) = webhooks {
        webhooks.stop().await;
    }
    Ok(())
}

/// A server that stands alone keeps what is to be delivered in a file of its own.
fn start_webhooks(config: &Config, secrets: &Secrets, shards: &Shards) -> anyhow::Result<Option<Telling>> {
    if config.webhook.urls.is_empty() {
        return Ok(None);
    }
    let directory = &config.data_dir;
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the data directory {}; set data_dir", directory.display()))?;
    let store = EmbeddedStore::open(directory.join("sala.redb"), EmbeddedOptions::default())?;
    webhooks::start(config, secrets, shards, Arc::new(store), "sala")
}

/// How the process is asked to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// SIGTERM: a node of a cluster first moves its rooms away.
    Orderly,
    /// SIGINT: at once.
    Now,
}

/// Listens from the call on, not from the first poll: who is told to stop right after it said that it serves must not
/// just die.
pub(crate) fn wait_for_stop() -> impl Future<Output = Stop> {
    let terminated = unix_signal(SignalKind::terminate());
    let interrupted = unix_signal(SignalKind::interrupt());
    let came = async |signal: io::Result<Signal>| match signal {
        Ok(mut signal) => signal.recv().await,
        Err(_) => std::future::pending().await,
    };
    async move {
        tokio::select! {
            _ = came(terminated) => Stop::Orderly,
            _ = came(interrupted) => Stop::Now,
        }
    }
}

/// HTTP listeners. A machine without IPv6 is no error unless it was asked for alone.
async fn listen(config: &Config) -> anyhow::Result<Vec<TcpListener>> {
    let addresses = match &config.bind_addresses {
        none if none.is_empty() => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        given => given.clone(),
    };
    let mut listeners = Vec::new();
    for address in addresses {
        let address = SocketAddr::new(address, config.port);
        match bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!(
                "port {} is taken on {}; stop the other program (`ss -ltnp` shows it) or choose another port \
                 (`sala dev --port N`, `port:` in sala.yaml)",
                config.port,
                address.ip()
            ),
            Err(_) if address.is_ipv6() && !listeners.is_empty() => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot listen on {address}; is the address of this machine?"));
            }
        }
    }
    Ok(listeners)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    /// Connections that wait while all are busy: a reconnect storm after a network fault.
    const BACKLOG: i32 = 4096;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        // `[::]` stands beside `0.0.0.0`.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn explain_net(error: NetError, config: &Config) -> anyhow::Error {
    let hint = match &error {
        NetError::Udp { .. } => format!(
            "UDP port {} is for media: `--rtc-udp-port N`, or `rtc.udp_port` in sala.yaml",
            config.rtc.udp_port.unwrap_or(config.rtc.port_range_start)
        ),
        NetError::Tcp { .. } => format!(
            "TCP port {} is for media: `--rtc-tcp-port N`, or `rtc.tcp_port` in sala.yaml",
            config.rtc.tcp_port
        ),
        _ => return error.into(),
    };
    anyhow::anyhow!("{error} ({hint})")
}

/// `describe_rooms`: for a cluster, which keeps what outlives a node.
pub(crate) fn net_config(
    config: &Config,
    fence: Arc<Fence>,
    describe_rooms: bool,
) -> anyhow::Result<NetConfig> {
    let rtc = &config.rtc;
    let (udp_ports, shards) = match rtc.udp_port {
        Some(port) => (port..=port, Some(1)),
        None => (rtc.port_range_start..=rtc.port_range_end, None),
    };
    Ok(NetConfig {
        addresses: media_addresses(config)?,
        udp_ports,
        tcp_port: (rtc.tcp_port != 0).then_some(rtc.tcp_port),
        shards,
        fence,
        engine: EngineConfig { describe_rooms, ..engine_config(config)? },
    })
}

/// Where media comes in. A `node_ip` that this machine has is bound; any other is what a NAT shows of the
/// primary address.
fn media_addresses(config: &Config) -> anyhow::Result<Vec<MediaAddress>> {
    let Some(node_ip) = config.rtc.node_ip else {
        let primary = primary_address().context(
            "no network address found for media; set rtc.node_ip (127.0.0.1 if everybody is on this machine)",
        )?;
        return Ok(vec![primary.into()]);
    };
    if UdpSocket::bind((node_ip, 0)).is_ok() {
        return Ok(vec![node_ip.into()]);
    }
    let primary = primary_address().filter(|primary| primary.is_ipv4() == node_ip.is_ipv4());
    let bind = primary.with_context(|| {
        format!("rtc.node_ip {node_ip} is not of this machine and no address of its kind is; set an address that is")
    })?;
    Ok(vec![MediaAddress { bind, advertise: node_ip }])
}

/// The address that leads to the default route. Nothing is sent to find it out.
pub(crate) fn primary_address() -> Option<IpAddr> {
    let route = |from: &str, to: &str| -> io::Result<IpAddr> {
        let socket = UdpSocket::bind(from)?;
        socket.connect(to)?;
        Ok(socket.local_addr()?.ip())
    };
    route("0.0.0.0:0", "192.0.2.1:9").or_else(|_| route("[::]:0", "[2001:db8::1]:9")).ok()
}

fn engine_config(config: &Config) -> anyhow::Result<EngineConfig> {
    let limits = sfu::Limits {
        max_metadata_bytes: config.limit.max_metadata_size,
        max_attributes_bytes: config.limit.max_attributes_size,
        max_name_bytes: config.limit.max_participant_name_length,
        max_tracks_per_participant: MAX_TRACKS_PER_PARTICIPANT,
        ..sfu::Limits::default()
    };
    Ok(EngineConfig {
        // Every shard puts its own.
        ufrag_prefix: String::new(),
        candidates: Vec::new(),
        ice_lite: config.rtc.use_ice_lite,
        audio_active_level: config.audio.active_level,
        audio_min_percentile: config.audio.min_percentile,
        audio_update_interval: Duration::from_millis(config.audio.update_interval.max(1).into()),
        audio_smooth_intervals: config.audio.smooth_intervals,
        dynacast_pause_delay: config.video.dynacast_pause_delay,
        allow_pause: config.rtc.congestion_control.allow_pause,
        enabled_codecs: enabled_codecs(config)?,
        enable_remote_unmute: config.room.enable_remote_unmute,
        describe_rooms: false,
        limits,
        server_info: proto::ServerInfo {
            edition: proto::server_info::Edition::Standard.into(),
            version: COMPATIBLE_VERSION.into(),
            protocol: PROTOCOL,
            region: config.region.clone(),
            debug_info: format!("sala {}", env!("CARGO_PKG_VERSION")),
            ..Default::default()
        },
    })
}

/// The configured codecs, or all in LiveKit's order.
fn enabled_codecs(config: &Config) -> anyhow::Result<Vec<rtc::Codec>> {
    use rtc::Codec::{Av1, H264, H265, Opus, Pcma, Pcmu, Red, Vp8, Vp9};
    const ALL: [(&str, rtc::Codec); 9] = [
        ("audio/pcmu", Pcmu),
        ("audio/pcma", Pcma),
        ("audio/opus", Opus),
        ("audio/red", Red),
        ("video/vp8", Vp8),
        ("video/h264", H264),
        ("video/vp9", Vp9),
        ("video/av1", Av1),
        ("video/h265", H265),
    ];
    let wanted = &config.room.enabled_codecs;
    if wanted.is_empty() {
        return Ok(ALL.map(|(_, codec)| codec).into());
    }
    let named = |mime: &str| {
        let mime = mime.to_ascii_lowercase();
        let known = ALL.iter().find(|(name, _)| *name == mime).map(|(_, codec)| *codec);
        known.with_context(|| {
            let names = ALL.map(|(name, _)| name).join(", ");
            format!("room.enabled_codecs: `{mime}` is not known; known are {names}")
        })
    };
    // LiveKit's examples list video/rtx; retransmission is always on here.
    wanted.iter().filter(|c| !c.mime.eq_ignore_ascii_case("video/rtx")).map(|c| named(&c.mime)).collect()
}

pub(crate) fn signal_config(config: &Config, secrets: &Secrets) -> signal::Config {
    let seconds = |value: u32| Duration::from_secs(value.into());
    let defaults = RoomOptions {
        empty_timeout: seconds(config.room.empty_timeout),
        departure_timeout: seconds(config.room.departure_timeout),
        max_participants: config.room.max_participants,
        sync_streams: config.room.sync_streams,
        ..RoomOptions::default()
    };
    let limit = &config.limit;
    signal::Config {
        keys: secrets.keys.clone(),
        room: RoomPolicy { auto_create: config.room.auto_create, defaults },
        limits: signal::Limits {
            max_room_name_bytes: limit.max_room_name_length,
            max_participant_identity_bytes: limit.max_participant_identity_length,
            max_participant_name_bytes: limit.max_participant_name_length,
            max_metadata_bytes: limit.max_metadata_size,
            max_attributes_bytes: limit.max_attributes_size,
            signal_message_bytes: limit.signal_message_size_limit,
            api_request_body_bytes: limit.max_api_request_body_size,
            ..signal::Limits::default()
        },
        ice_servers: ice_servers(config),
        admin: secrets
            .admin_password
            .clone()
            .map(|password| AdminLogin { user: config.meeting.admin_user.clone(), password }),
    }
}

fn ice_servers(config: &Config) -> Vec<proto::IceServer> {
    let turn = config.rtc.turn_servers.iter().map(|server| {
        let (scheme, transport) = match server.protocol {
            TurnProtocol::Udp => ("turn", "udp"),
            TurnProtocol::Tcp => ("turn", "tcp"),
            TurnProtocol::Tls => ("turns", "tcp"),
        };
        proto::IceServer {
            urls: vec![format!("{scheme}:{}:{}?transport={transport}", server.host, server.port)],
            username: server.username.clone(),
            credential: server.credential.clone(),
        }
    });
    let stun = config.rtc.stun_servers.iter().map(|server| format!("stun:{server}")).collect::<Vec<_>>();
    let stun = (!stun.is_empty()).then(|| proto::IceServer { urls: stun, ..Default::default() });
    turn.chain(stun).collect()
}
