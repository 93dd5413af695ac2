//! The command line. Help texts teach by example.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::cluster_up::ClusterCommand;
use crate::load_test::LoadTestArgs;
use crate::oci::OciCommand;
use crate::operator::{DrainArgs, NodesArgs, UpgradePlanArgs};

#[derive(Parser)]
#[command(
    name = "sala",
    version,
    about = "Self-hosted video conferencing for LiveKit's SDKs",
    after_help = "Examples:\n  \
        sala dev                            try it on this machine\n  \
        sala keys generate                  make an API key for a real deployment\n  \
        sala serve --config sala.yaml       run it\n  \
        sala token create --room demo --identity ana --join\n  \
        sala room list\n  \
        sala cluster up                     a cluster on this machine, to try it\n\n\
        `sala help <command>` says more about each."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine, with well-known keys, for development
    #[command(after_help = "Examples:\n  \
        sala dev\n  \
        sala dev --port 8080\n  \
        sala dev --bind 0.0.0.0             others on the network may connect\n\n\
        Keys are devkey/secret and the administrator is admin/admin: never put this on the internet.")]
    Dev(DevArgs),
    /// Run a server as its configuration says
    #[command(after_help = "Examples:\n  \
        sala serve --config /etc/sala/sala.yaml\n  \
        LIVEKIT_KEYS='mykey: mysecret' sala serve\n\n\
        All keys of the configuration: docs/configuration.md")]
    Serve(ServeArgs),
    /// Make access tokens
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Manage the rooms of a running server
    Room {
        #[command(subcommand)]
        command: RoomCommand,
    },
    /// Run a whole cluster on this machine, and break it; make a cluster's certificates
    Cluster {
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// Show the nodes of a cluster
    #[command(after_help = "Examples:\n  \
        sala nodes                          on any machine of the cluster\n  \
        sala nodes --config m1.yaml --json")]
    Nodes(NodesArgs),
    /// Empty a media node: its rooms move to others while people talk
    #[command(after_help = "Examples, on any machine of the cluster:\n  \
        sala drain media-2                  and wait until it is empty\n  \
        sala drain media-2 --deadline 5m --no-wait\n  \
        sala drain media-2 --status\n  \
        sala drain media-2 --cancel\n\n\
        `systemctl stop sala` drains, too, and then stops the node.")]
    Drain(DrainArgs),
    /// Say in which order to upgrade the nodes of a cluster, and what speaks against it now
    #[command(after_help = "Example, with the new binary on any machine of the cluster:\n  \
        sala upgrade-plan")]
    UpgradePlan(UpgradePlanArgs),
    /// Fill a running server with synthetic callers, and tell what they experienced
    #[command(after_help = "Examples:\n  \
        sala load-test --rooms 10 --publishers 3 --subscribers 5\n  \
        sala load-test --rooms 50 --publishers 1 --subscribers 2 --no-video --duration 2m --json\n\n\
        What the figures mean: docs/load-test.md")]
    LoadTest(Box<LoadTestArgs>),
    /// On machines of Oracle Cloud
    Oci {
        #[command(subcommand)]
        command: OciCommand,
    },
    /// Make API keys
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
}

#[derive(Args)]
pub(crate) struct DevArgs {
    /// Port of HTTP, WebSocket and the meeting page
    #[arg(long, env = "SALA_PORT", default_value_t = 7880)]
    pub(crate) port: u16,
    /// UDP port of media
    #[arg(long, env = "SALA_RTC_UDP_PORT", default_value_t = 7882)]
    pub(crate) rtc_udp_port: u16,
    /// TCP port of media, for networks without UDP; 0 switches it off
    #[arg(long, env = "SALA_RTC_TCP_PORT", default_value_t = 7881)]
    pub(crate) rtc_tcp_port: u16,
    /// Address to listen on; may be given several times [default: loopback]
    #[arg(long, env = "SALA_BIND", value_delimiter = ',')]
    pub(crate) bind: Vec<IpAddr>,
    /// Address that clients send media to [default: found out]
    #[arg(long, env = "SALA_NODE_IP")]
    pub(crate) node_ip: Option<IpAddr>,
}

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// The configuration file
    #[arg(long, short, env = "SALA_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The configuration itself, as YAML
    #[arg(
        long,
        env = "LIVEKIT_CONFIG",
        value_name = "YAML",
        conflicts_with = "config",
        hide_env_values = true
    )]
    pub(crate) config_body: Option<String>,
}

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token that lets a client join, or a program use the server API
    #[command(after_help = "Examples:\n  \
        sala token create --room demo --identity ana --join\n  \
        sala token create --room demo --identity viewer --join --no-publish --valid-for 30m\n  \
        sala token create --identity backend --admin --room demo --list --create")]
    Create(Box<TokenArgs>),
}

