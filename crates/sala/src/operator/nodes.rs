//! `sala nodes`: who is there, how busy, and how far drains are.

use cluster::status::{ClusterStatus, Health, NodeStatus};
use cluster::{NodeState, Role};

use super::masters::Masters;
use crate::admin::print_rows;

pub(super) async fn show(masters: &Masters, json: bool) -> anyhow::Result<()> {
    let status = masters.status().await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(());
    }
    let store = if status.store_quorum { "the store has a quorum" } else { "THE STORE HAS NO QUORUM" };
    println!(
        "cluster {}, {} rooms, {store}; as {} sees it\n",
        status.cluster, status.rooms_total, status.node
    );
    print_rows(
        &["NODE", "ROLES", "ADDRESS", "VERSION", "STATE", "CPU", "ROOMS", "CLIENTS", "PACKETS/S"],
        status.nodes.iter().map(row),
    );
    Ok(())
}

fn row(node: &NodeStatus) -> Vec<String> {
    let record = &node.record;
    let roles = record.roles.iter().map(|role| match role {
        Role::Master => "master",
        Role::Media => "media",
    });
    let load = &record.load;
    vec![
        record.id.to_string(),
        roles.collect::<Vec<_>>().join(","),
        record.internal_address.ip().to_string(),
        record.version.clone(),
        state(node),
        format!("{:.0}%", load.cpu * 100.0),
        load.rooms.to_string(),
        load.clients.to_string(),
        load.packets_per_s.to_string(),
    ]
}

fn state(node: &NodeStatus) -> String {
    match (node.health, &node.drain, node.record.state) {
        (Health::Dead, ..) => "dead".into(),
        (Health::Suspect, ..) => "silent".into(),
        (_, Some(drain), _) => {
            let total = drain.rooms_moved + drain.rooms_left;
            format!("draining, {}/{total} rooms moved", drain.rooms_moved)
        }
        (_, None, NodeState::Draining) => "draining".into(),
        (_, None, NodeState::Serving) => "serving".into(),
    }
}

/// The node of that name.
///
/// # Errors
/// When there is none; with the names that are.
pub(super) fn find<'a>(status: &'a ClusterStatus, node: &str) -> anyhow::Result<&'a NodeStatus> {
    status.nodes.iter().find(|known| known.record.id.0 == node).ok_or_else(|| {
        let known: Vec<_> = status.nodes.iter().map(|known| known.record.id.0.as_str()).collect();
        anyhow::anyhow!("the cluster has no node `{node}`; it has {}", known.join(", "))
    })
}
