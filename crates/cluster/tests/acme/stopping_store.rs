//! A store as one master sees it, which stops for that master at a chosen write: as when the master's machine stops.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::{BoxFuture, Committed, Entry, Error, LeaseId, Op, Range, Store, Txn, Watch};
use tokio::sync::watch;

/// Where it stops.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StopAt {
    /// The first write of a key that begins so is not done any more.
    Before(&'static str),
    /// It is done, and never answered.
    After(&'static str),
}

/// See the module.
pub(crate) struct StoppingStore {
    inner: Arc<dyn Store>,
    stop_at: Mutex<Option<StopAt>>,
    stopped: watch::Sender<bool>,
}

impl fmt::Debug for StoppingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoppingStore")
    }
}

impl StoppingStore {
    pub(crate) fn new(inner: Arc<dyn Store>, stop_at: StopAt) -> Arc<StoppingStore> {
        let (stopped, _) = watch::channel(false);
        Arc::new(StoppingStore { inner, stop_at: Mutex::new(Some(stop_at)), stopped })
    }

    /// Completes when it has stopped.
    pub(crate) async fn stopped(&self) {
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// Never completes once it has stopped.
    async fn pass(&self) {
        if *self.stopped.borrow() {
            std::future::pending::<()>().await;
        }
    }

    async fn stop(&self) -> ! {
        self.stopped.send_replace(true);
        std::future::pending().await
    }
}

impl Store for StoppingStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        Box::pin(async move {
            self.pass().await;
            self.inner.get(key).await
        })
    }

    fn range<'a>(
        &'a self,
        prefix: &'a str,
        limit: usize,
        start_after: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Range, Error>> {
        Box::pin(async move {
            self.pass().await;
            self.inner.range(prefix, limit, start_after).await
        })
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Committed, Error>> {
        Box::pin(async move {
            self.pass().await;
            let puts = |prefix: &str| {
                txn.ops.iter().any(|op| matches!(op, Op::Put { key, .. } if key.starts_with(prefix)))
            };
            let stop_at = *self.stop_at.lock().unwrap();
            match stop_at {
                Some(StopAt::Before(prefix)) if puts(prefix) => self.stop().await,
                Some(StopAt::After(prefix)) if puts(prefix) => {
                    self.inner.commit(txn).await?;
                    self.stop().await
                }
                _ => self.inner.commit(txn).await,
            }
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str, from_revision: u64) -> BoxFuture<'a, Result<Watch, Error>> {
        self.inner.watch(prefix, from_revision)
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, Error>> {
        Box::pin(async move {
            self.pass().await;
            self.inner.grant(ttl).await
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration, Error>> {
        Box::pin(async move {
            self.pass().await;
            self.inner.keep_alive(lease).await
        })
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            self.pass().await;
            self.inner.revoke(lease).await
        })
    }
}
