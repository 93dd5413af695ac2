//! Webhooks: what happens in rooms, told to the application's server, signed as LiveKit signs it.
//!
//! An event goes from the room into a bounded queue, from there into the store ([`outbox`]), and from the store
//! to each URL ([`worker`], [`deliver`]) in the order of its room, until it is accepted or too old. The store
//! remembers what is not delivered: when a node dies, another one claims its rooms and goes on. A receiver may
//! so see an event twice, and knows it by its id.

mod config;
mod deliver;
mod event;
mod outbox;
mod record;
mod view;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub use config::{ConfigError, Retry, WebhookConfig};
use livekit_protocol::WebhookEvent;
use store::Store;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::deliver::Sender;
use crate::outbox::{Counters, Outbox, QUEUE, Told};
use crate::view::View;
use crate::worker::Worker;

/// Running webhooks of one process. Dropping it ends them; what is in the store stays there.
pub struct Webhooks {
    config: WebhookConfig,
    queue: mpsc::Sender<Told>,
    counters: Arc<Counters>,
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

/// Numbers since the start, for logs and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WebhookStats {
    /// Events of the whole cluster that wait in the store.
    pub pending: usize,
    /// Events of this process that a receiver accepted, once for each URL.
    pub delivered: u64,
    /// Events that a receiver did not accept in time, once for each URL.
    pub given_up: u64,
    /// Events that came faster than they could be stored.
    pub lost: u64,
}

impl Webhooks {
    /// Starts the tasks; must run inside a tokio runtime. `node` is this process's stable name: after a restart
    /// it takes up at once what it left.
    pub fn start(config: WebhookConfig, store: Arc<dyn Store>, node: &str) -> Result<Webhooks, ConfigError> {
        let (uris, keys) = config.check()?;
        let (queue, told) = mpsc::channel(QUEUE);
        let counters = Arc::new(Counters::default());
        let outbox =
            Outbox { store: Arc::clone(&store), node: node.to_owned(), counters: Arc::clone(&counters) };
        let worker = Worker {
            store,
            node: node.to_owned(),
            view: View::new(node.to_owned(), uris.len()),
            sender: Arc::new(Sender::new(uris, keys, config.retry)?),
            counters: Arc::clone(&counters),
            outbox: tokio::spawn(outbox.run(told)),
            deliveries: JoinSet::new(),
            watch: None,
            lease: None,
            looked_last: false,
            done: Vec::new(),
        };
        let (stop, stopped) = watch::channel(None);
        let task = tokio::spawn(worker.run(stopped));
        Ok(Webhooks { config, queue, counters, stop, task })
    }

    /// Tells an event of a room (or of what else orders its events, such as an egress). Never waits: an event
    /// that finds the queue full is lost and counted. Id and time are filled in if they are not set.
    pub fn notify(&self, room: &str, event: WebhookEvent) {
        if self.config.urls.is_empty() || !self.config.wants(&event.event) {
            return;
        }
        if self.queue.try_send(Told { room: room.to_owned(), event }).is_err() {
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn stats(&self) -> WebhookStats {
        WebhookStats {
            pending: self.counters.pending.load(Ordering::Relaxed),
            delivered: self.counters.delivered.load(Ordering::Relaxed),
            given_up: self.counters.given_up.load(Ordering::Relaxed),
            lost: self.counters.lost.load(Ordering::Relaxed),
        }
    }

    /// Delivers what this node has to deliver, for `within` at most, and leaves the rest to others.
    pub async fn shutdown(self, within: Duration) {
        let Webhooks { queue, stop, task, .. } = self;
        drop(queue);
        stop.send_replace(Some(Instant::now() + within));
        worker::wind_up(task, within + worker::LAST_CALL).await;
    }
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks")
            .field("urls", &self.config.urls.len())
            .field("stats", &self.stats())
            .finish()
    }
}
