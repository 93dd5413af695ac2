use proptest::prelude::*;

use super::link::{Link, Media, Simulation};
use super::*;

const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;

/// `capacity` within 15 %.
fn assert_near(what: &str, estimate_bps: f64, capacity_bps: f64) {
    let ratio = estimate_bps / capacity_bps;
    assert!((0.85..=1.15).contains(&ratio), "{what}: {estimate_bps:.0} of {capacity_bps:.0} ({ratio:.2})");
}

#[test]
fn estimate_converges_to_any_capacity() {
    for capacity in [300e3, 1e6, 2.5e6, 8e6, 20e6] {
        for seed in SEEDS {
            let mut simulation = Simulation::new(Link::new(capacity), Media::Follows(40e6), 300_000, seed);
            simulation.run(40.0);
            assert_near("steady", simulation.median_bps(20), capacity);
        }
    }
}

#[test]
fn capacity_is_found_within_seconds_of_joining() {
    for capacity in [2e6, 8e6] {
        let mut simulation = Simulation::new(Link::new(capacity), Media::Follows(40e6), 300_000, 1);
        simulation.run(3.0);
        assert!(simulation.estimate_bps() > 0.7 * capacity, "{} of {capacity}", simulation.estimate_bps());
    }
}

#[test]
fn halved_capacity_is_noticed_within_two_seconds() {
    for capacity in [1e6, 3e6, 10e6] {
        for seed in SEEDS {
            let mut simulation = Simulation::new(Link::new(capacity), Media::Follows(40e6), 300_000, seed);
            simulation.run(30.0);
            simulation.link.capacity_bps = capacity / 2.0;
            simulation.run(2.0);
            let estimate = simulation.estimate_bps();
            assert!(estimate < 0.5 * capacity * 1.05, "{estimate:.0} of {:.0}", capacity / 2.0);
            assert!(estimate > 0.5 * capacity * 0.5, "{estimate:.0} of {:.0}", capacity / 2.0);
            simulation.run(20.0);
            assert_near("halved", simulation.median_bps(10), capacity / 2.0);
        }
    }
}

#[test]
fn recovered_capacity_is_found_again() {
    for seed in SEEDS {
        let mut simulation = Simulation::new(Link::new(4e6), Media::Follows(40e6), 300_000, seed);
        simulation.run(20.0);
        simulation.link.capacity_bps = 1e6;
        simulation.run(10.0);
        simulation.link.capacity_bps = 4e6;
        simulation.run(30.0);
        assert_near("recovered", simulation.median_bps(10), 4e6);
    }
}

#[test]
fn random_loss_does_not_collapse_the_estimate() {
    for loss in [0.01, 0.05, 0.10] {
        for seed in SEEDS {
            let link = Link { loss, ..Link::new(3e6) };
            let mut simulation = Simulation::new(link, Media::Follows(40e6), 300_000, seed);
            simulation.run(60.0);
            assert_near("lossy", simulation.median_bps(20), 3e6);
        }
    }
}

#[test]
fn heavy_random_loss_is_recognised_as_inherent() {
    for seed in SEEDS {
        let link = Link { loss: 0.2, ..Link::new(3e6) };
        let mut simulation = Simulation::new(link, Media::Follows(40e6), 300_000, seed);
        simulation.run(60.0);
        assert!(simulation.median_bps(20) > 1.5e6, "{}", simulation.median_bps(20));
    }
}

#[test]
fn shallow_buffer_that_only_drops_is_respected() {
    for seed in SEEDS {
        let link = Link { max_queue_ms: 60.0, jitter_ms: 0.2, ..Link::new(2e6) };
        let mut simulation = Simulation::new(link, Media::Constant(3e6), 3_000_000, seed);
        simulation.run(20.0);
        assert!(simulation.estimate_bps() < 2.4e6, "{}", simulation.estimate_bps());
        assert!(simulation.estimate_bps() > 0.8e6, "{}", simulation.estimate_bps());
    }
}

