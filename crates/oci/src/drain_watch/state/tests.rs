use proptest::prelude::*;

use super::*;

/// The surroundings of one instance, in virtual time.
struct World {
    start: Instant,
    now: Instant,
    watch: DrainWatch,
    marked: bool,
    membership: Option<Membership>,
    look: Option<Look>,
    end: End,
    /// The store of the cluster takes notice of a drain.
    drains: bool,
    log: Vec<(Duration, Step)>,
}

fn serving(rooms: u32) -> Look {
    Look::Known { draining: false, rooms, participants: 3 * rooms }
}

fn draining(rooms: u32) -> Look {
    Look::Known { draining: true, rooms, participants: 3 * rooms }
}

impl World {
    fn new() -> World {
        let start = Instant::now();
        World {
            start,
            now: start,
            watch: DrainWatch::new(start, Pace::default(), 1),
            marked: false,
            membership: Some(Membership::Member),
            look: Some(serving(2)),
            end: End::Comes,
            drains: true,
            log: Vec::new(),
        }
    }

    fn restart(&mut self) {
        self.watch = DrainWatch::new(self.now, Pace::default(), self.log.len() as u64);
    }

    fn run(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        loop {
            let step = self.watch.step(self.now);
            if let Step::Wait(next) = step {
                assert!(next > self.now);
                self.now = next.min(until);
                if next > until {
                    return;
                }
                continue;
            }
            self.log.push((self.now - self.start, step));
            self.now += Duration::from_millis(20);
            match step {
                Step::Wait(_) => {}
                Step::ReadTags => self.watch.tags(self.now, Some(self.marked)),
                Step::AskPool => self.watch.membership(self.now, self.membership),
                Step::StartDrain => {
                    if let (true, Some(Look::Known { draining, .. })) = (self.drains, &mut self.look) {
                        *draining = true;
                    }
                    self.watch.looked(self.now, self.look);
                }
                Step::Look => self.watch.looked(self.now, self.look),
                Step::CancelDrain => {
                    if let Some(Look::Known { draining, .. }) = &mut self.look {
                        *draining = false;
                    }
                    self.watch.cancelled(self.now, true);
                }
                Step::AskForEnd => self.watch.ended(self.now, self.end),
            }
            assert!(self.log.len() < 1_000_000, "it never waits");
        }
    }

    fn count(&self, step: Step) -> usize {
        self.log.iter().filter(|(_, taken)| *taken == step).count()
    }
}

#[test]
fn a_node_that_serves_costs_a_look_at_its_tags_and_the_pool_is_asked_now_and_then() {
    let mut world = World::new();
    world.run(3_600);
    assert_eq!(world.count(Step::StartDrain) + world.count(Step::AskForEnd), 0);
    assert!((700..=721).contains(&world.count(Step::ReadTags)), "{}", world.count(Step::ReadTags));
    assert!((10..=14).contains(&world.count(Step::AskPool)), "{}", world.count(Step::AskPool));
}

#[test]
fn a_mark_alone_drains_nothing_until_the_pool_has_let_go() {
    let mut world = World::new();
    world.marked = true;
    world.run(120);
    assert_eq!(world.count(Step::StartDrain), 0, "the function has marked it and not detached it");
    world.membership = Some(Membership::Out);
    world.run(20);
    assert_eq!(world.count(Step::StartDrain), 1);
    assert!(world.watch.is_leaving());
    world.run(3_600);
    assert_eq!(world.count(Step::AskForEnd), 0, "it serves rooms");
    world.look = Some(draining(0));
    world.run(30);
    assert_eq!(world.count(Step::AskForEnd), 1);
}

#[test]
fn a_mark_that_is_taken_back_is_no_matter() {
    let mut world = World::new();
    world.marked = true;
    world.run(60);
    world.marked = false;
    world.run(3_600);
    assert_eq!(world.count(Step::StartDrain), 0);
}

#[test]
fn an_end_that_does_not_come_is_asked_for_for_ever_with_growing_pauses() {
    let mut world = World::new();
    (world.marked, world.membership, world.look) = (true, Some(Membership::Out), Some(draining(0)));
    world.end = End::Not;
    world.run(86_400);
    let asked: Vec<Duration> =
        world.log.iter().filter(|(_, step)| *step == Step::AskForEnd).map(|(at, _)| *at).collect();
    assert!((200..400).contains(&asked.len()), "{} times in a day", asked.len());
    assert!(asked[1] - asked[0] < Duration::from_secs(7));
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] <= Duration::from_secs(400)));
    world.end = End::Comes;
    world.run(3_600);
    assert!(world.count(Step::AskForEnd) > asked.len(), "an end that was promised and did not come");
}

#[test]
fn a_restart_in_mid_drain_goes_on() {
    let mut world = World::new();
    (world.marked, world.membership) = (true, Some(Membership::Out));
    world.run(30);
    assert_eq!(world.count(Step::StartDrain), 1);
    world.restart();
    world.run(60);
    assert_eq!(world.count(Step::StartDrain), 1, "the cluster drains it already");
    world.look = Some(draining(0));
    world.restart();
    world.run(60);
    assert!(world.count(Step::AskForEnd) >= 1);
}

