//! The task that delivers: it watches the outbox, claims rooms, sends, and removes what is done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use store::{Error, LeaseId, Store, Txn, Watch, range_all};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::deliver::{Outcome, Sender};
use crate::outbox::Counters;
use crate::record::{Claim, PREFIX, claim_key};
use crate::view::{Delivery, Orphan, View};

/// Life of the lease that claims are bound to: so long after a node's death its events wait.
const LEASE_TTL: Duration = Duration::from_secs(5);

/// How often the outbox is looked over.
const TICK: Duration = Duration::from_millis(500);

/// The lease is kept alive when it has less than this left: several attempts fit in.
const RENEW_BELOW: Duration = Duration::from_millis(3500);

/// Operations of one commit, well below the store's limit.
const MAX_OPS: usize = 64;

/// See the module.
pub(crate) struct Worker {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) node: String,
    pub(crate) sender: Arc<Sender>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) view: View,
    pub(crate) outbox: JoinHandle<()>,
    pub(crate) deliveries: JoinSet<(Delivery, Outcome)>,
    pub(crate) watch: Option<Watch>,
    pub(crate) lease: Option<Lease>,
    /// Whether the outbox was read after its last event.
    pub(crate) looked_last: bool,
    /// Keys of events that are done.
    pub(crate) done: Vec<String>,
}

/// The lease of this node's claims.
#[derive(Clone, Copy)]
pub(crate) struct Lease {
    id: LeaseId,
    /// By our clock, from before it was asked for: later the store may have given our claims to others.
    until: Instant,
}

