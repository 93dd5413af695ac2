//! The recent changes, kept for watches. Older ones are forgotten: a watch that needs them ends with
//! [`Error::Compacted`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::api::WATCH_QUEUE;
use crate::{Batch, Error, Event, Watch};

/// Commits kept. At a hundred commits a second that is 40 s, longer than any reader of a watch is busy.
const MAX_BATCHES: usize = 4096;

/// Bytes of keys and values kept.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct History {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    batches: VecDeque<(Arc<Batch>, usize)>,
    bytes: usize,
    /// Everything from this revision on is in `batches`.
    oldest: u64,
}

impl History {
    /// Of a store that is at `revision` now and remembers nothing.
    pub(crate) fn new(revision: u64) -> History {
        History { kept: Mutex::new(Kept { batches: VecDeque::new(), bytes: 0, oldest: revision + 1 }) }
    }

    /// Remembers one commit.
    pub(crate) fn push(&self, batch: Batch) {
        let size = batch.events.iter().map(size).sum();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += size;
        kept.batches.push_back((Arc::new(batch), size));
        while kept.batches.len() > MAX_BATCHES || kept.bytes > MAX_BYTES {
            kept.forget_oldest();
        }
    }

    /// Forgets everything before `revision`.
    pub(crate) fn forget_before(&self, revision: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.batches.front().is_some_and(|(batch, _)| batch.revision < revision) {
            kept.forget_oldest();
        }
        kept.oldest = kept.oldest.max(revision);
    }

    fn since(&self, revision: u64) -> Result<Vec<Arc<Batch>>, Error> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if revision < kept.oldest {
            return Err(Error::Compacted { oldest: kept.oldest });
        }
        let from = kept.batches.partition_point(|(batch, _)| batch.revision < revision);
        Ok(kept.batches.range(from..).map(|(batch, _)| Arc::clone(batch)).collect())
    }

    /// Starts a watch. `latest` changes with every commit and closes with the store.
    pub(crate) fn watch(
        self: &Arc<Self>,
        prefix: String,
        from_revision: u64,
        latest: watch::Receiver<u64>,
    ) -> Watch {
        let from = if from_revision == 0 { *latest.borrow() + 1 } else { from_revision };
        let (sender, batches) = mpsc::channel(WATCH_QUEUE);
        let task = tokio::spawn(Arc::clone(self).run(prefix, from, latest, sender));
        Watch::new(batches, task.abort_handle())
    }

    async fn run(
        self: Arc<Self>,
        prefix: String,
        mut from: u64,
        mut latest: watch::Receiver<u64>,
        sender: mpsc::Sender<Result<Batch, Error>>,
    ) {
        loop {
            latest.mark_unchanged();
            let batches = match self.since(from) {
                Ok(batches) => batches,
                Err(error) => {
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            };
            for batch in batches {
                from = batch.revision + 1;
                let events: Vec<_> =
                    batch.events.iter().filter(|event| event.key().starts_with(&prefix)).cloned().collect();
                if !events.is_empty()
                    && sender.send(Ok(Batch { revision: batch.revision, events })).await.is_err()
                {
                    return;
                }
            }
            if latest.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Kept {
    fn forget_oldest(&mut self) {
        if let Some((batch, size)) = self.batches.pop_front() {
            self.bytes -= size;
            self.oldest = batch.revision + 1;
        }
    }
}

fn size(event: &Event) -> usize {
    match event {
        Event::Put(entry) => entry.key.len() + entry.value.len(),
        Event::Delete { key, .. } => key.len(),
    }
}
