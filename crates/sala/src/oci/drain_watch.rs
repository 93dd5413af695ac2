//! `sala oci drain-watch`: beside a media node, until its instance is gone.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use cluster::status::Health;
use oci::drain_watch::state::{Look, Pace};
use oci::drain_watch::{Here, Node, Watcher};
use oci::{Cloud, Imds};

use crate::node::beside::Beside;
use crate::server::wait_for_stop;
use crate::{config, log};

/// Before the start is tried again: metadata and policies may come later than this process.
const RETRY: Duration = Duration::from_secs(15);

/// A look more often than that is no use, and one less often lets instances live for nothing.
const LOOKS_MS: std::ops::RangeInclusive<u64> = 100..=60_000;

#[derive(Args)]
pub(crate) struct DrainWatchArgs {
    /// The node's configuration
    #[arg(long, short, env = "SALA_CONFIG", value_name = "FILE", default_value = "/etc/sala/sala.yaml")]
    config: PathBuf,
    /// Milliseconds between two looks at the instance's tags; all other times are multiples of it
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(LOOKS_MS), hide = true)]
    look_ms: u64,
}

/// Watches until it is stopped.
#[tokio::main]
pub(crate) async fn run(args: DrainWatchArgs) -> anyhow::Result<()> {
    let config = config::load(&args.config)?;
    log::init(&config.logging)?;
    let Some(settings) = config.cluster else {
        bail!("{} has no `cluster:`; this machine is no node of a cluster", args.config.display());
    };
    let beside = Beside::new(&settings)?;
    let pace = Pace { look: Duration::from_millis(args.look_ms) };
    tokio::select! {
        never = watch(&beside, pace) => match never {},
        _ = wait_for_stop() => Ok(()),
    }
}

async fn watch(beside: &Beside, pace: Pace) -> std::convert::Infallible {
    loop {
        match start(beside).await {
            Ok(watcher) => match watcher.run(pace).await {},
            Err(error) => tracing::warn!(error = format!("{error:#}"), "cannot watch yet; trying again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn start(beside: &Beside) -> anyhow::Result<Watcher<&Beside>> {
    let imds = Imds::from_env()?;
    let here = Here::read(&imds).await?;
    let cloud = Cloud::on_instance(&imds).await.context("the principal of this instance")?;
    Ok(Watcher::new(cloud, imds, beside, here))
}

impl Node for &Beside {
    async fn look(&self) -> Result<Look, String> {
        let node = self.node().await.map_err(told)?;
        Ok(match node.filter(|node| node.health != Health::Dead) {
            None => Look::Unknown,
            Some(node) => {
                let load = node.record.load;
                let left = node.drain.as_ref().map_or(0, |drain| drain.rooms_left);
                Look::Known {
                    draining: node.drain.is_some(),
                    rooms: load.rooms.max(left),
                    participants: load.clients,
                }
            }
        })
    }

    async fn drain(&self, deadline: Duration) -> Result<(), String> {
        Beside::drain(self, deadline).await.map_err(told)
    }

    async fn cancel(&self) -> Result<(), String> {
        self.cancel_drain().await.map_err(told)
    }
}

fn told(error: anyhow::Error) -> String {
    format!("{error:#}")
}
