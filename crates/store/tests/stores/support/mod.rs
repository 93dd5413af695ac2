//! What the tests stand on: directories that go away, members of etcd, connections that can be cut.

pub(crate) mod certificates;
pub(crate) mod members;
pub(crate) mod proxy;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use store::{Batch, Error, Event, Store, Watch};

/// Longer than anything here takes; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A directory for one test.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique =
            format!("sala-store-{}-{}-{name}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Dir(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The next batch of a watch.
pub(crate) async fn next(watch: &mut Watch) -> Batch {
    let batch = tokio::time::timeout(PATIENCE, watch.next()).await.expect("a batch in time");
    batch.expect("the watch goes on")
}

/// `+key` for puts and `-key` for deletions.
pub(crate) fn told(events: &[Event]) -> Vec<String> {
    let tell = |event: &Event| match event {
        Event::Put(entry) => format!("+{}", entry.key),
        Event::Delete { key, .. } => format!("-{key}"),
    };
    events.iter().map(tell).collect()
}

/// Repeats a call until the store can serve it.
pub(crate) async fn insist<T>(mut call: impl AsyncFnMut() -> Result<T, Error>) -> T {
    let attempts = async {
        loop {
            match call().await {
                Ok(value) => return value,
                Err(Error::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, attempts).await.expect("the store comes back")
}

/// Adds one to the number under `key`, as often as it takes to be sure. A commit without an answer counts as
/// done if the number bears our mark afterwards.
pub(crate) async fn increment(store: &dyn Store, key: &str, mark: u64) {
    insist(async || {
        let entry = store.get(key).await?;
        let (number, last) = entry.as_ref().map_or((0, 0), |entry| parse(&entry.value));
        if last == mark {
            return Ok(());
        }
        let value = format!("{} {mark}", number + 1);
        let txn = match &entry {
            None => store::Txn::new().if_absent(key),
            Some(entry) => store::Txn::new().if_unchanged(key, entry.mod_revision),
        };
        let committed = store.commit(txn.put(key, value)).await?;
        assert!(
            committed.succeeded || parse(&committed.current[0].as_ref().expect("an entry").value).1 == mark
        );
        Ok(())
    })
    .await;
}

/// Number and mark of [`increment`].
pub(crate) fn parse(value: &[u8]) -> (u64, u64) {
    let text = std::str::from_utf8(value).expect("text");
    let (number, mark) = text.split_once(' ').expect("two numbers");
    (number.parse().expect("a number"), mark.parse().expect("a mark"))
}
