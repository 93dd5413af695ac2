//! The whole control plane on a virtual clock: masters, media nodes, the store and clients, with crashes,
//! restarts, stopped processes, partitions of all shapes, slow links, a store without quorum or with lost
//! answers, clock jumps and drains. A seed is a story: `SALA_CLUSTER_SEED=7` replays one with its log,
//! `SALA_CLUSTER_SEEDS=20000` runs more of them.

#[path = "simulation/clients.rs"]
mod clients;
#[path = "simulation/invariants.rs"]
mod invariants;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/store.rs"]
mod sim_store;
#[path = "simulation/story.rs"]
mod story;
#[path = "simulation/world.rs"]
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds that failed once.
const FAILED_ONCE: &[u64] = &[1, 3, 5, 7, 8, 12, 17, 20, 21, 22, 23, 32, 35, 180, 234, 430, 1385, 1665, 2716];

const SEEDS: u64 = 1000;

#[test]
fn at_most_one_node_serves_a_room_and_every_room_is_served_once_faults_end() {
    if let Some(seed) = number("SALA_CLUSTER_SEED") {
        return story::tell(seed, true).unwrap_or_else(|failure| panic!("{failure}"));
    }
    for seed in FAILED_ONCE {
        story::tell(*seed, false).unwrap_or_else(|failure| panic!("{failure}"));
    }
    let count = number("SALA_CLUSTER_SEEDS").unwrap_or(SEEDS);
    let (next, threads) = (AtomicU64::new(0), std::thread::available_parallelism().map_or(1, usize::from));
    let failures: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= count {
                    return failures;
                }
                failures.extend(story::tell(seed, false).err());
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a simulation panicked")).collect()
    });
    let shown = failures.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(
        failures.is_empty(),
        "{} of {count} seeds failed; replay with SALA_CLUSTER_SEED:\n{shown}",
        failures.len()
    );
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
