//! `sala drain`: empties a node while people talk.

use std::time::Duration;

use anyhow::bail;
use axum::http::Method;
use cluster::Role;
use cluster::status::{ClusterStatus, DrainStatus};
use serde_json::{Value, json};

use super::cli::DrainArgs;
use super::masters::Masters;
use super::nodes::find;
use crate::config::cluster::Cluster;
use crate::node;

/// How often progress is asked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

pub(super) async fn run(masters: &Masters, cluster: &Cluster, args: &DrainArgs) -> anyhow::Result<()> {
    let node = match &args.node {
        Some(node) => node.clone(),
        None => node::node_id(cluster)?.0,
    };
    let status = masters.status().await?;
    let known = find(&status, &node)?;
    if !known.record.roles.contains(&Role::Media) {
        bail!("{node} is a master and has no rooms; it can simply be stopped, one master at a time");
    }
    let path = format!("/internal/drain/{node}");
    if args.status {
        println!("{}", progress(&node, known.drain.as_ref(), rooms_on(&status, &node)));
        return Ok(());
    }
    if args.cancel {
        masters.ask::<Value>(Method::DELETE, &path, None).await?;
        println!("{node} serves again");
        return Ok(());
    }
    let wish = json!({ "deadline_ms": args.deadline.as_millis() as u64, "by": "cli" });
    masters.ask::<Value>(Method::POST, &path, Some(wish)).await?;
    if args.no_wait {
        println!("{node} drains; `sala drain {node} --status` tells how far it is");
        return Ok(());
    }
    watch(masters, &node).await
}

/// Prints progress until the node is empty.
async fn watch(masters: &Masters, node: &str) -> anyhow::Result<()> {
    let mut shown = String::new();
    loop {
        let status = masters.status().await?;
        let known = find(&status, node)?;
        let left = rooms_on(&status, node);
        let line = progress(node, known.drain.as_ref(), left);
        if line != shown {
            println!("{line}");
            shown = line;
        }
        match &known.drain {
            Some(_) if left == 0 => return Ok(()),
            None if left > 0 => bail!("somebody has cancelled the drain of {node}"),
            None => return Ok(()),
            Some(_) => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

fn rooms_on(status: &ClusterStatus, node: &str) -> u32 {
    status.rooms.iter().filter(|room| room.node == node).count() as u32
}

fn progress(node: &str, drain: Option<&DrainStatus>, left: u32) -> String {
    match drain {
        None => format!("{node} does not drain; it has {left} rooms"),
        Some(_) if left == 0 => format!("{node} is empty; it can be stopped"),
        Some(drain) => format!("{node} drains: {left} of {} rooms left", drain.rooms_moved + left),
    }
}
