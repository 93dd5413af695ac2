//! What every store must do. Each part uses keys under a prefix of its own, so that one store serves all.

use std::sync::Arc;
use std::time::Duration;

use store::{Error, MAX_RANGE, MAX_TXN_BYTES, Range, Store, Txn, range_all};

use crate::support::{next, told};

/// A store under test, and how time passes for it.
pub(crate) trait Stand {
    fn store(&self) -> Arc<dyn Store>;

    /// Lets `duration` pass for leases.
    async fn pass(&self, duration: Duration);

    /// Forgets the changes before `revision`.
    async fn compact(&self, revision: u64);
}

/// All parts, one after the other.
pub(crate) async fn all(stand: &impl Stand) {
    let store = &*stand.store();
    an_entry_is_read_back(store).await;
    ranges_go_page_by_page_in_order_of_bytes(store).await;
    a_transaction_is_all_or_nothing(store).await;
    the_loser_of_a_race_learns_what_is_there(store).await;
    of_many_racers_exactly_one_wins(stand.store()).await;
    impossible_transactions_are_refused(store).await;
    a_watch_sees_every_commit_once_and_whole(store).await;
    a_watch_from_the_past_catches_up(store).await;
    a_watch_from_now_on_sees_no_past(store).await;
    a_lease_that_ends_takes_its_keys_and_watchers_see_it(stand, store).await;
    a_lease_that_is_kept_alive_stays(stand, store).await;
    a_key_leaves_its_lease_when_it_is_put_without(store).await;
    a_watch_that_missed_too_much_says_so(stand, store).await;
}

async fn put(store: &dyn Store, key: &str, value: &str) -> u64 {
    let committed = store.commit(Txn::new().put(key, value.to_owned())).await.expect("a commit");
    assert!(committed.succeeded && committed.current.is_empty());
    committed.revision
}

fn keys(range: &Range) -> Vec<&str> {
    range.entries.iter().map(|entry| entry.key.as_str()).collect()
}

async fn an_entry_is_read_back(store: &dyn Store) {
    assert_eq!(store.get("/read/a").await, Ok(None));
    let revision = put(store, "/read/a", "one").await;
    let entry = store.get("/read/a").await.expect("an answer").expect("an entry");
    assert_eq!((&entry.value[..], entry.mod_revision, entry.lease), (&b"one"[..], revision, None));
    let later = put(store, "/read/a", "").await;
    assert!(later > revision);
    assert!(
        store.get("/read/a").await.expect("an answer").expect("an empty value is a value").value.is_empty()
    );
    assert!(
        store.commit(Txn::new().delete("/read/a").delete("/read/none")).await.expect("a commit").succeeded
    );
    assert_eq!(store.get("/read/a").await, Ok(None));
}

async fn ranges_go_page_by_page_in_order_of_bytes(store: &dyn Store) {
    // Neighbours of the prefix on both sides, a key equal to it, and letters beyond ASCII.
    for key in ["/range", "/range/", "/range/b", "/range/é", "/range/a", "/range/a/x", "/range0", "/rang"] {
        put(store, key, "").await;
    }
    let all = store.range("/range/", 100, None).await.expect("a range");
    assert_eq!(keys(&all), ["/range/", "/range/a", "/range/a/x", "/range/b", "/range/é"]);
    assert!(!all.more);
    let first = store.range("/range/", 2, None).await.expect("a range");
    assert_eq!((keys(&first), first.more), (vec!["/range/", "/range/a"], true));
    let second = store.range("/range/", 3, Some("/range/a")).await.expect("a range");
    assert_eq!((keys(&second), second.more), (vec!["/range/a/x", "/range/b", "/range/é"], false));
    let none = store.range("/range/", 3, Some("/range/é")).await.expect("a range");
    assert_eq!((keys(&none), none.more), (vec![], false));

    for chunk in (0..MAX_RANGE + 7).collect::<Vec<_>>().chunks(100) {
        let txn = chunk.iter().fold(Txn::new(), |txn, i| txn.put(format!("/many/{i:05}"), "x"));
        store.commit(txn).await.expect("a commit");
    }
    let (entries, revision) = range_all(store, "/many/").await.expect("all pages");
    assert_eq!(entries.len(), MAX_RANGE + 7);
    assert!(entries.is_sorted_by(|a, b| a.key < b.key) && revision > 0);
    assert!(range_all(store, "").await.expect("everything").0.len() > entries.len());
    store.commit(Txn::new().delete_prefix("/many/")).await.expect("a commit");
    assert_eq!(range_all(store, "/many/").await.expect("all pages").0, []);
}

