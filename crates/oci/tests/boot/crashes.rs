//! Boots that are killed, and machines that die, at every single call.

use crate::invariants::{one_cluster, seeds};
use crate::world::{Crash, Faults, World};

const ALL: [usize; 4] = [1, 2, 3, 4];

/// More than a boot has.
const CALLS: u64 = 260;

#[test]
fn a_master_killed_at_any_call_goes_on_when_it_is_started_again() {
    for at in 1..CALLS {
        for machine in ALL {
            for after in [false, true] {
                let world = World::new(at);
                world.crash(machine, Crash { at, after, machine: at % 2 == 0 });
                let outcome = world.boot(&ALL);
                one_cluster(&world, &outcome, &ALL, at);
            }
        }
    }
}

#[test]
fn all_masters_killed_at_random_calls_recover() {
    for seed in seeds(400) {
        let faults = Faults { errors: 3, stalls: 4, lag_ms: 20_000 };
        let world = World::new(seed).with_delays().with_faults(faults);
        for machine in ALL {
            let (at, after, machine_dies) =
                (world.random(1..CALLS), world.random(0..2) == 0, world.random(0..2) == 0);
            world.crash(machine, Crash { at, after, machine: machine_dies });
        }
        let outcome = world.boot(&ALL);
        one_cluster(&world, &outcome, &ALL, seed);
    }
}

#[test]
fn a_killed_boot_says_where_it_was() {
    let world = World::new(7);
    // Its peers never come.
    world.crash(1, Crash { at: 100, after: false, machine: false });
    let failure = world.boot_once(1).unwrap_err();
    assert!(failure.contains("waited") && failure.contains("the addresses of all masters"), "{failure}");
    let resumed = world.lines(1).into_iter().find(|line| line.starts_with("the last boot was stopped"));
    assert!(resumed.is_some_and(|line| line.contains("going on from there")), "{:?}", world.lines(1));
}

#[test]
fn a_rebuilt_master_replaces_its_old_member_wherever_it_is_killed() {
    for at in (1..120).chain([CALLS]) {
        for after in [false, true] {
            let world = World::new(at);
            let outcome = world.boot(&ALL);
            one_cluster(&world, &outcome, &ALL, at);
            let before = world.vault_value("LIVEKIT_API_SECRET");
            world.rebuild(2);
            world.crash(2, Crash { at, after, machine: true });
            let outcome = world.boot(&[2]);
            one_cluster(&world, &outcome, &[2], at);
            assert_eq!(world.vault_value("LIVEKIT_API_SECRET"), before);
        }
    }
}

#[test]
fn two_masters_rebuilt_at_once_never_cost_the_majority() {
    // Two of four dead: no majority, and no way to change members until one of the old two is back.
    for seed in seeds(50) {
        let world = World::new(seed);
        let outcome = world.boot(&ALL);
        one_cluster(&world, &outcome, &ALL, seed);
        world.rebuild(2);
        let outcome = world.boot(&[2]);
        one_cluster(&world, &outcome, &[2], seed);
        world.rebuild(3);
        let outcome = world.boot(&[3]);
        one_cluster(&world, &outcome, &[3], seed);
        assert_eq!(world.state.borrow().etcd.clusters_formed, 1);
    }
}

#[test]
fn with_two_masters_gone_a_rebuilt_one_waits_and_begins_no_second_cluster() {
    let world = World::new(3);
    let outcome = world.boot(&ALL);
    one_cluster(&world, &outcome, &ALL, 3);
    world.rebuild(2);
    world.rebuild(3);
    let failure = world.boot_once(2).unwrap_err();
    assert!(failure.contains("a place in the store's cluster"), "{failure}");
    assert_eq!(world.state.borrow().etcd.clusters_formed, 1);
}
