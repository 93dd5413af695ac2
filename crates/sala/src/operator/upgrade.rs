//! `sala upgrade-plan`: in which order the nodes get a new binary so that nobody in a meeting notices, and what
//! speaks against it now.

use std::fmt;

use cluster::Role;
use cluster::status::{ClusterStatus, Health, NodeStatus};

/// Nodes in the order in which they are to be restarted.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Plan {
    to: String,
    current: usize,
    masters: Vec<String>,
    media: Vec<(String, u32)>,
    /// Why not now.
    pub(super) obstacles: Vec<String>,
}

/// What is to be done until all nodes have version `to`.
pub(super) fn plan(status: &ClusterStatus, to: &str) -> Plan {
    let has = |node: &&NodeStatus, role| node.record.roles.contains(&role);
    let is_old = |node: &&NodeStatus| node.record.version != to;
    let name = |node: &NodeStatus| node.record.id.to_string();
    // Who plays both roles has rooms to move: it goes with the media nodes.
    let masters = status.nodes.iter().filter(|node| has(node, Role::Master) && !has(node, Role::Media));
    let media = status.nodes.iter().filter(|node| has(node, Role::Media));
    let mut old_media: Vec<_> =
        media.clone().filter(is_old).map(|node| (name(node), node.record.load.rooms)).collect();
    old_media.sort_by(|one, other| (one.1, &one.0).cmp(&(other.1, &other.0)));

    let mut obstacles = Vec::new();
    if !status.store_quorum {
        obstacles.push("the store has no quorum: bring its members back first".to_owned());
    }
    for node in &status.nodes {
        if node.health != Health::Alive {
            obstacles.push(format!("{} does not answer: bring it back, or stop it for good", name(node)));
        } else if let Some(drain) = &node.drain {
            let by = &drain.by;
            obstacles.push(format!(
                "{} is draining (by {by}): wait, or `sala drain {} --cancel`",
                name(node),
                name(node)
            ));
        }
    }
    if !old_media.is_empty() && media.clone().count() < 2 {
        obstacles
            .push("there is only one media node, its rooms have nowhere to go: add one first".to_owned());
    }
    Plan {
        to: to.to_owned(),
        current: status.nodes.iter().filter(|node| !is_old(node)).count(),
        masters: masters.filter(is_old).map(name).collect(),
        media: old_media,
        obstacles,
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { to, current, masters, media, obstacles } = self;
        for obstacle in obstacles {
            writeln!(f, "! {obstacle}")?;
        }
        if masters.is_empty() && media.is_empty() {
            return writeln!(f, "All {current} nodes have version {to}.");
        }
        writeln!(
            f,
            "{} of {} nodes get version {to}:\n",
            masters.len() + media.len(),
            current + masters.len() + media.len()
        )?;
        let mut step = 0;
        for node in masters {
            step += 1;
            writeln!(
                f,
                "{step:>2}. {node} (master): install {to}, `systemctl restart sala`, wait until `sala nodes` shows it with {to}"
            )?;
        }
        for (node, rooms) in media {
            step += 1;
            writeln!(
                f,
                "{step:>2}. {node} (media, {rooms} rooms): install {to}, `systemctl restart sala` (its rooms move first), wait \
                 until `sala nodes` shows it serving with {to}"
            )?;
        }
        writeln!(f, "\nOne at a time. Old and new nodes work side by side; nobody in a meeting notices.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(nodes: &[(&str, &str, &str, u32)]) -> ClusterStatus {
        let nodes: Vec<_> = nodes
            .iter()
            .map(|(id, role, version, rooms)| {
                serde_json::json!({
                    "id": id, "incarnation": 1, "roles": [role], "internal_address": "127.0.0.1:7900", "cpus": 2,
                    "version": version, "started_at_ms": 0,
                    "load": { "cpu": 0.0, "sysload": 0.0, "rooms": rooms, "clients": 0, "tracks_in": 0,
                        "tracks_out": 0, "packets_per_s": 0, "bytes_per_s": 0 },
                })
            })
            .collect();
        serde_json::from_value(serde_json::json!({ "store_quorum": true, "nodes": nodes })).unwrap()
    }

    #[test]
    fn masters_come_first_and_then_the_media_nodes_with_the_fewest_rooms() {
        let status = status(&[
            ("a", "media", "1.0", 9),
            ("b", "media", "1.0", 2),
            ("c", "media", "1.1", 0),
            ("m1", "master", "1.0", 0),
            ("m2", "master", "1.1", 0),
        ]);
        let plan = plan(&status, "1.1");
        assert_eq!(plan.masters, ["m1"]);
        assert_eq!(plan.media, [("b".to_owned(), 2), ("a".to_owned(), 9)]);
        assert!(plan.obstacles.is_empty());
        let text = plan.to_string();
        assert!(text.contains("3 of 5 nodes") && text.contains("1. m1") && text.contains("3. a"), "{text}");
    }

    #[test]
    fn a_cluster_that_is_not_whole_is_not_upgraded() {
        let mut status = status(&[("a", "media", "1.0", 1), ("m1", "master", "1.0", 0)]);
        status.store_quorum = false;
        status.nodes[1].health = Health::Suspect;
        let obstacles = plan(&status, "1.1").obstacles.join("\n");
        for words in ["no quorum", "m1 does not answer", "only one media node"] {
            assert!(obstacles.contains(words), "{obstacles}");
        }
    }

    #[test]
    fn nothing_is_to_be_done_when_all_have_the_version() {
        let plan = plan(&status(&[("a", "media", "1.1", 1), ("b", "media", "1.1", 1)]), "1.1");
        assert_eq!(plan.to_string(), "All 2 nodes have version 1.1.\n");
    }
}
