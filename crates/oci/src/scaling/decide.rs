//! Whether a media node can be spared, and which: the emptiest. Whatever is not known for certain means no.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::wire::NodeLoad;
use crate::Ocid;

/// After a removal the others must stay this far below the target: else the next peak brings the node back.
pub const HEADROOM: f64 = 0.8;

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    pub min_nodes: usize,
    /// Percent.
    pub target_cpu: f64,
    /// A node younger than that is still starting, and its CPU says nothing.
    pub grace: Duration,
}

/// An instance of the pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub id: Ocid,
    pub running: bool,
    pub created: SystemTime,
    /// It was chosen before, and its removal did not come to its end.
    pub tagged: bool,
}

/// What is known.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub now: SystemTime,
    /// The pool is neither growing nor shrinking.
    pub settled: bool,
    /// The size that the pool should have.
    pub size: usize,
    pub members: &'a [Member],
    /// Mean CPU of the last minutes, in percent.
    pub cpu_percent: &'a BTreeMap<Ocid, f64>,
    /// What the cluster says.
    pub nodes: &'a [NodeLoad],
    /// Why the masters need every node.
    pub hold: Option<&'a str>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The node to take out of the pool.
    pub remove: Option<Ocid>,
    /// Nodes that were chosen before and stay now.
    pub untag: Vec<Ocid>,
    /// One sentence.
    pub reason: String,
}

/// A member with its load. `node` is `None` for one that the cluster does not know.
struct Serving<'a> {
    member: &'a Member,
    node: Option<&'a NodeLoad>,
    /// Percent, the worse of what Oracle measured over minutes and what the node says now.
    cpu: f64,
}

/// Decides. `Err` in the inner function is why all nodes stay.
pub fn decide(policy: &Policy, facts: &Facts<'_>) -> Verdict {
    let (remove, reason) = match choose(policy, facts) {
        Ok((id, reason)) => (Some(id), reason),
        Err(reason) => (None, reason),
    };
    let tagged = facts.members.iter().filter(|member| member.tagged && Some(&member.id) != remove.as_ref());
    Verdict { untag: tagged.map(|member| member.id.clone()).collect(), remove, reason }
}

fn choose(policy: &Policy, facts: &Facts<'_>) -> Result<(Ocid, String), String> {
    if let Some(why) = facts.hold {
        return Err(format!("the masters need every node: {why}"));
    }
    if !facts.settled {
        return Err("the pool is changing its size".into());
    }
    if facts.members.len() != facts.size {
        return Err(format!("the pool has size {} and {} members", facts.size, facts.members.len()));
    }
    for member in facts.members {
        let age = facts.now.duration_since(member.created).unwrap_or_default();
        if !member.running {
            return Err(format!("{} is not running", member.id));
        }
        if age < policy.grace {
            return Err(format!(
                "{} is {} s old, {} s are the grace period",
                member.id,
                age.as_secs(),
                policy.grace.as_secs()
            ));
        }
    }
    let unnamed = facts.nodes.iter().filter(|node| node.instance_id.is_none() && !node.draining).count();
    if unnamed > 0 {
        return Err(format!(
            "{unnamed} media nodes do not say which instance they are; set cluster.instance_id on them"
        ));
    }
    let serving = serving(facts)?;
    if serving.len() <= policy.min_nodes {
        return Err(format!("{} nodes serve, {} are the minimum", serving.len(), policy.min_nodes));
    }
    let known = serving.iter().filter(|serving| serving.node.is_some()).count();
    if known == 0 {
        return Err("the cluster knows no node of the pool".into());
    }
    let total: f64 = serving.iter().filter(|serving| serving.node.is_some()).map(|s| s.cpu).sum();
    let mean = total / known as f64;
    if mean >= policy.target_cpu {
        return Err(format!("CPU is {mean:.0} % on average, the target is {:.0} %", policy.target_cpu));
    }
    let Some(victim) = serving.iter().min_by(|a, b| order(a).total_cmp(&order(b))) else {
        return Err("no node serves".into());
    };
    let left = known - usize::from(victim.node.is_some());
    let after = if left == 0 { f64::INFINITY } else { total / left as f64 };
    if after > policy.target_cpu * HEADROOM {
        return Err(format!(
            "without one of {known} nodes CPU would be {after:.0} % on average, {:.0} % is the most (target {:.0} %)",
            policy.target_cpu * HEADROOM,
            policy.target_cpu
        ));
    }
    Ok((victim.member.id.clone(), reason(victim, mean, policy.target_cpu)))
}

/// The members that count: those that the cluster does not empty already.
fn serving<'a>(facts: &Facts<'a>) -> Result<Vec<Serving<'a>>, String> {
    let mut serving = Vec::with_capacity(facts.members.len());
    for member in facts.members {
        let node = facts.nodes.iter().find(|node| node.instance_id.as_ref() == Some(&member.id));
        if node.is_some_and(|node| node.draining) {
            continue;
        }
        let measured = facts.cpu_percent.get(&member.id).copied().filter(|percent| percent.is_finite());
        let Some(measured) = measured else {
            return Err(format!("Monitoring has no CPU of {} for the last minutes", member.id));
        };
        let cpu = node.map_or(measured, |node| measured.max(node.cpu * 100.0));
        serving.push(Serving { member, node, cpu });
    }
    Ok(serving)
}

/// The first is the one to go: one whose removal began before, one that serves nobody because the cluster does not
/// know it, then fewest participants, fewest rooms, least CPU, youngest.
#[derive(Debug, PartialEq)]
struct Order<'a> {
    exact: (bool, bool, u32, u32),
    cpu: f64,
    last: (Reverse<SystemTime>, &'a Ocid),
}

impl Order<'_> {
    fn total_cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.exact
            .cmp(&other.exact)
            .then(self.cpu.total_cmp(&other.cpu))
            .then_with(|| self.last.cmp(&other.last))
    }
}

fn order<'a>(serving: &Serving<'a>) -> Order<'a> {
    let (participants, rooms) = serving.node.map_or((0, 0), |node| (node.participants, node.rooms));
    let known = serving.node.is_some();
    Order {
        exact: (!serving.member.tagged, known, participants, rooms),
        cpu: serving.cpu,
        last: (Reverse(serving.member.created), &serving.member.id),
    }
}

fn reason(victim: &Serving<'_>, mean: f64, target: f64) -> String {
    let why = match (victim.member.tagged, victim.node) {
        (true, _) => "its removal had begun before".to_owned(),
        (false, None) => "the cluster does not know it".to_owned(),
        (false, Some(node)) => {
            format!("it is the emptiest with {} participants in {} rooms", node.participants, node.rooms)
        }
    };
    format!("CPU is {mean:.0} % on average, the target is {target:.0} %, and {why}")
}

#[cfg(test)]
mod tests;
