use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

const POLICY: Policy = Policy { min_nodes: 1, target_cpu: 50.0, grace: Duration::from_secs(420) };

/// A pool of nodes that have run for an hour.
#[derive(Clone, Debug)]
struct Pool {
    members: Vec<Member>,
    cpu: BTreeMap<Ocid, f64>,
    nodes: Vec<NodeLoad>,
    settled: bool,
    size: usize,
    hold: Option<String>,
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

fn id(n: usize) -> Ocid {
    Ocid::new(format!("ocid1.instance.{n}"))
}

/// Participants, rooms, CPU in percent of each.
fn pool(nodes: &[(u32, u32, f64)]) -> Pool {
    let members = (0..nodes.len()).map(|n| Member {
        id: id(n),
        running: true,
        created: now() - Duration::from_secs(3600 + n as u64),
        tagged: false,
    });
    Pool {
        members: members.collect(),
        cpu: nodes.iter().enumerate().map(|(n, (_, _, cpu))| (id(n), *cpu)).collect(),
        nodes: nodes
            .iter()
            .enumerate()
            .map(|(n, (participants, rooms, cpu))| NodeLoad {
                instance_id: Some(id(n)),
                rooms: *rooms,
                participants: *participants,
                cpu: cpu / 100.0,
                draining: false,
            })
            .collect(),
        settled: true,
        size: nodes.len(),
        hold: None,
    }
}

impl Pool {
    fn decide_by(&self, policy: &Policy) -> Verdict {
        decide(
            policy,
            &Facts {
                now: now(),
                settled: self.settled,
                size: self.size,
                members: &self.members,
                cpu_percent: &self.cpu,
                nodes: &self.nodes,
                hold: self.hold.as_deref(),
            },
        )
    }

    fn decide(&self) -> Verdict {
        self.decide_by(&POLICY)
    }

