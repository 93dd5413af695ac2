use super::*;
use crate::record::claim_key;

const OURS: LeaseId = LeaseId(1);

fn view(urls: usize) -> View {
    let mut view = View::new("a".into(), urls);
    view.set_lease(Some(OURS));
    view
}

fn event(room: &str, id: &str, revision: u64, node: &str) -> Event {
    let record = Record { node: node.into(), index: 0, at_ms: 0, body: id.into() };
    put(event_key(room, id), serde_json::to_vec(&record).expect("JSON"), revision, None)
}

fn claim(room: &str, node: &str, revision: u64, lease: LeaseId) -> Event {
    let value = serde_json::to_vec(&Claim { node: node.into() }).expect("JSON");
    put(claim_key(room), value, revision, Some(lease))
}

fn put(key: String, value: Vec<u8>, mod_revision: u64, lease: Option<LeaseId>) -> Event {
    Event::Put(Entry { key, value: value.into(), mod_revision, lease })
}

fn delete(key: String) -> Event {
    Event::Delete { key, mod_revision: 99 }
}

fn sent(deliveries: &[Delivery]) -> Vec<(&str, usize)> {
    let mut sent: Vec<_> = deliveries.iter().map(|it| (it.record.body.as_str(), it.url)).collect();
    sent.sort();
    sent
}

#[test]
fn a_slow_url_delays_neither_the_other_url_nor_other_rooms() {
    let (mut view, now) = (view(2), Instant::now());
    for (revision, room) in [(1, "x"), (2, "y")] {
        view.apply(claim(room, "a", revision, OURS), now);
    }
    for (revision, id) in [(3, "x1"), (4, "x2")] {
        view.apply(event("x", id, revision, "a"), now);
    }
    view.apply(event("y", "y1", 5, "a"), now);
    let first = view.start();
    assert_eq!(sent(&first), [("x1", 0), ("x1", 1), ("y1", 0), ("y1", 1)]);
    let fast = first.iter().find(|it| it.record.body == "x1" && it.url == 1).expect("sent");
    assert_eq!(view.finish(fast, now), None, "URL 0 is not through with it");
    let second = view.start();
    assert_eq!(sent(&second), [("x2", 1)]);
    let slow = first.iter().find(|it| it.record.body == "x1" && it.url == 0).expect("sent");
    assert_eq!(view.finish(slow, now), Some(event_key("x", "x1")));
    assert_eq!(sent(&view.start()), [("x2", 0)]);
}

#[test]
fn events_go_in_the_order_of_commits_whoever_wrote_them() {
    let (mut view, now) = (view(1), Instant::now());
    view.apply(event("x", "EV_b", 7, "dead"), now);
    view.apply(event("x", "EV_a", 8, "a"), now);
    view.apply(claim("x", "a", 9, OURS), now);
    let first = view.start();
    assert_eq!(sent(&first), [("EV_b", 0)]);
    view.finish(&first[0], now);
    assert_eq!(sent(&view.start()), [("EV_a", 0)]);
}

#[test]
fn what_a_dead_node_left_is_claimed_and_what_a_live_one_does_is_not() {
    let (mut view, now) = (view(1), Instant::now());
    view.apply(claim("x", "b", 1, LeaseId(2)), now);
    view.apply(event("x", "x1", 2, "b"), now);
    let later = now + ORPHAN_AFTER;
    assert_eq!(view.orphans(later), [], "its node is alive");
    assert!(view.start().is_empty());
    view.apply(delete(claim_key("x")), later);
    assert_eq!(view.orphans(later), [Orphan { room: "x".into(), over: None }]);
    view.apply(claim("x", "c", 3, LeaseId(3)), later);
    assert_eq!(view.orphans(later), [], "another was faster");
}

#[test]
fn an_event_of_another_node_is_left_to_it_for_a_moment() {
    let (mut view, now) = (view(1), Instant::now());
    view.apply(event("x", "x1", 2, "b"), now);
    view.apply(event("y", "y1", 3, "a"), now);
    assert_eq!(view.orphans(now), [Orphan { room: "y".into(), over: None }]);
    assert_eq!(view.orphans(now + ORPHAN_AFTER).len(), 2);
}

#[test]
fn a_node_that_was_restarted_takes_its_own_claims_over_at_once() {
    let (mut view, now) = (view(1), Instant::now());
    view.replace(
        [claim("x", "a", 4, LeaseId(77)), event("x", "x1", 3, "a")]
            .into_iter()
            .filter_map(|event| match event {
                Event::Put(entry) => Some(entry),
                Event::Delete { .. } => None,
            })
            .collect(),
        now,
    );
    assert!(view.start().is_empty(), "the claim is of another life");
    assert_eq!(view.orphans(now), [Orphan { room: "x".into(), over: Some(4) }]);
}

#[test]
fn without_a_lease_nothing_is_sent_or_claimed() {
    let (mut view, now) = (view(1), Instant::now());
    view.apply(claim("x", "a", 1, OURS), now);
    view.apply(event("x", "x1", 2, "a"), now);
    view.set_lease(None);
    assert!(view.start().is_empty() && view.orphans(now).is_empty());
}

#[test]
fn a_room_that_is_over_is_forgotten() {
    let (mut view, now) = (view(1), Instant::now());
    view.apply(event("x", "x1", 2, "a"), now);
    view.apply(claim("x", "a", 3, OURS), now);
    let sent = view.start();
    assert_eq!(view.finish(&sent[0], now), Some(event_key("x", "x1")));
    view.apply(delete(event_key("x", "x1")), now);
    assert_eq!((view.pending(), view.quiet(now)), (0, vec![]));
    assert_eq!(view.quiet(now + RELEASE_AFTER), [("x".to_owned(), 3)]);
    view.apply(delete(claim_key("x")), now);
    assert!(view.rooms.is_empty() && view.changed.is_empty());
}

#[test]
fn a_view_that_begins_anew_does_not_send_twice() {
    let (mut view, now) = (view(1), Instant::now());
    let entries = |events: Vec<Event>| {
        let entry = |event| match event {
            Event::Put(entry) => entry,
            Event::Delete { .. } => unreachable!("only puts"),
        };
        events.into_iter().map(entry).collect::<Vec<_>>()
    };
    let all = || vec![claim("x", "a", 1, OURS), event("x", "x1", 2, "a"), event("x", "x2", 3, "a")];
    view.replace(entries(all()), now);
    let sent_first = view.start();
    assert_eq!(sent(&sent_first), [("x1", 0)]);
    view.replace(entries(all()), now);
    assert!(view.start().is_empty(), "x1 is on its way");
    view.finish(&sent_first[0], now);
    view.replace(entries(all()[..2].to_vec()), now);
    assert!(view.start().is_empty(), "x1 is delivered and x2 is gone");
    assert_eq!(view.pending(), 1);
}