async fn a_transaction_is_all_or_nothing(store: &dyn Store) {
    let a = put(store, "/txn/a", "1").await;
    put(store, "/txn/gone/x", "1").await;
    put(store, "/txn/gone/y", "1").await;
    let before = store.range("/txn/", 100, None).await.expect("a range");
    let refused = Txn::new().if_unchanged("/txn/a", a).if_absent("/txn/gone/x");
    let refused = store.commit(refused.put("/txn/b", "2").delete("/txn/a")).await.expect("an answer");
    assert!(!refused.succeeded);
    assert_eq!(refused.revision, before.revision, "nothing happened");
    assert_eq!(store.range("/txn/", 100, None).await, Ok(before.clone()));

    let txn = Txn::new().if_unchanged("/txn/a", a).if_exists("/txn/gone/x").if_absent("/txn/b");
    let done = store.commit(txn.put("/txn/a", "2").put("/txn/b", "2").delete_prefix("/txn/gone/")).await;
    let done = done.expect("a commit");
    assert!(done.succeeded && done.revision == before.revision + 1, "one revision for all of it");
    let after = store.range("/txn/", 100, None).await.expect("a range");
    assert_eq!(keys(&after), ["/txn/a", "/txn/b"]);
    assert!(after.entries.iter().all(|entry| entry.mod_revision == done.revision));

    let nothing = store.commit(Txn::new().delete("/txn/none")).await.expect("a commit");
    assert!(nothing.succeeded && nothing.revision == done.revision, "no change, no revision");
}

async fn the_loser_of_a_race_learns_what_is_there(store: &dyn Store) {
    put(store, "/loser/room", "node-1").await;
    let claim = Txn::new().if_absent("/loser/room").if_exists("/loser/none").put("/loser/room", "node-2");
    let lost = store.commit(claim).await.expect("an answer");
    assert!(!lost.succeeded);
    assert_eq!(lost.current.len(), 2);
    assert_eq!(lost.current[0].as_ref().expect("the winner").value, "node-1");
    assert_eq!(lost.current[1], None);
    let current = lost.current[0].clone().expect("the winner");
    let stale = Txn::new().if_unchanged("/loser/room", current.mod_revision - 1).put("/loser/room", "node-2");
    assert_eq!(store.commit(stale).await.expect("an answer").current, [Some(current)]);
}

async fn of_many_racers_exactly_one_wins(store: Arc<dyn Store>) {
    const RACERS: usize = 24;
    let race = async |txn: fn(usize, u64) -> Txn, revision: u64| {
        let racers: Vec<_> = (0..RACERS)
            .map(|racer| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.commit(txn(racer, revision)).await.expect("an answer") })
            })
            .collect();
        let mut winners = Vec::new();
        for (racer, task) in racers.into_iter().enumerate() {
            if task.await.expect("a racer").succeeded {
                winners.push(racer);
            }
        }
        winners
    };
    let winners = race(|racer, _| Txn::new().if_absent("/race").put("/race", racer.to_string()), 0).await;
    let entry = store.get("/race").await.expect("an answer").expect("a winner");
    assert_eq!(winners.len(), 1);
    assert_eq!(entry.value, winners[0].to_string());
    let again =
        |racer: usize, revision| Txn::new().if_unchanged("/race", revision).put("/race", racer.to_string());
    let winners = race(again, entry.mod_revision).await;
    assert_eq!(winners.len(), 1);
    assert_eq!(store.get("/race").await.expect("an answer").expect("a winner").value, winners[0].to_string());
}

async fn impossible_transactions_are_refused(store: &dyn Store) {
    let twice = store.commit(Txn::new().put("/bad", "1").put("/bad", "2")).await;
    assert!(matches!(twice, Err(Error::Invalid { .. })), "{twice:?}");
    let large = store.commit(Txn::new().put("/bad", vec![0; MAX_TXN_BYTES])).await;
    assert!(matches!(large, Err(Error::TooLarge { .. })), "{large:?}");
    assert_eq!(store.get("/bad").await, Ok(None));
    // The largest that is allowed must pass.
    let fits = store.commit(Txn::new().put("/large", vec![0; MAX_TXN_BYTES - 6])).await;
    assert!(fits.expect("a commit").succeeded);
    store.commit(Txn::new().delete("/large")).await.expect("a commit");
}

async fn a_watch_sees_every_commit_once_and_whole(store: &dyn Store) {
    let start = store.range("/watch/", 1, None).await.expect("a range").revision;
    let mut watch = store.watch("/watch/", start + 1).await.expect("a watch");
    let first = store.commit(Txn::new().put("/watch/a", "1").put("/watch/b", "1")).await.expect("a commit");
    put(store, "/other", "1").await;
    let second = store.commit(Txn::new().put("/watch/a", "2").delete("/watch/b").put("/other", "2")).await;
    let second = second.expect("a commit");
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let batch = next(&mut watch).await;
        assert_eq!(batch.revision, batch.events.last().expect("events").mod_revision());
        seen.extend(batch.events);
    }
    let mut first_events = told(&seen[..2]);
    first_events.sort();
    assert_eq!(first_events, ["+/watch/a", "+/watch/b"]);
    assert!(seen[..2].iter().all(|event| event.mod_revision() == first.revision));
    let mut second_events = told(&seen[2..]);
    second_events.sort();
    assert_eq!(second_events, ["+/watch/a", "-/watch/b"]);
    assert!(seen[2..].iter().all(|event| event.mod_revision() == second.revision));
}

