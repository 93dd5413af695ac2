//! From the queue of this process into the store. What is in the store will be delivered, by this node or by
//! another.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use livekit_protocol::WebhookEvent;
use store::{Error, Store, Txn};
use tokio::sync::mpsc;

use crate::event;
use crate::record::{Record, event_key};

/// Events between a room and the store.
pub(crate) const QUEUE: usize = 1024;

/// Events of one commit.
const MAX_BATCH: usize = 32;

/// Events that wait in the store, of the whole cluster, and bytes of their bodies: all nodes hold them in
/// memory. A body is about 1 kB.
const MAX_PENDING: usize = 10_000;
const MAX_PENDING_BYTES: usize = 64 * 1024 * 1024;

/// Entries larger than this are dropped. The largest body is that of a room with 64 kB of metadata.
const MAX_ENTRY_BYTES: usize = 256 * 1024;

/// Most bytes of one commit of several events; with one more entry it still is what the store takes.
const MAX_BATCH_BYTES: usize = 512 * 1024;

/// Pause after a commit that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// How often lost events are logged.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// What several parts count.
#[derive(Default)]
pub(crate) struct Counters {
    /// Events of the whole cluster in the store.
    pub(crate) pending: AtomicUsize,
    /// Bytes of their bodies.
    pub(crate) pending_bytes: AtomicUsize,
    /// Events that were not even stored.
    pub(crate) lost: AtomicU64,
    pub(crate) delivered: AtomicU64,
    /// Events that some receiver did not accept in time.
    pub(crate) given_up: AtomicU64,
}

/// An event with its room.
pub(crate) struct Told {
    pub(crate) room: String,
    pub(crate) event: WebhookEvent,
}

pub(crate) struct Outbox {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) node: String,
    pub(crate) counters: Arc<Counters>,
}

impl Outbox {
    /// Until the queue is closed and empty.
    pub(crate) async fn run(self, mut queue: mpsc::Receiver<Told>) {
        let mut complaint = Complaint::default();
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while queue.recv_many(&mut batch, MAX_BATCH).await > 0 {
            let mut entries = VecDeque::from(self.entries(batch.drain(..)));
            while !entries.is_empty() {
                let some = some_of(&mut entries);
                self.insist(some, &mut complaint).await;
            }
            complaint.check(&self.counters);
        }
    }

    /// Stores the entries, however long that takes.
    async fn insist(&self, mut entries: Vec<(String, Vec<u8>)>, complaint: &mut Complaint) {
        while !entries.is_empty() {
            match self.store_all(&entries).await {
                Ok(duplicates) if duplicates.is_empty() => return,
                // Told twice: by us, or by a node whose room we took over.
                Ok(duplicates) => entries.retain(|(key, _)| !duplicates.contains(key)),
                Err(error) if error.is_transient() => tokio::time::sleep(PAUSE).await,
                Err(error) => {
                    tracing::warn!(%error, events = entries.len(), "webhooks cannot be stored and are lost");
                    self.counters.lost.fetch_add(entries.len() as u64, Ordering::Relaxed);
                    return;
                }
            }
            complaint.check(&self.counters);
        }
    }

    fn entries(&self, told: impl Iterator<Item = Told>) -> Vec<(String, Vec<u8>)> {
        let now = SystemTime::now();
        let at_ms = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let mut entries: Vec<(String, Vec<u8>)> = Vec::new();
        for (index, Told { room, event }) in (0..).zip(told) {
            let event = event::complete(event, now);
            let body = serde_json::to_string(&event).unwrap_or_default();
            let key = event_key(&room, &event.id);
            let record = Record { node: self.node.clone(), index, at_ms, body };
            let value = serde_json::to_vec(&record).unwrap_or_default();
            let full = self.counters.pending.load(Ordering::Relaxed) + entries.len() >= MAX_PENDING
                || self.counters.pending_bytes.load(Ordering::Relaxed) >= MAX_PENDING_BYTES;
            if full || value.len() > MAX_ENTRY_BYTES {
                self.counters.lost.fetch_add(1, Ordering::Relaxed);
            } else if entries.iter().all(|(other, _)| *other != key) {
                entries.push((key, value));
            }
        }
        entries
    }

    /// Stores all, or says which are there already.
    async fn store_all(&self, entries: &[(String, Vec<u8>)]) -> Result<Vec<String>, Error> {
        let txn = entries
            .iter()
            .fold(Txn::new(), |txn, (key, value)| txn.if_absent(key.clone()).put(key.clone(), value.clone()));
        let committed = self.store.commit(txn).await?;
        Ok(committed.current.into_iter().flatten().map(|entry| entry.key).collect())
    }
}

/// As many as go into one commit.
fn some_of(entries: &mut VecDeque<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let mut bytes = 0;
    let count = entries.iter().take_while(|(_, value)| {
        let fits = bytes < MAX_BATCH_BYTES;
        bytes += value.len();
        fits
    });
    let count = count.count();
    entries.drain(..count).collect()
}

/// Says how many events were lost, now and then.
#[derive(Default)]
struct Complaint {
    said: u64,
    at: Option<tokio::time::Instant>,
}

impl Complaint {
    fn check(&mut self, counters: &Counters) {
        let lost = counters.lost.load(Ordering::Relaxed);
        if lost > self.said && self.at.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            tracing::warn!(
                events = lost - self.said,
                "webhooks were lost: they come faster than they are stored and delivered; check store and receivers"
            );
            self.said = lost;
            self.at = Some(tokio::time::Instant::now());
        }
    }
}
