//! What operators do on a machine of a cluster: see its nodes, empty one, plan an upgrade. The cluster and the way
//! into it come from the node's own `sala.yaml`.

mod cli;
mod drain;
mod masters;
mod nodes;
mod upgrade;

use std::path::Path;

use anyhow::Context;

use crate::config::{self, cluster::Cluster};

pub(crate) use cli::{DrainArgs, NodesArgs, UpgradePlanArgs};

use masters::Masters;

/// `sala nodes`.
pub(crate) fn nodes(args: NodesArgs) -> anyhow::Result<()> {
    run(&args.cluster.config, async |masters, _| nodes::show(&masters, args.json).await)
}

/// `sala drain`.
pub(crate) fn drain(args: DrainArgs) -> anyhow::Result<()> {
    run(&args.cluster.config, async |masters, cluster| drain::run(&masters, &cluster, &args).await)
}

/// `sala upgrade-plan`.
pub(crate) fn upgrade_plan(args: UpgradePlanArgs) -> anyhow::Result<()> {
    run(&args.cluster.config, async |masters, _| {
        let plan = upgrade::plan(&masters.status().await?, &args.to);
        print!("{plan}");
        anyhow::ensure!(plan.obstacles.is_empty(), "not now: first mend what is said above");
        Ok(())
    })
}

fn run(file: &Path, does: impl AsyncFnOnce(Masters, Cluster) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let cluster = config::load(file)?
        .cluster
        .with_context(|| format!("{} has no section `cluster`: this server stands alone", file.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { does(Masters::find(&cluster).await?, cluster).await })
}