async fn a_watch_from_the_past_catches_up(store: &dyn Store) {
    let first = put(store, "/past/0", "").await;
    for i in 1..50 {
        put(store, &format!("/past/{i}"), "").await;
    }
    let mut watch = store.watch("/past/", first).await.expect("a watch");
    put(store, "/past/50", "").await;
    let mut seen = Vec::new();
    while seen.len() < 51 {
        seen.extend(told(&next(&mut watch).await.events));
    }
    assert_eq!(seen, (0..51).map(|i| format!("+/past/{i}")).collect::<Vec<_>>());
}

async fn a_watch_from_now_on_sees_no_past(store: &dyn Store) {
    put(store, "/now/a", "").await;
    let mut watch = store.watch("/now/", 0).await.expect("a watch");
    put(store, "/now/b", "").await;
    assert_eq!(told(&next(&mut watch).await.events), ["+/now/b"]);
}

async fn a_lease_that_ends_takes_its_keys_and_watchers_see_it(stand: &impl Stand, store: &dyn Store) {
    let mut watch = store.watch("/leased/", 0).await.expect("a watch");
    let revoked = store.grant(Duration::from_secs(60)).await.expect("a lease");
    let expired = store.grant(Duration::from_secs(1)).await.expect("a lease");
    let txn = Txn::new().put_leased("/leased/1", "", expired).put_leased("/leased/2", "", expired);
    let txn = txn.put_leased("/leased/3", "", revoked).put("/leased/4", "");
    assert!(store.commit(txn).await.expect("a commit").succeeded);
    assert_eq!(store.get("/leased/1").await.expect("an answer").expect("an entry").lease, Some(expired));
    assert_eq!(next(&mut watch).await.events.len(), 4);

    store.revoke(revoked).await.expect("it is alive");
    assert_eq!(told(&next(&mut watch).await.events), ["-/leased/3"]);
    stand.pass(Duration::from_secs(1)).await;
    let mut gone = told(&next(&mut watch).await.events);
    gone.sort();
    assert_eq!(gone, ["-/leased/1", "-/leased/2"]);
    assert_eq!(keys(&store.range("/leased/", 9, None).await.expect("a range")), ["/leased/4"]);
    for lease in [revoked, expired] {
        let lost = Err(Error::LeaseNotFound { lease });
        assert_eq!(store.keep_alive(lease).await.map(|_| ()), lost);
        assert_eq!(store.revoke(lease).await, lost);
        assert_eq!(store.commit(Txn::new().put_leased("/leased/5", "", lease)).await.map(|_| ()), lost);
    }
    // What is not done does not need a lease.
    let not_done = Txn::new().if_absent("/leased/4").put_leased("/leased/4", "", expired);
    assert!(!store.commit(not_done).await.expect("an answer").succeeded);
}

async fn a_lease_that_is_kept_alive_stays(stand: &impl Stand, store: &dyn Store) {
    let lease = store.grant(Duration::from_millis(1500)).await.expect("a lease");
    store.commit(Txn::new().put_leased("/alive", "", lease)).await.expect("a commit");
    for _ in 0..4 {
        stand.pass(Duration::from_millis(700)).await;
        let left = store.keep_alive(lease).await.expect("the lease is alive");
        assert!(left >= Duration::from_secs(2), "rounded up to seconds: {left:?}");
    }
    assert!(store.get("/alive").await.expect("an answer").is_some());
    store.revoke(lease).await.expect("it is alive");
}

async fn a_key_leaves_its_lease_when_it_is_put_without(store: &dyn Store) {
    let first = store.grant(Duration::from_secs(60)).await.expect("a lease");
    let second = store.grant(Duration::from_secs(60)).await.expect("a lease");
    let txn = Txn::new().put_leased("/leave/a", "", first).put_leased("/leave/b", "", first);
    store.commit(txn).await.expect("a commit");
    let txn = Txn::new().put("/leave/a", "").put_leased("/leave/b", "", second);
    store.commit(txn).await.expect("a commit");
    store.revoke(first).await.expect("it is alive");
    assert_eq!(keys(&store.range("/leave/", 9, None).await.expect("a range")), ["/leave/a", "/leave/b"]);
    store.revoke(second).await.expect("it is alive");
    assert_eq!(keys(&store.range("/leave/", 9, None).await.expect("a range")), ["/leave/a"]);
}

async fn a_watch_that_missed_too_much_says_so(stand: &impl Stand, store: &dyn Store) {
    let first = put(store, "/compact", "1").await;
    put(store, "/compact", "2").await;
    let last = put(store, "/compact", "3").await;
    stand.compact(last).await;
    let mut watch = store.watch("/compact", first).await.expect("a watch");
    let ended = tokio::time::timeout(Duration::from_secs(5), watch.next()).await.expect("an end");
    assert_eq!(ended, Err(Error::Compacted { oldest: last }));
    let mut watch = store.watch("/compact", last).await.expect("a watch");
    assert_eq!(next(&mut watch).await.revision, last);
}
