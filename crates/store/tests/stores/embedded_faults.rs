//! Disks that are slow or full, and processes that die.

use std::io::{BufRead, BufReader, Error as IoError, ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageBackend};
use store::{EmbeddedOptions, EmbeddedStore, Error, Store, Txn};

use crate::support::{Dir, insist, next, told};

/// The faults of a disk, to be switched while it is in use.
#[derive(Debug, Default)]
struct Faults {
    full: AtomicBool,
    /// While held, nothing is made durable.
    stuck: Mutex<bool>,
    moved: Condvar,
    syncs: AtomicU64,
    /// What is made durable is said to have failed.
    lying: AtomicBool,
}

impl Faults {
    fn stick(&self, stuck: bool) {
        *self.stuck.lock().expect("no panic") = stuck;
        self.moved.notify_all();
    }
}

#[derive(Debug)]
struct FaultyDisk {
    file: FileBackend,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    fn check_space(&self) -> Result<(), IoError> {
        match self.faults.full.load(Ordering::SeqCst) {
            true => Err(IoError::from(ErrorKind::StorageFull)),
            false => Ok(()),
        }
    }
}

impl StorageBackend for FaultyDisk {
    fn len(&self) -> Result<u64, IoError> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.check_space()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), IoError> {
        let stuck = self.faults.stuck.lock().expect("no panic");
        drop(self.faults.moved.wait_while(stuck, |stuck| *stuck).expect("no panic"));
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        self.file.sync_data()?;
        match self.faults.lying.load(Ordering::SeqCst) {
            true => Err(IoError::from(ErrorKind::Interrupted)),
            false => Ok(()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), IoError> {
        self.check_space()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), IoError> {
        self.file.close()
    }
}

fn open_faulty(dir: &Dir, deadline: Duration) -> (Arc<EmbeddedStore>, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let opener = {
        let (path, faults) = (dir.path().join("store.redb"), Arc::clone(&faults));
        move || -> Result<Database, DatabaseError> {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            let disk = FaultyDisk { file: FileBackend::new(file)?, faults: Arc::clone(&faults) };
            Database::builder().create_with_backend(disk)
        }
    };
    let options = EmbeddedOptions { deadline, ..EmbeddedOptions::default() };
    (Arc::new(EmbeddedStore::open_with(opener, options).expect("a store")), faults)
}

#[tokio::test]
async fn a_disk_that_stands_still_delays_nobody_beyond_the_deadline() {
    let dir = Dir::new("stuck");
    let (store, faults) = open_faulty(&dir, Duration::from_millis(100));
    store.commit(Txn::new().put("/a", "1")).await.expect("a commit");
    faults.stick(true);
    let late = store.commit(Txn::new().put("/a", "2")).await;
    assert!(matches!(late, Err(Error::Unavailable { .. })), "{late:?}");
    assert_eq!(
        store.get("/a").await.expect("reads work").expect("an entry").value,
        "1",
        "not durable, not seen"
    );
    faults.stick(false);
    // What was not acknowledged may happen after all.
    let mut watch = store.watch("/b", 0).await.expect("a watch");
    insist(async || store.commit(Txn::new().put("/b", "1")).await).await;
    assert_eq!(told(&next(&mut watch).await.events)[0], "+/b");
    assert_eq!(store.get("/a").await.expect("an answer").expect("an entry").value, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_wait_for_a_slow_disk_share_one_sync() {
    let dir = Dir::new("group");
    let (store, faults) = open_faulty(&dir, Duration::from_secs(10));
    faults.stick(true);
    let tasks: Vec<_> = (0..50)
        .map(|i| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(Txn::new().put(format!("/{i}"), "")).await })
        })
        .collect();
    let before = faults.syncs.load(Ordering::SeqCst);
    faults.stick(false);
    for task in tasks {
        assert!(task.await.expect("no panic").expect("a commit").succeeded);
    }
    let syncs = faults.syncs.load(Ordering::SeqCst) - before;
    assert!(syncs < 50, "{syncs} syncs for 50 commits");
    assert_eq!(store.range("/", 100, None).await.expect("a range").entries.len(), 50);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    let dir = Dir::new("full");
    let (store, faults) = open_faulty(&dir, Duration::from_secs(2));
    let mut watch = store.watch("/", 0).await.expect("a watch");
    store.commit(Txn::new().put("/a", "1")).await.expect("a commit");
    faults.full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let full = store.commit(Txn::new().put("/a", vec![1; 300_000]).put("/b", "1")).await;
        assert!(matches!(full, Err(Error::DiskFull { .. })), "{full:?}");
        assert_eq!(store.get("/a").await.expect("reads work").expect("an entry").value, "1");
    }
    assert_eq!(
        store.grant(Duration::from_secs(1)).await,
        Err(store.commit(Txn::new().put("/a", "")).await.expect_err("full"))
    );
    faults.full.store(false, Ordering::SeqCst);
    let committed = store.commit(Txn::new().if_absent("/b").put("/c", "1")).await.expect("space again");
    assert!(committed.succeeded, "what failed has left nothing behind");
    assert_eq!(store.get("/a").await.expect("an answer").expect("an entry").value, "1");
    assert_eq!(told(&next(&mut watch).await.events), ["+/a"]);
    assert_eq!(told(&next(&mut watch).await.events), ["+/c"]);
}

