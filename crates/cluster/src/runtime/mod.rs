//! Drives [`crate::control`] with the real world: the store, the links to other processes, the clock. Start it
//! with [`Runtime::start`]; a gateway then asks [`Master`], a media engine obeys [`Node`]. Dropping the
//! [`Runtime`] ends all its tasks.

mod bootstrap;
mod core;
mod director;
mod gate;
mod handles;
mod load;
mod transport;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use store::Store;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use bootstrap::{StartError, claim_store};
pub use gate::ServeGate;
pub use handles::{Master, Node};
pub use load::LoadMeter;
pub use transport::{Arrival, LinkTransport, Transport};

use self::core::Core;
use crate::control::{Input, Member, MemberConfig};
use crate::link::LinkEvent;
use crate::record::{Load, Role};

#[cfg(test)]
mod tests;

/// How often the load is measured.
const LOAD_EVERY: Duration = Duration::from_secs(1);

/// How long leaving the registry may take; the lease ends by itself later.
const LEAVE_DEADLINE: Duration = Duration::from_millis(500);

/// What the engine says of its load, without CPU and load average.
pub type LoadSource = Box<dyn Fn() -> Load + Send + Sync>;

/// A process's part in its cluster, running.
pub struct Runtime {
    core: Arc<Core>,
    master: Option<Master>,
    node: Option<Node>,
    _tasks: JoinSet<()>,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("master", &self.master.is_some()).finish_non_exhaustive()
    }
}

impl Runtime {
    /// Checks that the store belongs to `cluster_id`, then registers this process and begins to take part.
    /// Within a tokio runtime.
    pub async fn start(
        cluster_id: &str,
        config: MemberConfig,
        store: Arc<dyn Store>,
        transport: Arc<dyn Transport>,
        load: LoadSource,
    ) -> Result<Runtime, StartError> {
        claim_store(&*store, cluster_id).await?;
        let (me, roles) = (config.record.id.clone(), config.record.roles.clone());
        let is_master = roles.contains(&Role::Master);
        let member = Member::new(Instant::now(), config);
        let core = Core::new(member, me, is_master, store, transport);
        let mut tasks = JoinSet::new();
        core.start(&mut tasks);
        let measured = core.clone();
        tasks.spawn(async move {
            let mut meter = LoadMeter::default();
            let mut interval = tokio::time::interval(LOAD_EVERY);
            loop {
                interval.tick().await;
                let mut figures = load();
                meter.measure(&mut figures);
                measured.input(Input::Load(figures));
            }
        });
        Ok(Runtime {
            master: is_master.then(|| Master::new(core.clone())),
            node: roles.contains(&Role::Media).then(|| Node::new(core.clone())),
            core,
            _tasks: tasks,
        })
    }

    /// Takes what arrives over links, until they end.
    pub fn follow_links(&mut self, transport: Arc<LinkTransport>, mut events: mpsc::Receiver<LinkEvent>) {
        let core = self.core.clone();
        self._tasks.spawn(async move {
            while let Some(event) = events.recv().await {
                if let Some(arrival) = transport.event(event) {
                    core.arrived(arrival);
                }
            }
        });
    }

    /// Something that a transport delivered.
    pub fn arrived(&self, arrival: Arrival) {
        self.core.arrived(arrival);
    }

    /// This process as a master, if it is one.
    pub fn master(&self) -> Option<Master> {
        self.master.clone()
    }

    /// This process as a media node, if it is one.
    pub fn node(&self) -> Option<Node> {
        self.node.clone()
    }

    /// Waits for something that this process cannot go on with; says what, and the remedy.
    pub async fn failed(&self) -> String {
        let mut fatal = self.core.fatal.subscribe();
        let failed = fatal.wait_for(Option::is_some).await.map(|reason| reason.clone());
        match failed {
            Ok(Some(reason)) => reason,
            _ => std::future::pending().await,
        }
    }

    /// Leaves the registry, so that others need not find out. Rooms still held are dropped: drain first.
    pub async fn leave(self) {
        self.core.input(Input::Leave);
        let gone = async {
            loop {
                let changed = self.core.changed.notified();
                if !self.core.with(Member::is_in_view) {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(LEAVE_DEADLINE, gone).await;
    }
}

/// No code panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