impl Worker {
    /// Until `stop` holds a time and all is delivered or that time has come; or `stop` is dropped.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<Option<Instant>>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let until = *stop.borrow_and_update();
            if until.is_some() && self.outbox.is_finished() && !self.looked_last {
                // The outbox has put everything into the store, and the watch may not have shown it yet.
                self.looked_last = self.reread().await;
                self.settle().await;
            }
            let drained = self.looked_last && self.view.ours() == 0;
            if until.is_some_and(|until| drained || Instant::now() >= until) {
                break;
            }
            tokio::select! {
                _ = tick.tick() => self.look_over().await,
                changes = next(&mut self.watch) => match changes {
                    Ok(batch) => batch.events.into_iter().for_each(|event| self.view.apply(event, Instant::now())),
                    Err(error) => {
                        tracing::debug!(%error, "the watch of the webhook outbox begins anew");
                        self.watch = None;
                    }
                },
                Some(finished) = self.deliveries.join_next() => self.finish(finished),
                changed = stop.changed(), if until.is_none() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            self.settle().await;
        }
        if let Some(lease) = self.lease {
            // Hands our rooms to other nodes at once. If it fails, the lease ends by itself.
            let _ = self.store.revoke(lease.id).await;
        }
    }

    /// What needs no event to happen.
    async fn look_over(&mut self) {
        if let Err(error) = self.keep_lease().await {
            tracing::debug!(%error, "the lease of webhook claims cannot be kept alive");
        }
        if self.watch.is_none() {
            self.reread().await;
        }
        let quiet = self.view.quiet(Instant::now());
        for claims in quiet.chunks(MAX_OPS) {
            let release = |txn: Txn, (room, revision): &(String, u64)| {
                let key = claim_key(room);
                txn.if_unchanged(key.clone(), *revision).delete(key)
            };
            // A claim that stays is looked at again.
            let _ = self.store.commit(claims.iter().fold(Txn::new(), release)).await;
        }
    }

    async fn keep_lease(&mut self) -> Result<(), Error> {
        let asked = Instant::now();
        if let Some(lease) = self.lease {
            if asked + RENEW_BELOW < lease.until {
                return Ok(());
            }
            match self.store.keep_alive(lease.id).await {
                Ok(ttl) => {
                    self.lease = Some(Lease { until: asked + ttl, ..lease });
                    return Ok(());
                }
                Err(Error::LeaseNotFound { .. }) => {
                    self.lease = None;
                    self.view.set_lease(None);
                    self.deliveries.abort_all();
                }
                Err(error) => return Err(error),
            }
        }
        let id = self.store.grant(LEASE_TTL).await?;
        self.lease = Some(Lease { id, until: asked + LEASE_TTL });
        self.view.set_lease(Some(id));
        Ok(())
    }

    /// Reads the whole outbox and watches from there. Returns whether that went well.
    async fn reread(&mut self) -> bool {
        self.watch = match self.watch_anew().await {
            Ok(watch) => Some(watch),
            Err(error) => {
                tracing::debug!(%error, "the webhook outbox cannot be read");
                None
            }
        };
        self.watch.is_some()
    }

    async fn watch_anew(&mut self) -> Result<Watch, Error> {
        let (entries, revision) = range_all(&*self.store, PREFIX).await?;
        self.view.replace(entries, Instant::now());
        self.store.watch(PREFIX, revision + 1).await
    }

    fn finish(&mut self, finished: Result<(Delivery, Outcome), tokio::task::JoinError>) {
        // Deliveries are aborted when the lease is lost; then their lanes are free already.
        let Ok((delivery, outcome)) = finished else { return };
        let counter = match outcome {
            Outcome::Delivered => &self.counters.delivered,
            Outcome::GivenUp => &self.counters.given_up,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.done.extend(self.view.finish(&delivery, Instant::now()));
    }

    /// Claims, sends and removes what the last event made possible.
    async fn settle(&mut self) {
        self.counters.pending.store(self.view.pending(), Ordering::Relaxed);
        self.counters.pending_bytes.store(self.view.bytes(), Ordering::Relaxed);
        let Some(lease) = self.lease.filter(|lease| Instant::now() < lease.until) else { return };
        if let Err(error) = self.claim(lease.id).await {
            tracing::debug!(%error, "rooms with webhooks cannot be claimed");
        }
        for delivery in self.view.start() {
            let sender = Arc::clone(&self.sender);
            self.deliveries.spawn(async move {
                let outcome = sender.deliver(delivery.url, &delivery.record).await;
                (delivery, outcome)
            });
        }
        while !self.done.is_empty() {
            let keys = &self.done[..self.done.len().min(MAX_OPS)];
            let txn = keys.iter().fold(Txn::new(), |txn, key| txn.delete(key.clone()));
            if let Err(error) = self.store.commit(txn).await {
                tracing::debug!(%error, "delivered webhooks cannot be removed from the outbox");
                break;
            }
            self.done.drain(..self.done.len().min(MAX_OPS));
        }
    }

    async fn claim(&mut self, lease: LeaseId) -> Result<(), Error> {
        for Orphan { room, over } in self.view.orphans(Instant::now()) {
            let key = claim_key(&room);
            let claim = serde_json::to_vec(&Claim { node: self.node.clone() }).unwrap_or_default();
            let txn = match over {
                None => Txn::new().if_absent(key.clone()),
                Some(revision) => Txn::new().if_unchanged(key.clone(), revision),
            };
            let committed = self.store.commit(txn.put_leased(key.clone(), claim.clone(), lease)).await?;
            let entry = match committed.succeeded {
                true => Some(store::Entry {
                    key,
                    value: claim.into(),
                    mod_revision: committed.revision,
                    lease: Some(lease),
                }),
                false => committed.current.into_iter().next().flatten(),
            };
            if let Some(entry) = entry {
                self.view.apply(store::Event::Put(entry), Instant::now());
            }
        }
        Ok(())
    }
}

/// The next changes; never, while there is no watch.
async fn next(watch: &mut Option<Watch>) -> Result<store::Batch, Error> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// How long the store's last call may hold up a shutdown.
pub(crate) const LAST_CALL: Duration = Duration::from_secs(3);

/// Waits for a task that ends by itself soon, and ends it if it does not.
pub(crate) async fn wind_up(mut task: JoinHandle<()>, within: Duration) {
    if timeout(within, &mut task).await.is_err() {
        task.abort();
    }
}