#[derive(Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    /// Who the bearer is
    #[arg(long)]
    pub(crate) identity: String,
    /// The name that others see
    #[arg(long, default_value = "")]
    pub(crate) name: String,
    /// The room that the token is for
    #[arg(long, default_value = "")]
    pub(crate) room: String,
    /// May join the room [default when neither --create, --list nor --admin is given]
    #[arg(long)]
    pub(crate) join: bool,
    /// May create and delete rooms
    #[arg(long)]
    pub(crate) create: bool,
    /// May list rooms
    #[arg(long)]
    pub(crate) list: bool,
    /// May administer the room
    #[arg(long)]
    pub(crate) admin: bool,
    /// Must not publish
    #[arg(long)]
    pub(crate) no_publish: bool,
    /// Must not subscribe
    #[arg(long)]
    pub(crate) no_subscribe: bool,
    /// Is not shown to others
    #[arg(long)]
    pub(crate) hidden: bool,
    /// Metadata of the participant
    #[arg(long, default_value = "")]
    pub(crate) metadata: String,
    /// Attribute of the participant; may be given several times
    #[arg(long = "attribute", value_name = "KEY=VALUE", value_parser = crate::token::parse_attribute)]
    pub(crate) attributes: Vec<(String, String)>,
    /// Life of the token: 30m, 6h, 1d
    #[arg(long, default_value = "6h", value_parser = crate::token::parse_ttl)]
    pub(crate) valid_for: std::time::Duration,
}

/// The key pair that signs. The defaults are those of `sala dev`.
#[derive(Args)]
pub(crate) struct KeyArgs {
    #[arg(long, env = "LIVEKIT_API_KEY", default_value = "devkey")]
    pub(crate) api_key: String,
    #[arg(long, env = "LIVEKIT_API_SECRET", default_value = "secret", hide_env_values = true)]
    pub(crate) api_secret: String,
}

/// Which server to talk to, and as whom.
#[derive(Args)]
pub(crate) struct ServerArgs {
    /// The server, as http:// or ws:// URL
    #[arg(long, env = "LIVEKIT_URL", default_value = "http://127.0.0.1:7880")]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
}

#[derive(Subcommand)]
#[command(
    after_help = "The server and the key come from --url, --api-key and --api-secret, or from LIVEKIT_URL, \
    LIVEKIT_API_KEY and LIVEKIT_API_SECRET. The defaults fit `sala dev`."
)]
pub(crate) enum RoomCommand {
    /// Create a room
    Create {
        #[command(flatten)]
        server: ServerArgs,
        room: String,
        /// Seconds until the room ends if nobody joins
        #[arg(long, default_value_t = 0)]
        empty_timeout: u32,
        /// Most participants; 0 is unlimited
        #[arg(long, default_value_t = 0)]
        max_participants: u32,
        #[arg(long, default_value = "")]
        metadata: String,
    },
    /// List the rooms
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// End a room: everybody in it has to leave
    Delete {
        #[command(flatten)]
        server: ServerArgs,
        room: String,
    },
    /// List who is in a room
    Participants {
        #[command(flatten)]
        server: ServerArgs,
        room: String,
    },
    /// Remove somebody from a room
    Remove {
        #[command(flatten)]
        server: ServerArgs,
        room: String,
        identity: String,
    },
    /// Mute somebody's track
    Mute {
        #[command(flatten)]
        server: ServerArgs,
        room: String,
        identity: String,
        /// The track's id, as `sala room participants` shows it
        track_sid: String,
        /// Unmute instead; the server must allow it
        #[arg(long)]
        unmute: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Print a new key pair as a line for `keys:` in sala.yaml
    Generate,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
