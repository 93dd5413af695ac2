//! The commands' arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// Which cluster: the one that a node's configuration names.
#[derive(Args)]
pub(crate) struct ClusterArgs {
    /// Configuration of a node of the cluster; this command speaks with that node's certificates
    #[arg(long, short, env = "SALA_CONFIG", value_name = "FILE", default_value = "/etc/sala/sala.yaml")]
    pub(crate) config: PathBuf,
}

#[derive(Args)]
pub(crate) struct NodesArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Everything that a master tells, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// The node [default: the one that the configuration is of]
    pub(crate) node: Option<String>,
    /// What has not moved by then is closed: 30s, 5m
    #[arg(long, default_value = "60s", value_parser = crate::token::parse_ttl)]
    pub(crate) deadline: Duration,
    /// Return at once instead of when the node is empty
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// End a drain: the node serves again, what has moved stays where it is
    #[arg(long, conflicts_with_all = ["status", "no_wait"])]
    pub(crate) cancel: bool,
    /// Only say how far a drain is
    #[arg(long, conflicts_with = "no_wait")]
    pub(crate) status: bool,
}

#[derive(Args)]
pub(crate) struct UpgradePlanArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// The version that all nodes shall have
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    pub(crate) to: String,
}