#[test]
fn a_drain_that_somebody_cancels_begins_again() {
    let mut world = World::new();
    (world.marked, world.membership) = (true, Some(Membership::Out));
    world.run(30);
    world.look = Some(serving(1));
    world.run(30);
    assert_eq!(world.count(Step::StartDrain), 2);
}

#[test]
fn a_drain_that_the_cluster_does_not_take_is_tried_each_look() {
    let mut world = World::new();
    (world.marked, world.membership, world.drains) = (true, Some(Membership::Out), false);
    world.run(61);
    assert!((8..=14).contains(&world.count(Step::StartDrain)), "{:?}", world.log);
}

#[test]
fn a_node_whose_process_is_dead_ends_after_a_minute() {
    let mut world = World::new();
    (world.marked, world.membership, world.look) = (true, Some(Membership::Out), Some(Look::Unknown));
    world.run(50);
    assert_eq!(world.count(Step::AskForEnd), 0, "it may be restarting");
    world.run(30);
    assert_eq!(world.count(Step::AskForEnd), 1);
}

#[test]
fn without_a_master_that_answers_nothing_is_empty() {
    let mut world = World::new();
    (world.marked, world.membership, world.look) = (true, Some(Membership::Out), None);
    world.run(3_600);
    assert_eq!(world.count(Step::AskForEnd), 0);
}

#[test]
fn an_instance_that_was_detached_by_hand_drains_and_one_that_is_just_made_does_not() {
    let mut world = World::new();
    world.run(400);
    world.membership = Some(Membership::Out);
    world.run(600);
    assert_eq!(world.count(Step::StartDrain), 1);
    let mut new = World::new();
    new.membership = Some(Membership::Out);
    new.run(3_600);
    assert_eq!(new.count(Step::StartDrain), 0, "the pool has never listed it");
}

#[test]
fn a_pool_that_is_gone_drains_only_what_was_marked() {
    let mut world = World::new();
    world.run(400);
    world.membership = Some(Membership::NoPool);
    world.run(3_600);
    assert_eq!(world.count(Step::StartDrain), 0);
    world.marked = true;
    world.run(60);
    assert_eq!(world.count(Step::StartDrain), 1);
}

#[test]
fn an_instance_that_is_attached_again_serves_again() {
    let mut world = World::new();
    (world.marked, world.membership) = (true, Some(Membership::Out));
    world.run(60);
    (world.marked, world.membership) = (false, Some(Membership::Member));
    world.run(700);
    assert_eq!(world.count(Step::CancelDrain), 1);
    assert!(!world.watch.is_leaving());
    assert_eq!(world.look, Some(serving(2)));
}

#[derive(Clone, Debug)]
enum Happens {
    Mark(bool),
    Pool(Option<Membership>),
    Node(Option<Look>),
    End(End),
    Restart,
}

fn anything() -> impl Strategy<Value = Happens> {
    prop_oneof![
        any::<bool>().prop_map(Happens::Mark),
        prop_oneof![
            Just(Some(Membership::Member)),
            Just(Some(Membership::Out)),
            Just(Some(Membership::NoPool)),
            Just(None)
        ]
        .prop_map(Happens::Pool),
        prop_oneof![
            (any::<bool>(), 0u32..3)
                .prop_map(|(draining, rooms)| { Some(Look::Known { draining, rooms, participants: rooms }) }),
            Just(Some(Look::Unknown)),
            Just(None)
        ]
        .prop_map(Happens::Node),
        prop_oneof![Just(End::Comes), Just(End::Not)].prop_map(Happens::End),
        Just(Happens::Restart),
    ]
}

proptest! {
    /// Whatever happens: it asks for its end only after the pool said that it is out, and after the node was seen
    /// draining and empty, or unknown for a minute.
    #[test]
    fn it_never_ends_what_may_be_needed(story in prop::collection::vec((anything(), 1u64..400), 1..60)) {
        let mut world = World::new();
        for (happens, seconds) in story {
            match happens {
                Happens::Mark(marked) => world.marked = marked,
                Happens::Pool(membership) => world.membership = membership,
                Happens::Node(look) => world.look = look,
                Happens::End(end) => world.end = end,
                Happens::Restart => world.restart(),
            }
            let (before, was_leaving) = (world.log.len(), world.watch.is_leaving());
            let (membership, look) = (world.membership, world.look);
            world.run(seconds);
            let taken = &world.log[before..];
            let asked = taken.iter().any(|(_, step)| *step == Step::AskForEnd);
            if asked && !was_leaving {
                prop_assert!(matches!(membership, Some(Membership::Out | Membership::NoPool)));
                let calm = match look {
                    Some(Look::Unknown) => seconds >= 60,
                    Some(Look::Known { rooms, participants, .. }) => rooms == 0 && participants == 0,
                    None => false,
                };
                prop_assert!(calm, "{look:?}");
            }
        }
        // In the end it is out, empty and nobody hinders it.
        (world.marked, world.membership, world.look) = (true, Some(Membership::Out), Some(serving(0)));
        let before = world.log.len();
        world.run(2_000);
        prop_assert!(world.log[before..].iter().any(|(_, step)| *step == Step::AskForEnd));
    }
}
