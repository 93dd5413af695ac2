//! A master's part in scaling, running: it watches the registry each second, raises the pool's size when there is
//! need, and takes its turn at calling the function and at looking for orphans.

mod metrics;
mod settings;
mod turn;
mod upwards;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::caller::Caller;
use super::lock::client::LockObject;
use super::lock::{SCALE_IN, SCALE_OUT};
use super::orphans::OrphanWatch;
use super::scale_out::{LoadWatch, Need};
use super::wire::NodeLoad;
use crate::{Cloud, Imds, Ocid};

pub use settings::{Pace, Place, PlaceError, Wishes};

/// How often the registry is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often the tags are read: they change by `terraform apply`.
const READ_TAGS: Duration = Duration::from_secs(15);

/// A request about `scalein.lock` may take that long.
const LOCK_WITHIN: Duration = Duration::from_secs(10);

/// A request about `scaleout.lock`: its lease is 12 s.
const SCALE_OUT_LOCK_WITHIN: Duration = Duration::from_secs(4);

/// Weight of the newest second in a node's CPU: about ten seconds count.
const NEWEST: f64 = 0.2;

/// What a master knows of its cluster.
pub trait Cluster: Send + Sync + 'static {
    /// All media nodes that are alive; `None`: it is not known for certain now.
    fn media_nodes(&self) -> Option<Vec<NodeLoad>>;

    /// Rooms that found no node at this master since its start.
    fn refused_rooms(&self) -> u64;

    /// Whether this master is the first of those that are alive: one is enough to post what all see.
    fn is_first(&self) -> bool;

    /// Begins to empty the node on this instance.
    fn drain(&self, instance: &Ocid) -> impl Future<Output = Result<(), String>> + Send;
}

/// See the module.
pub struct Masters<C> {
    cloud: Cloud,
    imds: Imds,
    cluster: C,
    /// Name of this master in locks.
    me: String,
    place: Place,
    pace: Pace,
    in_lock: LockObject,
    out_lock: LockObject,
    seen: Mutex<Seen>,
    wishes: watch::Sender<Option<Wishes>>,
    caller: Caller,
}

/// What the registry showed.
struct Seen {
    load: LoadWatch,
    orphans: OrphanWatch,
    need: Option<Need>,
    /// CPU of each instance over the last seconds.
    cpu: BTreeMap<Ocid, f64>,
    /// Of this second.
    nodes: Option<Vec<NodeLoad>>,
}

impl<C: Cluster> Masters<C> {
    pub fn new(cloud: Cloud, imds: Imds, cluster: C, me: String, place: Place, pace: Pace) -> Masters<C> {
        let now = Instant::now();
        let lock = |name, within| LockObject::new(&cloud, place.bucket.clone(), name, within);
        Masters {
            in_lock: lock(SCALE_IN, LOCK_WITHIN),
            out_lock: lock(SCALE_OUT, SCALE_OUT_LOCK_WITHIN),
            seen: Mutex::new(Seen::new(now, pace.orphan_after)),
            wishes: watch::Sender::new(None),
            caller: Caller::new(cloud.clone(), place.compartment.clone(), place.stack.clone()),
            cloud,
            imds,
            cluster,
            me,
            place,
            pace,
        }
    }

    /// Works until it is dropped.
    pub async fn run(self) -> Infallible {
        tracing::info!(
            stack = self.place.stack,
            cycle_s = self.pace.cycle.as_secs(),
            "this master takes its turn at scaling the media nodes"
        );
        tokio::select! {
            never = self.look() => never,
            never = self.read_tags() => never,
            never = self.scale_out() => never,
            never = self.take_turns() => never,
            never = self.post_load() => never,
        }
    }

    async fn look(&self) -> Infallible {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let (nodes, refused) = (self.cluster.media_nodes(), self.cluster.refused_rooms());
            let target = self.wishes.borrow().map(|wishes| wishes.target_cpu);
            self.seen().observe(Instant::now(), nodes, refused, target);
        }
    }

    async fn read_tags(&self) -> Infallible {
        loop {
            match self.imds.freeform_tags().await {
                Ok(tags) => drop(self.wishes.send_replace(Some(Wishes::of(&tags)))),
                Err(error) => tracing::warn!(%error, "the tags of this instance cannot be read"),
            }
            tokio::time::sleep(READ_TAGS).await;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

impl Seen {
    fn new(now: Instant, orphan_after: Duration) -> Seen {
        let orphans = OrphanWatch::new(now, orphan_after);
        Seen { load: LoadWatch::new(), orphans, need: None, cpu: BTreeMap::new(), nodes: None }
    }

    fn observe(&mut self, now: Instant, nodes: Option<Vec<NodeLoad>>, refused: u64, target: Option<f64>) {
        self.orphans.observe(now, nodes.as_deref());
        match &nodes {
            None => self.load.forget(),
            Some(nodes) => {
                self.load.observe(now, nodes, refused);
                self.smooth(nodes);
            }
        }
        self.need = target.and_then(|target| self.load.need(now, target));
        self.nodes = nodes;
    }

    fn smooth(&mut self, nodes: &[NodeLoad]) {
        let before = std::mem::take(&mut self.cpu);
        let named = nodes.iter().filter_map(|node| Some((node.instance_id.clone()?, node.cpu)));
        self.cpu = named
            .map(|(id, cpu)| {
                let mean = before.get(&id).map_or(cpu, |mean| mean + NEWEST * (cpu - mean));
                (id, mean)
            })
            .collect();
    }

    /// The nodes with their CPU of the last seconds.
    fn smoothed(&self) -> Option<Vec<NodeLoad>> {
        let mut nodes = self.nodes.clone()?;
        for node in &mut nodes {
            let mean = node.instance_id.as_ref().and_then(|id| self.cpu.get(id));
            node.cpu = mean.copied().unwrap_or(node.cpu).clamp(0.0, 1.0);
        }
        Some(nodes)
    }
}

/// No code panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(cpu: f64) -> NodeLoad {
        let instance_id = Some(Ocid::new("ocid1.instance.a"));
        NodeLoad { instance_id, rooms: 1, participants: 3, cpu, draining: false }
    }

    #[test]
    fn a_busy_second_hardly_counts_for_scale_in_and_does_not_count_as_need() {
        let start = Instant::now();
        let mut seen = Seen::new(start, Duration::from_secs(300));
        for second in 0..60 {
            let cpu = if second == 59 { 1.0 } else { 0.1 };
            seen.observe(start + Duration::from_secs(second), Some(vec![node(cpu)]), 0, Some(50.0));
        }
        assert_eq!(seen.need, None);
        let cpu = seen.smoothed().unwrap()[0].cpu;
        assert!((0.25..0.3).contains(&cpu), "{cpu}");
    }

    #[test]
    fn without_a_registry_that_is_certain_there_is_no_need_and_nothing_to_tell() {
        let start = Instant::now();
        let mut seen = Seen::new(start, Duration::from_secs(300));
        for second in 0..20 {
            seen.observe(start + Duration::from_secs(second), Some(vec![node(0.9)]), 0, Some(50.0));
        }
        assert!(seen.need.is_some());
        seen.observe(start + Duration::from_secs(20), None, 0, Some(50.0));
        assert_eq!((seen.need.clone(), seen.smoothed()), (None, None));
        // What was seen before does not count with what is seen after.
        seen.observe(start + Duration::from_secs(21), Some(vec![node(0.9)]), 0, Some(50.0));
        assert_eq!(seen.need, None);
    }
}
