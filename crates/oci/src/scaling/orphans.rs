//! Orphans: media instances that are out of the pool and that nobody will end, because the node that should have is
//! dead, or the function that it would ask is gone. A master watches its registry for them all the time, and asks the cloud when it holds the lock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::wire::NodeLoad;
use crate::Ocid;

/// How long a node must be empty, or unknown, until it is held for one that nobody ends: drained nodes end within
/// seconds, and one that restarts comes back within a minute or two.
pub const ORPHAN_AFTER: Duration = Duration::from_secs(300);

/// Instances that are remembered: far above what a stack has.
const MAX_REMEMBERED: usize = 2_000;

/// An instance of the stack with role `media`, as the cloud lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub id: Ocid,
    pub in_pool: bool,
    /// It has ended, or is about to.
    pub gone: bool,
    pub tagged: bool,
    pub created: SystemTime,
}

/// What to do about an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Find {
    /// End it.
    Orphan { id: Ocid, why: String },
    /// It is out of the pool and still a node that takes rooms, as when somebody detached it by hand: empty it.
    Drain { id: Ocid },
}

/// See the module.
#[derive(Debug)]
pub struct OrphanWatch {
    /// Nobody was seen before that.
    since: Instant,
    observed_at: Instant,
    after: Duration,
    seen: BTreeMap<Ocid, Seen>,
}

#[derive(Debug)]
struct Seen {
    /// When the registry had it last.
    known_at: Instant,
    /// When it was last seen with a room or a participant, or not draining.
    needed_at: Instant,
    draining: bool,
}

impl OrphanWatch {
    pub fn new(now: Instant, after: Duration) -> OrphanWatch {
        OrphanWatch { since: now, observed_at: now, after, seen: BTreeMap::new() }
    }

    /// The registry at `now`; `None`: it is not known for certain, as while the store does not answer. Then time does
    /// not count.
    pub fn observe(&mut self, now: Instant, nodes: Option<&[NodeLoad]>) {
        self.observed_at = now;
        let Some(nodes) = nodes else {
            self.since = now;
            for seen in self.seen.values_mut() {
                (seen.known_at, seen.needed_at) = (now, now);
            }
            return;
        };
        for node in nodes {
            let Some(id) = &node.instance_id else { continue };
            if self.seen.len() >= MAX_REMEMBERED && !self.seen.contains_key(id) {
                self.forget(now);
            }
            let needed = node.rooms > 0 || node.participants > 0 || !node.draining;
            let seen = self.seen.entry(id.clone()).or_insert(Seen {
                known_at: now,
                needed_at: now,
                draining: node.draining,
            });
            seen.known_at = now;
            seen.draining = node.draining;
            if needed {
                seen.needed_at = now;
            }
        }
        if self.seen.len() > MAX_REMEMBERED / 2 {
            self.forget(now);
        }
    }

    /// Those unknown for long: that they are unknown is said by their absence, too.
    fn forget(&mut self, now: Instant) {
        let after = self.after;
        self.seen.retain(|_, seen| now.saturating_duration_since(seen.known_at) < after);
    }

    /// Judges what the cloud lists. `settled`: the list of the pool's members is complete.
    pub fn judge(
        &self,
        now: Instant,
        time: SystemTime,
        settled: bool,
        grace: Duration,
        listed: &[Listed],
    ) -> Vec<Find> {
        if !settled {
            return Vec::new();
        }
        listed.iter().filter_map(|instance| self.judge_one(now, time, grace, instance)).collect()
    }

    fn judge_one(&self, now: Instant, time: SystemTime, grace: Duration, instance: &Listed) -> Option<Find> {
        let young = time.duration_since(instance.created).unwrap_or_default() < grace;
        if instance.in_pool || instance.gone || (young && !instance.tagged) {
            return None;
        }
        let id = instance.id.clone();
        let long = |since: Instant| now.saturating_duration_since(since) >= self.after;
        let minutes = self.after.as_secs_f64() / 60.0;
        match self.seen.get(&id) {
            None => long(self.since).then(|| Find::Orphan {
                id,
                why: format!("it is out of the pool and the cluster does not know it for {minutes:.0} min"),
            }),
            Some(seen) if long(seen.known_at) => Some(Find::Orphan {
                id,
                why: format!("it is out of the pool and left the cluster more than {minutes:.0} min ago"),
            }),
            Some(seen) if seen.known_at < self.observed_at => None,
            Some(seen) if !seen.draining => Some(Find::Drain { id }),
            Some(seen) => long(seen.needed_at).then(|| Find::Orphan {
                id,
                why: format!(
                    "it is out of the pool and drained, and did not end itself for {minutes:.0} min"
                ),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
