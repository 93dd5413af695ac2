use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use store::{Clock, EmbeddedOptions, EmbeddedStore};

use super::*;

static STORES: AtomicU64 = AtomicU64::new(0);

/// A store whose leases end when the test says so.
struct World {
    store: Arc<EmbeddedStore>,
    clock: Arc<Mutex<std::time::Instant>>,
    path: std::path::PathBuf,
}

impl World {
    fn new() -> World {
        let number = STORES.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sala-turn-{}-{number}.redb", std::process::id()));
        let clock = Arc::new(Mutex::new(std::time::Instant::now()));
        let read = clock.clone();
        let clock_of_store = Clock::Manual(Arc::new(move || *read.lock().unwrap()));
        let options = EmbeddedOptions { clock: clock_of_store, ..EmbeddedOptions::default() };
        let store = Arc::new(EmbeddedStore::open(&path, options).unwrap());
        World { store, clock, path }
    }

    async fn take(&self, node: &str) -> Option<Turn> {
        let store: Arc<dyn Store> = self.store.clone();
        Turn::take(&store, &NodeId(node.to_owned())).await.unwrap()
    }

    async fn pass(&self, time: Duration) {
        *self.clock.lock().unwrap() += time;
        self.store.expire_leases().await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[tokio::test]
async fn of_masters_that_come_at_once_one_has_the_turn() {
    let world = World::new();
    let (a, b, c) = tokio::join!(world.take("m1"), world.take("m2"), world.take("m3"));
    let mut holders: Vec<Turn> = [a, b, c].into_iter().flatten().collect();
    assert_eq!(holders.len(), 1);
    holders.remove(0).end().await;
    assert!(world.take("m2").await.is_some(), "the next one need not wait");
}

#[tokio::test]
async fn who_was_thought_dead_writes_nothing_and_leaves_no_challenge() {
    let world = World::new();
    let first = world.take("m1").await.unwrap();
    first.commit(Txn::new().put("/k", "1").put_leased("/challenge", "x", first.lease())).await.unwrap();
    assert!(world.take("m2").await.is_none());
    world.pass(TTL + Duration::from_secs(1)).await;
    let second = world.take("m2").await.expect("the lease has ended");
    assert!(world.store.get("/challenge").await.unwrap().is_none());
    assert_eq!(first.commit(Txn::new().put("/k", "late")).await, Err(TurnLost::TakenOver));
    second.commit(Txn::new().put("/k", "2")).await.unwrap();
    assert_eq!(world.store.get("/k").await.unwrap().unwrap().value.as_ref(), b"2");
}
