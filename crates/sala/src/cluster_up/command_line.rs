//! `sala cluster …` on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::control::Request;
use super::plan::Subnet;

#[derive(Subcommand)]
pub(crate) enum ClusterCommand {
    /// Run a whole cluster on this machine, to try it and to break it
    #[command(after_help = "Examples:\n  \
        sala cluster up                             four masters, two media nodes\n  \
        sala cluster up --masters 4 --media 3\n  \
        sudo sala cluster up --netns                a network namespace for each node: partitions and loss\n\n\
        The other commands of `sala cluster` act on it from another terminal. Needs etcd (apt-get install \
        etcd-server).")]
    Up(UpArgs),
    /// Make the certificate authority of a new cluster
    #[command(after_help = "Example:\n  \
        sala cluster ca --dir /etc/sala --id prod   writes ca.pem and ca.key, for every node of the cluster")]
    Ca {
        /// Where ca.pem and ca.key are written
        #[arg(long)]
        dir: PathBuf,
        /// `cluster.id` of the configurations
        #[arg(long, default_value = "sala")]
        id: String,
    },
    /// Show the nodes, rooms and last events
    Status {
        #[command(flatten)]
        place: Place,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print settings for a shell: eval "$(sala cluster env)"
    Env {
        #[command(flatten)]
        place: Place,
    },
    /// End the cluster
    Down {
        #[command(flatten)]
        place: Place,
    },
    /// Kill a host or process (SIGKILL)
    #[command(after_help = TARGETS)]
    Kill(TargetArgs),
    /// Stop a host or process (SIGSTOP): it hangs and keeps its sockets
    #[command(after_help = TARGETS)]
    Stop(TargetArgs),
    /// Let a stopped host or process go on (SIGCONT)
    #[command(after_help = TARGETS)]
    Cont(TargetArgs),
    /// Ask a host or process to end (SIGTERM): a media node drains first
    #[command(after_help = TARGETS)]
    Term(TargetArgs),
    /// Start again what has ended
    #[command(after_help = TARGETS)]
    Restart(TargetArgs),
    /// Cut a host off the network
    #[command(after_help = "Examples:\n  \
        sala cluster partition a                    from everybody\n  \
        sala cluster partition a --from nodes       clients still reach it\n  \
        sala cluster partition a --from m1,m2\n\n\
        Needs `sala cluster up --netns`.")]
    Partition {
        #[command(flatten)]
        place: Place,
        host: String,
        /// From whom: names of hosts, `nodes`, `masters` or `clients` [default: everybody]
        #[arg(long, value_delimiter = ',')]
        from: Vec<String>,
    },
    /// Lose packets of a host, each way
    #[command(after_help = "Example:\n  sala cluster loss a 90\n\nNeeds `sala cluster up --netns`.")]
    Loss {
        #[command(flatten)]
        place: Place,
        host: String,
        /// Share of packets that is lost, 1 to 100
        #[arg(value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: u8,
    },
    /// End the partition or loss of a host
    Heal {
        #[command(flatten)]
        place: Place,
        host: String,
    },
    /// Move the rooms of a media node elsewhere
    Drain {
        #[command(flatten)]
        place: Place,
        node: String,
        /// What has not moved by then is closed: 30s, 5m
        #[arg(long, default_value = "60s", value_parser = crate::token::parse_ttl)]
        deadline: Duration,
    },
    /// End a drain: the node serves again
    DrainCancel {
        #[command(flatten)]
        place: Place,
        node: String,
    },
    /// Start one more node
    Add {
        #[command(flatten)]
        place: Place,
        #[arg(value_parser = ["media"])]
        kind: String,
    },
}

const TARGETS: &str = "Targets: a host (m1, a), one process of it (m1.sala, m1.etcd), every member of the store \
    (etcd), or the one that leads (etcd-leader).";

#[derive(Args)]
pub(crate) struct UpArgs {
    /// Masters, each with a member of etcd: 1 to 7
    #[arg(long, default_value_t = 4)]
    pub(crate) masters: usize,
    /// Media nodes: 0 to 20
    #[arg(long, default_value_t = 2)]
    pub(crate) media: usize,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Give every node a network namespace; needs root
    #[arg(long)]
    pub(crate) netns: bool,
    /// First three numbers of the nodes' addresses [default: 127.7.0, with --netns 10.77.0]
    #[arg(long)]
    pub(crate) subnet: Option<Subnet>,
    /// Port of the balancer for HTTP and WebSocket, on 127.0.0.1
    #[arg(long, default_value_t = 7880)]
    pub(crate) port: u16,
    /// Port of the balancer for TLS, on 127.0.0.1
    #[arg(long, default_value_t = 7443)]
    pub(crate) https_port: u16,
    /// URL that is told of what happens in rooms; may be given several times
    #[arg(long = "webhook", value_name = "URL")]
    pub(crate) webhooks: Vec<String>,
    /// Start again what ends by itself
    #[arg(long)]
    pub(crate) restart: bool,
    /// Print lines instead of the live view
    #[arg(long)]
    pub(crate) plain: bool,
}

/// Which cluster of this machine.
#[derive(Args)]
pub(crate) struct Place {
    /// The directory that the cluster lives in [default: sala-cluster in XDG_RUNTIME_DIR]
    #[arg(long, env = "SALA_CLUSTER_DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct TargetArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    pub(crate) target: String,
}

impl Place {
    pub(crate) fn path(self) -> PathBuf {
        self.dir.unwrap_or_else(super::home::default_path)
    }
}

impl ClusterCommand {
    /// What a running cluster is asked, and where it lives; none for commands that need no running cluster.
    pub(crate) fn into_request(self) -> Result<(Place, Request), ClusterCommand> {
        Ok(match self {
            ClusterCommand::Down { place } => (place, Request::Down),
            ClusterCommand::Kill(TargetArgs { place, target }) => (place, Request::Kill { target }),
            ClusterCommand::Stop(TargetArgs { place, target }) => (place, Request::Stop { target }),
            ClusterCommand::Cont(TargetArgs { place, target }) => (place, Request::Cont { target }),
            ClusterCommand::Term(TargetArgs { place, target }) => (place, Request::Term { target }),
            ClusterCommand::Restart(TargetArgs { place, target }) => (place, Request::Restart { target }),
            ClusterCommand::Partition { place, host, from } => (place, Request::Partition { host, from }),
            ClusterCommand::Loss { place, host, percent } => (place, Request::Loss { host, percent }),
            ClusterCommand::Heal { place, host } => (place, Request::Heal { host }),
            ClusterCommand::Drain { place, node, deadline } => {
                (place, Request::Drain { node, deadline_ms: deadline.as_millis() as u64 })
            }
            ClusterCommand::DrainCancel { place, node } => (place, Request::DrainCancel { node }),
            ClusterCommand::Add { place, .. } => (place, Request::AddMedia),
            other => return Err(other),
        })
    }
}