#[test]
fn jitter_is_not_taken_for_congestion() {
    for jitter_ms in [5.0, 15.0] {
        for seed in SEEDS {
            let link = Link { jitter_ms, ..Link::new(3e6) };
            let mut simulation = Simulation::new(link, Media::Follows(40e6), 300_000, seed);
            simulation.run(60.0);
            assert_near("jitter", simulation.median_bps(20), 3e6);
        }
    }
}

#[test]
fn estimate_stays_when_media_needs_less() {
    for seed in SEEDS {
        let mut simulation = Simulation::new(Link::new(8e6), Media::Follows(40e6), 300_000, seed);
        simulation.run(30.0);
        simulation.media = Media::Constant(400e3);
        simulation.run(60.0);
        assert!(simulation.estimate_bps() > 0.75 * 8e6, "{}", simulation.estimate_bps());
        assert!(simulation.estimate_bps() < 1.15 * 8e6, "{}", simulation.estimate_bps());
    }
}

#[test]
fn growth_without_proof_stops_at_half_more_than_arrives() {
    let mut simulation = Simulation::new(Link::new(20e6), Media::Constant(1e6), 300_000, 1);
    simulation.wishes = false;
    simulation.run(120.0);
    // The initial probes may show half more than six times the initial estimate.
    assert!(simulation.estimate_bps() < 1.5 * 6.0 * 300e3 + 1.0, "{}", simulation.estimate_bps());
}

#[test]
fn media_below_a_falling_capacity_keeps_flowing_and_above_it_is_cut() {
    for seed in SEEDS {
        let mut simulation = Simulation::new(Link::new(8e6), Media::Follows(40e6), 300_000, seed);
        simulation.run(30.0);
        simulation.media = Media::Constant(1e6);
        simulation.run(5.0);
        simulation.link.capacity_bps = 500e3;
        simulation.run(2.0);
        assert!(simulation.estimate_bps() < 550e3, "{}", simulation.estimate_bps());
    }
}

#[test]
fn simulcast_layers_are_climbed_by_probing() {
    for seed in SEEDS {
        let layers = Media::Layers(vec![200e3, 700e3, 2.5e6]);
        let mut simulation = Simulation::new(Link::new(4e6), layers, 300_000, seed);
        simulation.run(8.0);
        assert!(simulation.estimate_bps() > 2.5e6, "{}", simulation.estimate_bps());
        simulation.link.capacity_bps = 1e6;
        simulation.run(10.0);
        let estimate = simulation.median_bps(5);
        assert!((500e3..1.15e6).contains(&estimate), "{estimate}");
        simulation.link.capacity_bps = 4e6;
        simulation.run(40.0);
        assert!(simulation.median_bps(5) > 2.5e6, "{}", simulation.median_bps(5));
    }
}

#[test]
fn cross_traffic_is_yielded_to_and_its_end_noticed() {
    for seed in SEEDS {
        let mut simulation = Simulation::new(Link::new(6e6), Media::Follows(40e6), 300_000, seed);
        simulation.run(20.0);
        simulation.link.cross_bps = 3e6;
        simulation.run(20.0);
        assert_near("beside cross traffic", simulation.median_bps(10), 3e6);
        simulation.link.cross_bps = 0.0;
        simulation.run(40.0);
        assert_near("alone again", simulation.median_bps(10), 6e6);
    }
}

#[test]
fn steady_state_keeps_the_queue_short() {
    let mut simulation = Simulation::new(Link::new(2e6), Media::Follows(40e6), 300_000, 1);
    simulation.run(20.0);
    simulation.worst_queue_ms = 0.0;
    simulation.run(60.0);
    assert!(simulation.worst_queue_ms < 350.0, "{}", simulation.worst_queue_ms);
}

