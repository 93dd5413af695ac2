//! More nodes before anybody waits: a master sees the load of all media nodes each second, where Oracle's rule sees a
//! mean of minutes. When they are too busy, or rooms were refused, it raises the pool's size, never above the maximum.
//! Nodes that are still starting count as capacity to come, so need is met once, whoever meets it.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use super::wire::NodeLoad;
use crate::Ocid;

/// CPU is a mean of this: shorter than a peak of joining, far shorter than what a node takes to start.
pub const WINDOW: Duration = Duration::from_secs(10);

/// Seconds of the window that must have been seen.
const MIN_SAMPLES: usize = 8;

/// After that a node that starts counts no more: it will not come.
pub const STARTING: Duration = Duration::from_secs(600);

/// So much of the target is aimed at: room for what comes while the nodes start.
const AIM: f64 = 0.85;

/// As long as rooms were refused this long ago, there is need.
const REFUSED: Duration = Duration::from_secs(10);

/// After need, no node is spared for this long.
pub const HOLD: Duration = Duration::from_secs(600);

/// Before a master that had its turn, or found nothing to do, looks again.
const AGAIN: Duration = Duration::from_secs(15);

/// Why there should be more nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum Need {
    /// Mean CPU in percent.
    Busy(f64),
    /// Rooms found no node.
    Refused,
}

impl Need {
    pub fn text(&self) -> String {
        match self {
            Need::Busy(cpu) => {
                format!("CPU of the media nodes was {cpu:.0} % over {} s", WINDOW.as_secs())
            }
            Need::Refused => "rooms found no media node that could take them".into(),
        }
    }
}

/// A second of the cluster.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    /// Sum over nodes that take rooms, of shares of a whole node.
    cpu: f64,
    nodes: usize,
}

/// Watches the load of the cluster.
#[derive(Debug)]
pub struct LoadWatch {
    samples: VecDeque<Sample>,
    refusals: Option<u64>,
    refused_at: Option<Instant>,
    needed_at: Option<Instant>,
    rest_until: Option<Instant>,
}

impl LoadWatch {
    pub fn new() -> LoadWatch {
        LoadWatch {
            samples: VecDeque::new(),
            refusals: None,
            refused_at: None,
            needed_at: None,
            rest_until: None,
        }
    }

    /// The registry at `now`, and how many rooms this master has refused since its start. Once a second.
    pub fn observe(&mut self, now: Instant, nodes: &[NodeLoad], refusals: u64) {
        let serving = || nodes.iter().filter(|node| !node.draining);
        let cpu = serving().map(|node| node.cpu.clamp(0.0, 1.0)).sum();
        self.samples.push_back(Sample { at: now, cpu, nodes: serving().count() });
        while self.samples.front().is_some_and(|first| now.saturating_duration_since(first.at) >= WINDOW) {
            self.samples.pop_front();
        }
        if self.refusals.replace(refusals).is_some_and(|before| refusals > before) {
            self.refused_at = Some(now);
        }
    }

    /// The registry cannot be trusted now.
    pub fn forget(&mut self) {
        self.samples.clear();
    }

    /// Whether there should be more nodes than serve now.
    pub fn need(&mut self, now: Instant, target_cpu: f64) -> Option<Need> {
        let refused = self.refused_at.is_some_and(|at| now.saturating_duration_since(at) < REFUSED);
        let busy = self.cpu().filter(|cpu| *cpu > target_cpu).map(Need::Busy);
        let need = if refused { Some(Need::Refused) } else { busy };
        if need.is_some() {
            self.needed_at = Some(now);
        }
        need
    }

    /// Whether this master should try to act on a need now, rather than rest.
    pub fn may_act(&self, now: Instant) -> bool {
        self.rest_until.is_none_or(|until| now >= until)
    }

    /// It has acted, or another has.
    pub fn rest(&mut self, now: Instant) {
        self.rest_until = Some(now + AGAIN);
    }

    /// Why no node can be spared now.
    pub fn hold(&self, now: Instant, hold: Duration) -> Option<String> {
        let since = now.saturating_duration_since(self.needed_at?);
        (since < hold).then(|| format!("there was need for more {} s ago", since.as_secs()))
    }

    /// Mean CPU of nodes that take rooms over the window, in percent; `None`: not seen for long enough.
    pub fn cpu(&self) -> Option<f64> {
        let nodes: usize = self.samples.iter().map(|sample| sample.nodes).sum();
        let cpu: f64 = self.samples.iter().map(|sample| sample.cpu).sum();
        (self.samples.len() >= MIN_SAMPLES && nodes > 0).then(|| 100.0 * cpu / nodes as f64)
    }

    /// How many nodes the load of the window asks for.
    fn wanted(&self, need: &Need, target_cpu: f64) -> usize {
        let serving = self.samples.back().map_or(0, |sample| sample.nodes);
        let load: f64 = self.samples.iter().map(|sample| sample.cpu).sum();
        let load = load / self.samples.len().max(1) as f64;
        let by_load = (100.0 * load / (target_cpu.max(1.0) * AIM)).ceil() as usize;
        match need {
            // At most twice as many at once: a load that is measured at 100 % may be anything.
            Need::Busy(_) => by_load.clamp(serving + 1, 2 * serving.max(1)),
            Need::Refused => by_load.clamp(serving + 1, (2 * serving).max(serving + 1)),
        }
    }

    /// The size that the pool should have; `None`: it has enough, with those that are starting.
    pub fn plan(
        &self,
        need: &Need,
        target_cpu: f64,
        max: usize,
        pool: &Pool<'_>,
        nodes: &[NodeLoad],
    ) -> Plan {
        let known =
            |member: &PoolMember| nodes.iter().find(|node| node.instance_id.as_ref() == Some(&member.id));
        let starting = pool.members.iter().filter(|member| {
            let age = pool.now.duration_since(member.created).unwrap_or_default();
            known(member).is_none() && age < STARTING
        });
        // The pool says its new size before it lists the new instances.
        let coming = starting.count() + pool.size.saturating_sub(pool.members.len());
        let serving = nodes.iter().filter(|node| !node.draining).count();
        let wanted = self.wanted(need, target_cpu);
        let more = wanted.saturating_sub(serving + coming);
        match (more, pool.size) {
            (0, _) => Plan::Coming { starting: coming },
            (_, size) if size >= max => Plan::AtMaximum,
            (more, size) => Plan::Raise { from: size, to: (size + more).min(max) },
        }
    }
}

impl Default for LoadWatch {
    fn default() -> Self {
        LoadWatch::new()
    }
}

/// The pool as the cloud shows it.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    pub now: SystemTime,
    /// The size that it should have.
    pub size: usize,
    pub members: &'a [PoolMember],
}

#[derive(Clone, Debug, PartialEq)]
pub struct PoolMember {
    pub id: Ocid,
    pub created: SystemTime,
}

/// What to do about a need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Raise {
        from: usize,
        to: usize,
    },
    /// Enough nodes are starting.
    Coming {
        starting: usize,
    },
    /// The operator wants no more.
    AtMaximum,
}

#[cfg(test)]
mod tests;
