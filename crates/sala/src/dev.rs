//! `sala dev`: everything on this machine, with keys that everybody knows, and a start-up block that says what
//! to do next.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use auth::KeyStore;
use signal::meeting;

use crate::cli::DevArgs;
use crate::config::{Config, KeyPairs, Logging};
use crate::server::{self, Secrets};

/// What SDK examples use.
const DEV_KEY: (&str, &str) = ("devkey", "secret");

/// Runs until it is stopped.
pub(crate) fn run(args: DevArgs) -> anyhow::Result<()> {
    let mut config = Config { port: args.port, ..Config::default() };
    config.bind_addresses = match args.bind {
        none if none.is_empty() => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        given => given,
    };
    let only_here = config.bind_addresses.iter().all(IpAddr::is_loopback);
    config.rtc.udp_port = Some(args.rtc_udp_port);
    config.rtc.tcp_port = args.rtc_tcp_port;
    config.rtc.node_ip = args.node_ip.or_else(|| only_here.then_some(Ipv4Addr::LOCALHOST.into()));
    let level =
        std::env::var("RUST_LOG").unwrap_or_else(|_| "warn,sala=info,signal=info,net=info,sfu=info".into());
    config.logging = Logging { level, json: false };

    let environment = std::env::var("LIVEKIT_KEYS").ok();
    if environment.is_none() {
        config.keys = KeyPairs(vec![(DEV_KEY.0.to_owned(), DEV_KEY.1.into())]);
    }
    let mut secrets = Secrets::load(&mut config, environment.as_deref())?;
    secrets.admin_password.get_or_insert_with(|| "admin".into());

    let block = start_up_block(&config, &secrets);
    server::run(config, secrets, move || println!("{block}"))
}

/// What a newcomer wants to know, in one look.
fn start_up_block(config: &Config, secrets: &Secrets) -> String {
    let others = config.bind_addresses.iter().find(|address| !address.is_loopback());
    let reachable = match others {
        Some(address) if address.is_unspecified() => server::primary_address(),
        address => address.copied(),
    };
    let web = match reachable {
        Some(address) => format!("http://{}", SocketAddr::new(address, config.port)),
        None => format!("http://localhost:{}", config.port),
    };
    let (key, secret) = secrets.keys.first();
    let password = secrets.admin_password.as_ref().map_or("", |password| password.reveal());
    let mut block = String::new();
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(block, "  {label:<12} {value}");
    };
    line("Meet", &web);
    line("Join a call", &meeting_link(&web, &secrets.keys));
    line("", "send this link to a friend; whoever opens it is in the room");
    line("Admin login", &format!("{} / {password}", config.meeting.admin_user));
    line("SDK", &format!("{}  key {key}  secret {}", web.replacen("http", "ws", 1), secret.reveal()));
    line("Token", "sala token create --room demo --identity ana --join");
    format!("\n  Sala {} is running. Stop it with Ctrl-C.\n\n{block}", env!("CARGO_PKG_VERSION"))
}

fn meeting_link(web: &str, keys: &KeyStore) -> String {
    format!("{web}{}", meeting::meeting_path(keys, &meeting::random_room()))
}
