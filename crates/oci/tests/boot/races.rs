//! Masters that boot at the same time, in a cloud that is slow, fails, and shows old values.

use crate::invariants::{one_cluster, seeds};
use crate::world::{Faults, World};

const ALL: [usize; 4] = [1, 2, 3, 4];

#[test]
fn four_masters_in_any_order_form_one_cluster() {
    for seed in seeds(200) {
        let world = World::new(seed);
        let outcome = world.boot(&ALL);
        one_cluster(&world, &outcome, &ALL, seed);
        assert!(outcome.failures.is_empty(), "seed {seed}: {:?}", outcome.failures);
        assert_eq!(world.state.borrow().keys.len(), 1, "seed {seed}");
    }
}

#[test]
fn policies_the_vault_its_endpoint_and_the_balancer_may_come_minutes_late() {
    for seed in seeds(200) {
        let world = World::new(seed).with_delays();
        let outcome = world.boot(&ALL);
        one_cluster(&world, &outcome, &ALL, seed);
        assert!(outcome.failures.is_empty(), "seed {seed}: {:?}", outcome.failures);
        let environment = world.file(3, "/opt/openvidu/config/openvidu.env");
        assert!(environment.contains("OPENVIDU_URL=https://203-0-113-7.sslip.io/\n"), "{environment}");
    }
}

#[test]
fn a_cloud_that_fails_loses_answers_and_shows_old_values_only_takes_longer() {
    for seed in seeds(300) {
        let faults = Faults { errors: 8, stalls: 0, lag_ms: 60_000 };
        let world = World::new(seed).with_delays().with_faults(faults);
        let outcome = world.boot(&ALL);
        one_cluster(&world, &outcome, &ALL, seed);
    }
}

#[test]
fn a_master_that_stands_still_past_its_lock_and_goes_on_spoils_nothing() {
    for seed in seeds(500) {
        let faults = Faults { errors: 3, stalls: 15, lag_ms: 20_000 };
        let world = World::new(seed).with_faults(faults);
        let outcome = world.boot(&ALL);
        one_cluster(&world, &outcome, &ALL, seed);
    }
}

#[test]
fn media_nodes_come_before_and_after_the_masters() {
    for seed in seeds(100) {
        let faults = Faults { errors: 4, stalls: 2, lag_ms: 30_000 };
        let world = World::new(seed).with_delays().with_faults(faults);
        world.add_media(5);
        world.add_media(6);
        let outcome = world.boot(&[1, 2, 3, 4, 5]);
        one_cluster(&world, &outcome, &[1, 2, 3, 4, 5], seed);
        let late = world.boot(&[6]);
        assert!(late.succeeded.contains(&6), "seed {seed}: {:?}", late.failures);
        let config = world.file(6, "/etc/sala/sala.yaml");
        assert!(config.contains("node_ip: \"203.0.113.6\""), "{config}");
        assert!(config.contains("instance_id: \"ocid1.instance.oc1..machine6\""), "{config}");
        let masters = r#"masters: ["10.0.0.11:7900","10.0.0.12:7900","10.0.0.13:7900","10.0.0.14:7900"]"#;
        assert!(config.contains(masters), "{config}");
    }
}
