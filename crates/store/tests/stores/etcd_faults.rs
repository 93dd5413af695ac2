//! Members that die, freeze, are cut off, fill up or forget. What was acknowledged must survive all of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store::{Error, EtcdStore, Event, Store, Txn};
use tokio::sync::mpsc;

use crate::support::members::Members;
use crate::support::proxy::Proxy;
use crate::support::{PATIENCE, increment, insist, parse};

/// Counts a key up, and watches it doing so: every number must be seen, in order and once.
struct Counter {
    store: Arc<EtcdStore>,
    seen: mpsc::Receiver<u64>,
    count: u64,
}

impl Counter {
    async fn start(store: Arc<EtcdStore>) -> Counter {
        let mut watch = insist(async || store.watch("/counter", 0).await).await;
        let (sender, seen) = mpsc::channel(1000);
        tokio::spawn(async move {
            while let Ok(batch) = watch.next().await {
                for event in batch.events {
                    let Event::Put(entry) = event else { panic!("nobody deletes it") };
                    if sender.send(parse(&entry.value).0).await.is_err() {
                        return;
                    }
                }
            }
        });
        Counter { store, seen, count: 0 }
    }

    /// Counts on, and returns the longest time that one step took.
    async fn count(&mut self, steps: u64) -> Duration {
        let mut longest = Duration::ZERO;
        for _ in 0..steps {
            let start = Instant::now();
            self.count += 1;
            increment(&*self.store, "/counter", self.count).await;
            longest = longest.max(start.elapsed());
        }
        longest
    }

    /// Every step is there, and was seen.
    async fn check(mut self) {
        let entry = insist(async || self.store.get("/counter").await).await.expect("an entry");
        assert_eq!(
            parse(&entry.value),
            (self.count, self.count),
            "an acknowledged step is lost or was done twice"
        );
        for expected in 1..=self.count {
            let seen = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
            assert_eq!(seen.expect("the watch goes on"), Some(expected));
        }
        assert!(self.seen.try_recv().is_err(), "a change was seen twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed_and_comes_back() {
    let mut members = Members::start(3);
    let mut counter = Counter::start(members.store()).await;
    counter.count(20).await;
    let leader = members.leader();
    members.kill(leader);
    println!("leader killed: longest step {:?}", counter.count(20).await);
    members.run(leader);
    counter.count(20).await;
    counter.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_freezes_and_wakes_up() {
    let members = Members::start(3);
    let mut counter = Counter::start(members.store()).await;
    counter.count(20).await;
    let leader = members.leader();
    members.stop(leader);
    println!("leader frozen: longest step {:?}", counter.count(20).await);
    members.go_on(leader);
    counter.count(20).await;
    counter.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_member_that_is_asked_is_cut_off() {
    let members = Members::start(3);
    let mut proxies = Vec::new();
    for address in members.addresses() {
        proxies.push(Proxy::to(address).await);
    }
    let config = members.config_for(proxies.iter().map(|proxy| proxy.address).collect());
    let mut counter = Counter::start(Arc::new(EtcdStore::new(config).expect("a configuration"))).await;
    counter.count(20).await;
    for (at, proxy) in proxies.iter().enumerate() {
        proxy.cut(true);
        println!("member {at} cut off: longest step {:?}", counter.count(10).await);
        proxy.cut(false);
    }
    counter.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_calls_fail_in_time_and_leases_survive() {
    let members = Members::start(3);
    let store = members.store();
    let lease = store.grant(Duration::from_secs(10)).await.expect("a lease");
    store.commit(Txn::new().put_leased("/a", "1", lease)).await.expect("a commit");
    members.stop(1);
    members.stop(2);
    let start = Instant::now();
    let (read, written) = tokio::join!(store.get("/a"), store.commit(Txn::new().put("/a", "2")));
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    assert!(matches!(written, Err(Error::Unavailable { .. })), "{written:?}");
    assert!(start.elapsed() < Duration::from_secs(3), "the deadline is 2 s: {:?}", start.elapsed());
    members.go_on(1);
    members.go_on(2);
    insist(async || store.keep_alive(lease).await).await;
    insist(async || store.get("/a").await).await.expect("the lease is alive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_restarted_has_forgotten_our_token() {
    let mut members = Members::start_secured(1);
    let mut counter = Counter::start(members.store()).await;
    counter.count(10).await;
    members.kill(0);
    members.run(0);
    insist(async || counter.store.get("/counter").await).await;
    // Time for the watch to come back too. It sees nothing before the member forgets for the second time.
    tokio::time::sleep(Duration::from_secs(2)).await;
    members.kill(0);
    members.run(0);
    counter.count(10).await;
    counter.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_was_cut_off_over_a_compaction_says_so() {
    let members = Members::start(1);
    let direct = members.store();
    let proxy = Proxy::to(members.addresses()[0]).await;
    let behind = EtcdStore::new(members.config_for(vec![proxy.address])).expect("a configuration");
    let mut watch = behind.watch("/a", 0).await.expect("a watch");
    direct.commit(Txn::new().put("/a", "1")).await.expect("a commit");
    assert_eq!(watch.next().await.expect("a batch").events.len(), 1);
    proxy.cut(true);
    for i in 0..10 {
        direct.commit(Txn::new().put("/b", i.to_string())).await.expect("a commit");
    }
    let last = direct.commit(Txn::new().put("/a", "2")).await.expect("a commit").revision;
    let last = direct.commit(Txn::new().put("/a", "3")).await.map(|committed| committed.revision.max(last));
    let last = last.expect("a commit");
    members.etcdctl(&["compact", &last.to_string()]);
    // Long enough for the watch to notice, so that it comes back by a new connection.
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.cut(false);
    let ended = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Err(error) = watch.next().await {
                return error;
            }
        }
    });
    assert_eq!(ended.await.expect("an end"), Error::Compacted { oldest: last });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_refuses_writes_and_serves_reads() {
    let members = Members::start_with(1, false, Some(16 * 1024 * 1024));
    let store = members.store();
    let value = vec![7; 512 * 1024];
    let mut written = 0;
    let full = loop {
        match store.commit(Txn::new().put(format!("/fill/{written}"), value.clone())).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100, "the quota never filled");
    };
    assert!(matches!(full, Error::DiskFull { .. }), "{full:?}");
    assert_eq!(store.get("/fill/0").await.expect("reads work").expect("an entry").value, value);
    // As the error's text advises.
    store.commit(Txn::new().delete_prefix("/fill/")).await.expect("deletions work");
    let revision = store.range("/", 1, None).await.expect("a range").revision;
    members.etcdctl(&["compact", &revision.to_string()]);
    members.etcdctl(&["defrag"]);
    members.etcdctl(&["alarm", "disarm"]);
    insist(async || store.commit(Txn::new().put("/after", "1")).await).await;
}