#[test]
fn congestion_before_a_pause_does_not_outlive_it() {
    let mut simulation = Simulation::new(Link::new(4e6), Media::Constant(3e6), 300_000, 1);
    simulation.run(10.0);
    simulation.link.capacity_bps = 300e3;
    simulation.run(1.0);
    let now = simulation.now();
    assert!(simulation.estimator.is_congested(now));
    assert!(!simulation.estimator.is_congested(now + VERDICT_LIFETIME));
    // Nothing is sent any more, and still somebody would like to.
    simulation.estimator.set_needed_bps(now, Some(2_000_000));
    let probe_at = simulation.estimator.next_timeout().unwrap();
    assert!(simulation.estimator.next_padding(probe_at.max(now + VERDICT_LIFETIME)).is_some());
}

#[test]
fn content_allocator_costs_neither_padding_nor_timers() {
    let mut simulation = Simulation::new(Link::new(20e6), Media::Constant(250e3), 1_000_000, 1);
    simulation.run(5.0);
    let padding = simulation.padding_bytes;
    simulation.run(60.0);
    assert_eq!(simulation.padding_bytes, padding);
    assert_eq!(simulation.estimator.next_timeout(), None);
}

#[test]
fn vain_probes_become_rare() {
    let mut simulation = Simulation::new(Link::new(1e6), Media::Layers(vec![200e3, 5e6]), 300_000, 1);
    simulation.run(30.0);
    let padding = simulation.padding_bytes;
    simulation.run(300.0);
    assert!(simulation.padding_bytes - padding < 300_000, "{}", simulation.padding_bytes - padding);
}

#[test]
fn receiver_reports_rule_only_without_transport_feedback() {
    let start = Instant::now();
    let mut estimator = Estimator::new(1_000_000, 50_000, 5_000_000);
    estimator.on_rr_loss(start, 0.5);
    assert_eq!(estimator.estimate_bps(), 750_000);
    assert!(estimator.is_congested(start));
    estimator.on_rr_loss(start + Duration::from_millis(100), 0.5);
    assert_eq!(estimator.estimate_bps(), 750_000, "one step a second");
    estimator.on_feedback(start + Duration::from_secs(2), [], None);
    estimator.on_rr_loss(start + Duration::from_millis(2500), 0.5);
    assert_eq!(estimator.estimate_bps(), 750_000);
    for second in 4..200 {
        estimator.on_rr_loss(start + Duration::from_secs(second), 1.0);
    }
    assert_eq!(estimator.estimate_bps(), 50_000);
}

fn arbitrary_result() -> impl Strategy<Value = PacketResult> {
    let wild = (any::<u32>(), prop::option::of(any::<i32>()), any::<u16>(), 0u16..20, any::<bool>());
    wild.prop_map(|(sent_us, arrival_us, size, cluster, was_lost)| PacketResult {
        seq: 0,
        sent_us: u64::from(sent_us),
        arrival_us: arrival_us.map(|us| i64::from(us) * 1000),
        size,
        cluster: ClusterId(cluster),
        was_lost,
    })
}

proptest! {
    #[test]
    fn any_feedback_leaves_the_estimate_in_bounds(
        steps in prop::collection::vec(
            (prop::collection::vec(arbitrary_result(), 0..50), 0u64..3000, any::<u32>(), any::<f32>()), 1..60),
    ) {
        let mut now = Instant::now();
        let mut estimator = Estimator::new(500_000, 100_000, 3_000_000);
        estimator.start(now);
        for (results, wait, wish, loss) in steps {
            now += Duration::from_millis(wait);
            estimator.set_needed_bps(now, (wish % 3 != 0).then_some(u64::from(wish)));
            estimator.on_media(usize::from(wish as u16));
            for _ in 0..100 {
                match estimator.next_padding(now) {
                    Some(padding) => prop_assert!(padding.bytes <= PROBE_MAX_CHUNK),
                    None => break,
                }
            }
            estimator.on_feedback(now, results, Some(Duration::from_millis(wait)));
            estimator.on_rr_loss(now, loss);
            prop_assert!((100_000..=3_000_000).contains(&estimator.estimate_bps()));
        }
    }
}