    fn kept(&self) -> String {
        let verdict = self.decide();
        assert_eq!(verdict.remove, None, "{}", verdict.reason);
        verdict.reason
    }
}

#[test]
fn the_emptiest_goes_not_the_oldest() {
    let pool = pool(&[(12, 3, 10.0), (2, 2, 12.0), (2, 1, 14.0), (30, 1, 5.0)]);
    let verdict = pool.decide();
    assert_eq!(verdict.remove, Some(id(2)));
    assert!(verdict.reason.contains("emptiest with 2 participants in 1 rooms"), "{}", verdict.reason);
}

#[test]
fn of_equals_the_idlest_goes_then_the_youngest() {
    assert_eq!(pool(&[(0, 0, 3.0), (0, 0, 2.0), (0, 0, 4.0)]).decide().remove, Some(id(1)));
    assert_eq!(pool(&[(0, 0, 3.0), (0, 0, 3.0)]).decide().remove, Some(id(0)), "0 is the younger");
}

#[test]
fn never_below_the_minimum() {
    assert!(pool(&[(0, 0, 1.0)]).kept().contains("minimum"));
    let policy = Policy { min_nodes: 3, ..POLICY };
    assert_eq!(pool(&[(0, 0, 1.0); 3]).decide_by(&policy).remove, None);
    assert!(pool(&[(0, 0, 1.0); 4]).decide_by(&policy).remove.is_some());
}

#[test]
fn draining_nodes_do_not_count_and_are_not_chosen() {
    let mut pool = pool(&[(0, 0, 1.0), (9, 2, 1.0), (5, 1, 1.0)]);
    pool.nodes[0].draining = true;
    assert_eq!(pool.decide().remove, Some(id(2)));
    pool.nodes[2].draining = true;
    assert!(pool.kept().contains("1 nodes serve, 1 are the minimum"));
}

#[test]
fn the_others_must_stay_below_the_target_with_headroom() {
    assert!(pool(&[(1, 1, 30.0), (1, 1, 30.0)]).kept().contains("would be 60 %"));
    assert!(pool(&[(1, 1, 21.0), (1, 1, 20.0)]).kept().contains("would be 41 %"), "40 is the most");
    assert!(pool(&[(1, 1, 20.0), (1, 1, 20.0)]).decide().remove.is_some());
    assert!(pool(&[(1, 1, 55.0), (1, 1, 50.0)]).kept().contains("CPU is 52 %"));
}

#[test]
fn a_peak_of_this_second_counts_although_monitoring_does_not_know_it_yet() {
    let mut pool = pool(&[(1, 1, 10.0), (1, 1, 10.0)]);
    pool.nodes[1].cpu = 0.9;
    assert!(pool.kept().contains("CPU is 50 %"));
}

#[test]
fn missing_metrics_keep_everything() {
    let mut pool = pool(&[(0, 0, 1.0), (0, 0, 1.0)]);
    pool.cpu.remove(&id(1));
    assert!(pool.kept().contains("Monitoring has no CPU of ocid1.instance.1"));
    pool.cpu.insert(id(1), f64::NAN);
    assert!(pool.kept().contains("Monitoring has no CPU"));
}

#[test]
fn a_young_node_a_changing_pool_or_a_stopped_member_keeps_everything() {
    let mut young = pool(&[(0, 0, 1.0), (0, 0, 1.0)]);
    young.members[0].created = now() - Duration::from_secs(419);
    assert!(young.kept().contains("419 s old"));
    young.members[0].created = now() + Duration::from_secs(60);
    assert!(young.kept().contains("0 s old"), "a clock that is off is no reason to remove");
    let mut changing = pool(&[(0, 0, 1.0), (0, 0, 1.0)]);
    changing.settled = false;
    assert!(changing.kept().contains("changing"));
    let mut fewer = pool(&[(0, 0, 1.0), (0, 0, 1.0)]);
    fewer.size = 3;
    assert!(fewer.kept().contains("size 3 and 2 members"));
    let mut stopped = pool(&[(0, 0, 1.0), (0, 0, 1.0)]);
    stopped.members[1].running = false;
    assert!(stopped.kept().contains("not running"));
}

#[test]
fn masters_can_hold_every_node() {
    let mut pool = pool(&[(0, 0, 1.0), (0, 0, 1.0)]);
    pool.hold = Some("rooms were refused 20 s ago".into());
    assert!(pool.kept().contains("rooms were refused"));
}

#[test]
fn a_node_that_the_cluster_does_not_know_goes_first() {
    let mut pool = pool(&[(0, 0, 10.0), (0, 0, 1.0), (0, 0, 10.0)]);
    pool.nodes.remove(1);
    let verdict = pool.decide();
    assert_eq!(verdict.remove, Some(id(1)));
    assert!(verdict.reason.contains("does not know it"));
    // But not when some node there has not said which instance it is: it may be that one.
    pool.nodes.push(NodeLoad { instance_id: None, rooms: 1, participants: 9, cpu: 0.1, draining: false });
    assert!(pool.kept().contains("cluster.instance_id"));
    pool.nodes.clear();
    assert!(pool.kept().contains("knows no node"));
}

#[test]
fn a_removal_that_was_interrupted_is_ended_or_taken_back() {
    let mut pool = pool(&[(0, 0, 10.0), (7, 2, 12.0)]);
    pool.members[1].tagged = true;
    let verdict = pool.decide();
    assert_eq!((verdict.remove, verdict.untag), (Some(id(1)), vec![]));
    pool.nodes[0].cpu = 0.9;
    let verdict = pool.decide();
    assert_eq!((verdict.remove, verdict.untag), (None, vec![id(1)]));
}

fn any_pool() -> impl Strategy<Value = Pool> {
    let node = (
        (0u32..40, 0u32..9, 0f64..100.0),
        (prop::bool::weighted(0.95), 0u64..2000, prop::bool::weighted(0.1), prop::bool::weighted(0.1)),
        (prop::bool::weighted(0.95), prop::bool::weighted(0.95)),
    );
    (prop::collection::vec(node, 0..8), prop::bool::weighted(0.9), prop::bool::weighted(0.9)).prop_map(
        |(nodes, settled, fits)| {
            let loads: Vec<_> = nodes.iter().map(|(load, ..)| *load).collect();
            let mut pool = pool(&loads);
            pool.settled = settled;
            pool.size += usize::from(!fits);
            for (n, (_, (running, age, tagged, draining), (measured, known))) in nodes.iter().enumerate() {
                pool.members[n].running = *running;
                pool.members[n].created = now() - Duration::from_secs(*age * 10);
                pool.members[n].tagged = *tagged;
                pool.nodes[n].draining = *draining;
                if !measured {
                    pool.cpu.remove(&id(n));
                }
                if !known {
                    pool.nodes[n].instance_id = Some(Ocid::new("ocid1.instance.elsewhere"));
                }
            }
            pool
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever the facts: at most one node goes, it is a serving member, enough are left, they can carry the load,
    /// nothing was uncertain, and nobody emptier stays.
    #[test]
    fn a_removal_is_always_justified(pool in any_pool(), min_nodes in 0usize..4, target_cpu in 10f64..90.0) {
        let policy = Policy { min_nodes, target_cpu, ..POLICY };
        let verdict = pool.decide_by(&policy);
        prop_assert!(!verdict.reason.is_empty());
        for id in &verdict.untag {
            prop_assert!(pool.members.iter().any(|member| member.tagged && member.id == *id));
        }
        let Some(gone) = verdict.remove else { return Ok(()) };
        prop_assert!(pool.settled && pool.size == pool.members.len());
        let load = |id: &Ocid| pool.nodes.iter().find(|node| node.instance_id.as_ref() == Some(id));
        let serving: Vec<&Member> =
            pool.members.iter().filter(|member| !load(&member.id).is_some_and(|node| node.draining)).collect();
        prop_assert!(serving.iter().any(|member| member.id == gone));
        prop_assert!(serving.len() > min_nodes);
        for member in &pool.members {
            prop_assert!(member.running && now().duration_since(member.created).unwrap() >= policy.grace);
        }
        let left: Vec<&&Member> =
            serving.iter().filter(|member| member.id != gone && load(&member.id).is_some()).collect();
        prop_assert!(!left.is_empty());
        let known = serving.iter().filter(|member| load(&member.id).is_some());
        let total: f64 = known.map(|member| pool.cpu[&member.id]).sum();
        prop_assert!(total / left.len() as f64 <= target_cpu * HEADROOM + 1e-6);
        let tagged = |id: &Ocid| pool.members.iter().any(|member| member.id == *id && member.tagged);
        if let (Some(node), false) = (load(&gone), tagged(&gone)) {
            for member in &left {
                let other = load(&member.id).unwrap();
                prop_assert!((node.participants, node.rooms) <= (other.participants, other.rooms));
            }
        }
    }
}