#[tokio::test]
async fn a_commit_that_failed_and_happened_is_not_hidden() {
    let dir = Dir::new("lying");
    let (store, faults) = open_faulty(&dir, Duration::from_secs(2));
    store.commit(Txn::new().put("/a", "1")).await.expect("a commit");
    let mut watch = store.watch("/", 0).await.expect("a watch");
    faults.lying.store(true, Ordering::SeqCst);
    let failed = store.commit(Txn::new().put("/a", "2")).await;
    assert!(matches!(failed, Err(Error::Unavailable { .. })), "{failed:?}");
    faults.lying.store(false, Ordering::SeqCst);
    store.commit(Txn::new().put("/b", "1")).await.expect("the disk works again");
    let shown = store.range("/", 9, None).await.expect("a range");
    let watched = watch.next().await;
    drop((store, watch));
    let reopened = EmbeddedStore::open(dir.path().join("store.redb"), EmbeddedOptions::default());
    let durable = reopened.expect("a store").range("/", 9, None).await.expect("a range");
    assert_eq!(shown, durable, "readers saw what is on the disk");
    match durable.entries[0].value == "2" {
        true => assert!(matches!(watched, Err(Error::Compacted { .. })), "{watched:?}"),
        false => assert_eq!(told(&watched.expect("a batch").events), ["+/b"]),
    }
}

const CHILD_DIR: &str = "SALA_STORE_TEST_CHILD_DIR";

/// Not a test: the process that the next test kills.
#[tokio::test]
#[ignore = "run by acknowledged_writes_survive_a_killed_process"]
async fn child_that_writes_until_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let path = PathBuf::from(dir).join("store.redb");
    let store = EmbeddedStore::open(path, EmbeddedOptions::default()).expect("a store");
    for i in 0_u64.. {
        store.commit(Txn::new().put(format!("/{i:08}"), i.to_string())).await.expect("a commit");
        let mut out = std::io::stderr();
        writeln!(out, "acknowledged {i}").expect("the parent reads");
    }
}

#[tokio::test]
async fn acknowledged_writes_survive_a_killed_process() {
    let dir = Dir::new("killed");
    let mut acknowledged: u64 = 0;
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "embedded_faults::child_that_writes_until_killed", "--ignored", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child");
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let mut last = 0;
        for line in lines {
            let line = line.expect("text");
            let Some(number) = line.strip_prefix("acknowledged ") else { continue };
            last = number.parse().expect("a number");
            if last == 30 * round {
                child.kill().expect("it runs");
            }
        }
        child.wait().expect("it ends");
        acknowledged = acknowledged.max(last);
        assert!(acknowledged >= 30 * round);
        let store = EmbeddedStore::open(dir.path().join("store.redb"), EmbeddedOptions::default());
        let store = store.expect("the file opens after a kill");
        let entries = store::range_all(&store, "/").await.expect("all entries").0;
        let values: Vec<_> = entries.iter().map(|entry| entry.value.clone()).collect();
        let whole: Vec<_> = (0..values.len()).map(|i| i.to_string()).collect();
        assert_eq!(values, whole, "no gaps");
        assert!(values.len() as u64 > acknowledged, "{} of {acknowledged}", values.len());
    }
}
