//! The suite on the embedded store, and what concerns its file.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use store::{Clock, EmbeddedOptions, EmbeddedStore, Error, Store, Txn};

use crate::suite::{self, Stand};
use crate::support::{Dir, next, told};

/// A store whose leases live by a clock that only moves when told to.
struct Manual {
    store: Arc<EmbeddedStore>,
    now: Arc<Mutex<Instant>>,
}

impl Manual {
    fn open(dir: &Dir) -> Manual {
        let now = Arc::new(Mutex::new(Instant::now()));
        let clock = {
            let now = Arc::clone(&now);
            Clock::Manual(Arc::new(move || *now.lock().expect("no panic")))
        };
        let options = EmbeddedOptions { clock, ..EmbeddedOptions::default() };
        Manual { store: Arc::new(EmbeddedStore::open(file(dir), options).expect("a store")), now }
    }
}

impl Stand for Manual {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as _
    }

    async fn pass(&self, duration: Duration) {
        *self.now.lock().expect("no panic") += duration;
        self.store.expire_leases().await.expect("a working disk");
    }

    async fn compact(&self, revision: u64) {
        self.store.compact(revision);
    }
}

fn file(dir: &Dir) -> std::path::PathBuf {
    dir.path().join("store.redb")
}

fn open(dir: &Dir) -> Result<EmbeddedStore, Error> {
    EmbeddedStore::open(file(dir), EmbeddedOptions::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conformance() {
    let dir = Dir::new("conformance");
    suite::all(&Manual::open(&dir)).await;
}

#[tokio::test]
async fn leases_end_by_themselves_on_the_real_clock() {
    let dir = Dir::new("real-clock");
    let store = open(&dir).expect("a store");
    let lease = store.grant(Duration::from_secs(1)).await.expect("a lease");
    store.commit(Txn::new().put_leased("/a", "", lease)).await.expect("a commit");
    let mut watch = store.watch("/", 0).await.expect("a watch");
    assert_eq!(told(&next(&mut watch).await.events), ["-/a"]);
}

#[tokio::test]
async fn entries_revisions_and_leases_survive_reopening() {
    let dir = Dir::new("reopen");
    let stand = Manual::open(&dir);
    let lease = stand.store.grant(Duration::from_secs(5)).await.expect("a lease");
    let txn = Txn::new().put("/a", "1").put_leased("/b", "2", lease);
    let revision = stand.store.commit(txn).await.expect("a commit").revision;
    drop(stand);

    let stand = Manual::open(&dir);
    let range = stand.store.range("/", 9, None).await.expect("a range");
    assert_eq!((range.entries.len(), range.revision), (2, revision));
    // The history is gone, and a watch that needs it must not miss anything in silence.
    let mut watch = stand.store.watch("/", revision).await.expect("a watch");
    assert_eq!(watch.next().await, Err(Error::Compacted { oldest: revision + 1 }));
    // The lease has its full time again.
    stand.pass(Duration::from_secs(4)).await;
    assert!(stand.store.get("/b").await.expect("an answer").is_some());
    stand.pass(Duration::from_secs(1)).await;
    assert_eq!(stand.store.get("/b").await, Ok(None));
}

#[tokio::test]
async fn a_watch_ends_when_the_store_is_closed() {
    let dir = Dir::new("closed");
    let store = open(&dir).expect("a store");
    let mut watch = store.watch("/", 0).await.expect("a watch");
    drop(store);
    assert_eq!(watch.next().await, Err(Error::Closed));
}

#[tokio::test]
async fn a_reader_that_falls_far_behind_is_told_so() {
    let dir = Dir::new("behind");
    let store = open(&dir).expect("a store");
    let mut watch = store.watch("/", 0).await.expect("a watch");
    // More than the queue of a watch and the history hold together.
    let big = vec![0; 512 * 1024];
    for _ in 0..120 {
        store.commit(Txn::new().put("/a", big.clone())).await.expect("a commit");
    }
    let mut seen = 0;
    let error = loop {
        match watch.next().await {
            Ok(batch) => seen += batch.events.len(),
            Err(error) => break error,
        }
    };
    assert!(seen < 120 && matches!(error, Error::Compacted { .. }), "{seen} {error:?}");
}

#[test]
fn a_file_in_use_is_refused() {
    let dir = Dir::new("in-use");
    let _held = open(&dir).expect("a store");
    let error = open(&dir).expect_err("two processes on one file");
    assert_eq!(error, Error::InUse { path: file(&dir).display().to_string() });
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let dir = Dir::new("garbage");
    let garbage = b"this is not a database, but somebody's letter".repeat(100);
    std::fs::write(file(&dir), &garbage).expect("a file");
    let error = open(&dir).expect_err("no store");
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    assert_eq!(std::fs::read(file(&dir)).expect("the file"), garbage);
}

#[test]
fn the_file_is_readable_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new("mode");
    let _store = open(&dir).expect("a store");
    let mode = std::fs::metadata(file(&dir)).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_directory_that_is_missing_is_named() {
    let dir = Dir::new("missing");
    let error = EmbeddedStore::open(dir.path().join("none/store.redb"), EmbeddedOptions::default());
    let text = error.expect_err("no directory").to_string();
    assert!(text.contains("none/store.redb"), "{text}");
}

const META: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");

#[tokio::test]
async fn a_file_that_an_interrupted_start_left_is_completed() {
    let dir = Dir::new("schema-0");
    drop(redb::Database::create(file(&dir)).expect("a database without tables"));
    let store = open(&dir).expect("a store");
    assert!(store.commit(Txn::new().put("/a", "")).await.expect("a commit").succeeded);
}

#[test]
fn a_file_of_a_newer_schema_is_refused_and_left_alone() {
    let dir = Dir::new("newer");
    drop(open(&dir).expect("a store"));
    let newer = redb::Database::open(file(&dir)).expect("the file");
    let txn = newer.begin_write().expect("a transaction");
    txn.open_table(META).expect("the table").insert("schema", 99).expect("a row");
    txn.commit().expect("a commit");
    drop(newer);
    assert_eq!(open(&dir).expect_err("a newer schema"), Error::NewerSchema { found: 99, known: 1 });
}
