use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

const AFTER: Duration = Duration::from_secs(300);
const GRACE: Duration = Duration::from_secs(420);

fn time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

fn id(n: usize) -> Ocid {
    Ocid::new(format!("ocid1.instance.{n}"))
}

fn detached(n: usize) -> Listed {
    let created = time() - Duration::from_secs(3600);
    Listed { id: id(n), in_pool: false, gone: false, tagged: true, created }
}

fn node(n: usize, rooms: u32, draining: bool) -> NodeLoad {
    NodeLoad { instance_id: Some(id(n)), rooms, participants: rooms * 3, cpu: 0.1, draining }
}

/// Watches the same registry for so many seconds.
fn watch(watch: &mut OrphanWatch, from: Instant, seconds: u64, nodes: &[NodeLoad]) -> Instant {
    for second in 0..=seconds {
        watch.observe(from + Duration::from_secs(second), Some(nodes));
    }
    from + Duration::from_secs(seconds)
}

fn judge(watch: &OrphanWatch, now: Instant, listed: &[Listed]) -> Vec<Find> {
    watch.judge(now, time(), true, GRACE, listed)
}

#[test]
fn a_node_that_died_in_mid_drain_is_found() {
    let start = Instant::now();
    let mut orphans = OrphanWatch::new(start, AFTER);
    let now = watch(&mut orphans, start, 60, &[node(1, 2, true)]);
    // It is killed; the registry forgets it.
    let now = watch(&mut orphans, now, 299, &[]);
    assert_eq!(judge(&orphans, now, &[detached(1)]), vec![]);
    let now = watch(&mut orphans, now, 1, &[]);
    let found = judge(&orphans, now, &[detached(1)]);
    assert!(
        matches!(&found[..], [Find::Orphan { id: found, why }] if *found == id(1) && why.contains("left the cluster"))
    );
}

#[test]
fn a_drained_node_that_does_not_end_itself_is_found() {
    let start = Instant::now();
    let mut orphans = OrphanWatch::new(start, AFTER);
    let now = watch(&mut orphans, start, 600, &[node(1, 1, true)]);
    assert_eq!(judge(&orphans, now, &[detached(1)]), vec![], "it serves a room");
    let now = watch(&mut orphans, now, 299, &[node(1, 0, true)]);
    assert_eq!(judge(&orphans, now, &[detached(1)]), vec![]);
    let now = watch(&mut orphans, now, 1, &[node(1, 0, true)]);
    assert!(matches!(&judge(&orphans, now, &[detached(1)])[..], [Find::Orphan { .. }]));
}

#[test]
fn a_node_that_was_detached_by_hand_is_emptied_first() {
    let start = Instant::now();
    let mut orphans = OrphanWatch::new(start, AFTER);
    let now = watch(&mut orphans, start, 3600, &[node(1, 0, false)]);
    let mut listed = detached(1);
    listed.tagged = false;
    assert_eq!(
        judge(&orphans, now, &[listed]),
        vec![Find::Drain { id: id(1) }],
        "idle, but rooms may come any time"
    );
}

#[test]
fn a_master_that_has_just_started_knows_nothing_yet() {
    let start = Instant::now();
    let mut orphans = OrphanWatch::new(start, AFTER);
    let now = watch(&mut orphans, start, 299, &[]);
    assert_eq!(judge(&orphans, now, &[detached(1)]), vec![]);
    let now = watch(&mut orphans, now, 1, &[]);
    assert!(matches!(&judge(&orphans, now, &[detached(1)])[..], [Find::Orphan { .. }]));
}

#[test]
fn while_the_store_does_not_answer_time_does_not_count() {
    let start = Instant::now();
    let mut orphans = OrphanWatch::new(start, AFTER);
    let now = watch(&mut orphans, start, 200, &[]);
    orphans.observe(now, None);
    let now = watch(&mut orphans, now, 299, &[]);
    assert_eq!(judge(&orphans, now, &[detached(1), detached(2)]), vec![]);
}

#[test]
fn an_instance_that_the_pool_is_just_making_is_left_alone() {
    let start = Instant::now();
    let mut orphans = OrphanWatch::new(start, AFTER);
    let now = watch(&mut orphans, start, 1000, &[]);
    let mut new = detached(1);
    new.tagged = false;
    new.created = time() - Duration::from_secs(60);
    assert_eq!(judge(&orphans, now, &[new]), vec![]);
    assert_eq!(orphans.judge(now, time(), false, GRACE, &[detached(1)]), vec![], "the list is not complete");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Nodes come, go, fill and empty, the store is away at times: an orphan is never in the pool, was never seen
    /// with a room within the last five minutes, and nothing that nobody needs is forgotten.
    #[test]
    fn what_serves_or_is_in_the_pool_is_never_an_orphan(
        story in prop::collection::vec((0usize..4, 0u8..6, 1u64..200), 1..60),
        pooled in prop::collection::vec(any::<bool>(), 4),
    ) {
        let start = Instant::now();
        let mut orphans = OrphanWatch::new(start, AFTER);
        // `None`: not registered. Rooms and whether it drains.
        let mut nodes: [Option<(u32, bool)>; 4] = [Some((0, false)); 4];
        let mut busy_at = [start; 4];
        let mut free_since = [start; 4];
        // When it was last registered or left.
        let mut moved_at = [start; 4];
        let mut now = start;
        for (n, event, seconds) in story {
            let (mut away, was_known) = (false, nodes[n].is_some());
            match event {
                0 => nodes[n] = None,
                1 => nodes[n] = Some((0, false)),
                2 => nodes[n] = Some((3, false)),
                3 => nodes[n] = nodes[n].map(|(rooms, _)| (rooms, true)),
                4 => nodes[n] = nodes[n].map(|_| (0, true)),
                _ => away = true,
            }
            if was_known != nodes[n].is_some() {
                moved_at[n] = now;
            }
            let registry: Vec<NodeLoad> = nodes
                .iter()
                .enumerate()
                .filter_map(|(n, held)| held.map(|(rooms, draining)| node(n, rooms, draining)))
                .collect();
            for _ in 0..seconds {
                now += Duration::from_secs(1);
                orphans.observe(now, (!away).then_some(&registry[..]));
                for n in 0..4 {
                    let needed = nodes[n].is_some_and(|(rooms, draining)| rooms > 0 || !draining);
                    if needed {
                        busy_at[n] = now;
                    }
                    if needed || away {
                        free_since[n] = now;
                    }
                }
            }
            let listed: Vec<Listed> =
                (0..4).map(|n| Listed { in_pool: pooled[n], ..detached(n) }).collect();
            let found = judge(&orphans, now, &listed);
            for find in &found {
                match find {
                    Find::Orphan { id: orphan, .. } => {
                        let n = (0..4).find(|n| id(*n) == *orphan).unwrap();
                        prop_assert!(!pooled[n]);
                        prop_assert!(now - busy_at[n] >= AFTER, "{n} was needed {:?} ago", now - busy_at[n]);
                    }
                    Find::Drain { id: drain } => {
                        let n = (0..4).find(|n| id(*n) == *drain).unwrap();
                        prop_assert!(!pooled[n]);
                    }
                }
            }
            for n in 0..4 {
                if !pooled[n] && now - free_since[n].max(moved_at[n]) > AFTER {
                    let orphan = found.iter().any(|find| match find {
                        Find::Orphan { id: orphan, .. } => *orphan == id(n),
                        Find::Drain { .. } => false,
                    });
                    prop_assert!(orphan, "{} is forgotten", id(n));
                }
            }
        }
    }
}
