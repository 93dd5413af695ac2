//! Four masters race in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use proptest::prelude::*;

use super::super::lock::sim::{Bucket, Did, Steady, seen};
use super::*;

const MASTERS: usize = 4;
const CYCLE_MS: i64 = 300_000;
/// What a client waits for an answer.
const TIMEOUT_MS: i64 = 10_000;

/// Where a master is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// It has read, and its write is about to leave.
    BeforeTake,
    /// Its write is on its way.
    TakeSent,
    /// It knows that the lock is its own.
    Won,
    /// It has said that it calls, on the way.
    MarkSent,
    /// It knows that this was written, and has not called.
    Marked,
    CallSent,
    Called,
    Sweeping,
}

#[derive(Clone, Debug)]
enum Event {
    Step { machine: usize, life: u32 },
    Arrives { machine: usize, life: u32, request: Request, asked_at: Instant, fate: Fate },
    Answer { machine: usize, life: u32, did: Option<Did>, asked_at: Instant },
    Mode { machine: usize, life: u32 },
    Called { machine: usize, life: u32 },
    Swept { machine: usize, life: u32 },
    Restart { machine: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fine,
    /// It never arrives.
    Lost,
    /// It happens, and nobody says so.
    AnswerLost,
    /// The client repeats it, and gets the answer to the repetition.
    Repeated,
}

struct Machine {
    invoker: Option<Invoker>,
    life: u32,
    clock: Steady,
    /// Until then it stands still.
    stopped_until_ms: i64,
    /// Its steady clock stood still, too, for so long.
    lost_ms: i64,
}

#[derive(Clone, Debug)]
struct Faults {
    /// Percent of requests.
    lost: u8,
    answer_lost: u8,
    repeated: u8,
    max_delay_ms: i64,
    /// Percent of steps.
    crash: u8,
    pause: u8,
    max_pause_ms: i64,
    skew_ms: Vec<i64>,
    drift: f64,
}

const QUIET: Faults = Faults {
    lost: 0,
    answer_lost: 0,
    repeated: 0,
    max_delay_ms: 1_500,
    crash: 0,
    pause: 0,
    max_pause_ms: 0,
    skew_ms: Vec::new(),
    drift: 0.0,
};

struct World {
    now_ms: i64,
    events: BinaryHeap<Reverse<(i64, u64)>>,
    queued: BTreeMap<u64, Event>,
    seq: u64,
    machines: Vec<Machine>,
    bucket: Bucket,
    rng: fastrand::Rng,
    faults: Faults,
    /// Kills the first master that comes there after a time.
    kill: Option<(Moment, i64)>,
    killed_at: Option<i64>,
    /// When, by whom, for which cycle.
    calls: Vec<(i64, usize, u64)>,
    /// Who held the lock from when to when, in true time.
    leases: Vec<(i64, i64, usize, u32)>,
}

impl World {
    fn new(seed: u64, faults: Faults) -> World {
        let mut rng = fastrand::Rng::with_seed(seed);
        let origin = Instant::now();
        let machines = (0..MASTERS).map(|n| Machine {
            invoker: None,
            life: 0,
            // Their steady clocks differ, and so does what they show.
            clock: Steady {
                origin: origin + Duration::from_secs(1000 * n as u64),
                rate: 1.0 + faults.drift * (rng.f64() * 2.0 - 1.0),
            },
            stopped_until_ms: 0,
            lost_ms: 0,
        });
        let machines = machines.collect();
        let mut bucket = Bucket::default();
        bucket.skew_ms.clone_from(&faults.skew_ms);
        let mut world = World {
            now_ms: 0,
            events: BinaryHeap::new(),
            queued: BTreeMap::new(),
            seq: 0,
            machines,
            bucket,
            rng,
            faults,
            kill: None,
            killed_at: None,
            calls: Vec::new(),
            leases: Vec::new(),
        };
        for machine in 0..MASTERS {
            let at = world.rng.i64(0..60_000);
            world.at(at, Event::Restart { machine });
        }
        world
    }

    fn at(&mut self, ms: i64, event: Event) {
        self.seq += 1;
        self.events.push(Reverse((ms, self.seq)));
        self.queued.insert(self.seq, event);
    }

    /// True time is Unix time: the store begins at 0.
    fn run(&mut self, until_ms: i64) {
        while let Some(Reverse((at, seq))) = self.events.peek().copied().filter(|next| next.0.0 <= until_ms) {
            self.events.pop();
            self.now_ms = self.now_ms.max(at);
            if let Some(event) = self.queued.remove(&seq) {
                self.event(event);
            }
        }
    }

    fn clock(&self, machine: usize) -> Instant {
        let machine = &self.machines[machine];
        machine.clock.at(self.now_ms - machine.lost_ms)
    }

    fn delay(&mut self) -> i64 {
        self.rng.i64(1..=self.faults.max_delay_ms)
    }

    fn percent(&mut self, percent: u8) -> bool {
        self.rng.u8(0..100) < percent
    }

    fn event(&mut self, event: Event) {
        let (machine, life) = match &event {
            Event::Restart { machine } => return self.restart(*machine),
            Event::Arrives { .. } => return self.arrives(event),
            Event::Step { machine, life }
            | Event::Answer { machine, life, .. }
            | Event::Mode { machine, life }
            | Event::Called { machine, life }
            | Event::Swept { machine, life } => (*machine, *life),
        };
        if self.machines[machine].life != life {
            return;
        }
        let stopped_until = self.machines[machine].stopped_until_ms;
        if stopped_until > self.now_ms {
            return self.at(stopped_until, event);
        }
        if self.percent(self.faults.pause) {
            let pause = self.rng.i64(1..=self.faults.max_pause_ms.max(1));
            self.machines[machine].stopped_until_ms = self.now_ms + pause;
            // Of a suspended machine the steady clock stands still.
            if self.rng.bool() {
                self.machines[machine].lost_ms += pause;
            }
            return self.at(self.now_ms + pause, event);
        }
        let now = self.clock(machine);
        let Some(invoker) = &mut self.machines[machine].invoker else { return };
        match event {
            Event::Answer { did: Some(Did::Read(store_now, object)), asked_at, .. } => {
                invoker.read(now, Some(&seen(asked_at, store_now, object)));
            }
            Event::Answer { did: Some(Did::Wrote(written)), .. } => {
                invoker.written(now, written);
            }
            Event::Answer { did: None, .. } => match invoker.step(now) {
                Step::Ask(Request::Read) => drop(invoker.read(now, None)),
                _ => drop(invoker.written(now, Written::Unknown)),
            },
            Event::Mode { .. } => invoker.mode(now, Some(Mode::Elastic)),
            Event::Called { .. } => {
                invoker.called(now);
                if self.dies(machine, Moment::Called) {
                    return;
                }
            }
            Event::Swept { .. } => invoker.swept(now),
            _ => {}
        }
        if self.percent(self.faults.crash) {
            return self.kill(machine);
        }
        self.step(machine);
    }

    fn step(&mut self, machine: usize) {
        let now = self.clock(machine);
        let life = self.machines[machine].life;
        let Some(invoker) = &mut self.machines[machine].invoker else { return };
        let step = invoker.step(now);
        if let Some(until) = invoker.lease() {
            self.holds(machine, until);
        } else {
            self.lets_go(machine);
        }
        match step {
            Step::Wait(until) => {
                let lost = self.machines[machine].lost_ms;
                let at = self.machines[machine].clock.when(until) + lost;
                self.at(at.max(self.now_ms + 1), Event::Step { machine, life });
            }
            Step::ReadMode => {
                let at = self.now_ms + 5;
                self.at(at, Event::Mode { machine, life });
            }
            Step::Ask(request) => self.ask(machine, request),
            Step::Call { cycle, .. } => {
                if self.dies(machine, Moment::Marked) {
                    return;
                }
                self.calls.push((self.now_ms, machine, cycle));
                if self.dies(machine, Moment::CallSent) {
                    return;
                }
                let at = self.now_ms + self.rng.i64(100..20_000);
                self.at(at, Event::Called { machine, life });
            }
            Step::Sweep { .. } => {
                if self.dies(machine, Moment::Sweeping) {
                    return;
                }
                let at = self.now_ms + self.rng.i64(100..5_000);
                self.at(at, Event::Swept { machine, life });
            }
        }
    }

    fn ask(&mut self, machine: usize, request: Request) {
        let marks = self.machines[machine].invoker.as_ref().is_some_and(|invoker| invoker.lease().is_some());
        let writes = matches!(request, Request::Write(_));
        if writes && self.dies(machine, if marks { Moment::Won } else { Moment::BeforeTake }) {
            return;
        }
        let life = self.machines[machine].life;
        let asked_at = self.clock(machine);
        let fate = match () {
            () if self.percent(self.faults.lost) => Fate::Lost,
            () if self.percent(self.faults.answer_lost) => Fate::AnswerLost,
            () if writes && self.percent(self.faults.repeated) => Fate::Repeated,
            () => Fate::Fine,
        };
        let arrives = self.now_ms + self.delay();
        self.at(arrives, Event::Arrives { machine, life, request, asked_at, fate });
        if matches!(fate, Fate::Lost | Fate::AnswerLost) {
            let at = self.now_ms + TIMEOUT_MS;
            self.at(at, Event::Answer { machine, life, did: None, asked_at });
        }
        if writes {
            self.dies(machine, if marks { Moment::MarkSent } else { Moment::TakeSent });
        }
    }

    /// At the store.
    fn arrives(&mut self, event: Event) {
        let Event::Arrives { machine, life, request, asked_at, fate } = event else { return };
        if fate == Fate::Lost {
            return;
        }
        let front_end = self.rng.usize(..8);
        let mut did = self.bucket.handle(self.now_ms, front_end, &request);
        if fate == Fate::AnswerLost {
            return;
        }
        if fate == Fate::Repeated {
            did = self.bucket.handle(self.now_ms, front_end, &request);
        }
        let at = self.now_ms + self.delay();
        self.at(at, Event::Answer { machine, life, did: Some(did), asked_at });
    }

    fn holds(&mut self, machine: usize, until: Instant) {
        let life = self.machines[machine].life;
        let end = self.machines[machine].clock.when(until) + self.machines[machine].lost_ms;
        match self.leases.last_mut() {
            Some((_, to, holder, of)) if (*holder, *of) == (machine, life) && *to >= self.now_ms => *to = end,
            _ => self.leases.push((self.now_ms, end, machine, life)),
        }
    }

    fn lets_go(&mut self, machine: usize) {
        let life = self.machines[machine].life;
        let now_ms = self.now_ms;
        for (_, to, holder, of) in self.leases.iter_mut().rev().take(MASTERS) {
            if (*holder, *of) == (machine, life) {
                *to = (*to).min(now_ms);
            }
        }
    }

    fn dies(&mut self, machine: usize, moment: Moment) -> bool {
        let due = self.kill.is_some_and(|(wanted, after)| wanted == moment && self.now_ms >= after);
        if due {
            self.kill = None;
            self.killed_at = Some(self.now_ms);
            self.kill(machine);
        }
        due
    }

    fn kill(&mut self, machine: usize) {
        self.lets_go(machine);
        self.machines[machine].invoker = None;
        self.machines[machine].life += 1;
        let at = self.now_ms + self.rng.i64(1_000..400_000);
        self.at(at, Event::Restart { machine });
    }

    fn restart(&mut self, machine: usize) {
        if self.machines[machine].invoker.is_some() {
            return;
        }
        let settings = Settings {
            me: format!("prod-master-node-{machine}"),
            terms: Terms::SCALE_IN,
            cycle: Duration::from_millis(CYCLE_MS as u64),
        };
        let now = self.clock(machine);
        self.machines[machine].invoker = Some(Invoker::new(now, settings, self.rng.u64(..)));
        self.step(machine);
    }

    /// Calls by cycle.
    fn by_cycle(&self) -> BTreeMap<u64, usize> {
        let mut by_cycle = BTreeMap::new();
        for (_, _, cycle) in &self.calls {
            *by_cycle.entry(*cycle).or_default() += 1;
        }
        by_cycle
    }

    fn assert_one_holder_at_a_time(&self) {
        for (n, a) in self.leases.iter().enumerate() {
            for b in &self.leases[n + 1..] {
                let apart = a.1 <= b.0 || b.1 <= a.0;
                assert!(apart, "two holders: {a:?} and {b:?}");
            }
        }
    }
}

#[test]
fn all_masters_race_and_one_calls_in_each_cycle() {
    for seed in 0..50 {
        let mut world = World::new(seed, QUIET);
        world.run(20 * CYCLE_MS);
        let calls = world.by_cycle();
        for cycle in 0..20 {
            assert_eq!(calls.get(&cycle), Some(&1), "seed {seed}, cycle {cycle}: {:?}", world.calls);
        }
        world.assert_one_holder_at_a_time();
    }
}

#[test]
fn the_holder_killed_at_each_step_leaves_one_call_per_cycle() {
    use Moment::*;
    for moment in [BeforeTake, TakeSent, Won, MarkSent, Marked, CallSent, Called, Sweeping] {
        for seed in 0..40 {
            let mut world = World::new(seed, QUIET);
            world.kill = Some((moment, 3 * CYCLE_MS));
            world.run(12 * CYCLE_MS);
            let killed = world.killed_at.expect("somebody came there") / CYCLE_MS;
            let calls = world.by_cycle();
            for cycle in 0..12 {
                let count = calls.get(&(cycle as u64)).copied().unwrap_or_default();
                // It had said that it calls, and nobody can know that it did not.
                let silent = matches!(moment, MarkSent | Marked) && cycle == killed;
                let right = if silent { count <= 1 } else { count == 1 };
                assert!(right, "{moment:?}, seed {seed}, cycle {cycle}: {count} calls, killed in {killed}");
            }
            world.assert_one_holder_at_a_time();
        }
    }
}

#[test]
fn in_fixed_mode_nobody_asks_the_store() {
    let settings = Settings { me: "m1".into(), terms: Terms::SCALE_IN, cycle: Duration::from_secs(300) };
    let mut now = Instant::now();
    let mut invoker = Invoker::new(now, settings, 7);
    for _ in 0..10 {
        let Step::Wait(until) = invoker.step(now) else { panic!() };
        now = until;
        assert_eq!(invoker.step(now), Step::ReadMode);
        invoker.mode(now, Some(Mode::Fixed));
    }
    // The tag is changed: the next look acts on it.
    let Step::Wait(until) = invoker.step(now) else { panic!() };
    assert!(until <= now + Duration::from_secs(320));
    assert_eq!(invoker.step(until), Step::ReadMode);
    invoker.mode(until, Some(Mode::Elastic));
    assert_eq!(invoker.step(until), Step::Ask(Request::Read));
}

#[test]
fn an_unknown_mode_is_asked_for_again_soon() {
    let settings = Settings { me: "m1".into(), terms: Terms::SCALE_IN, cycle: Duration::from_secs(300) };
    let start = Instant::now();
    let mut invoker = Invoker::new(start, settings, 7);
    let Step::Wait(until) = invoker.step(start) else { panic!() };
    invoker.step(until);
    invoker.mode(until, None);
    let Step::Wait(again) = invoker.step(until) else { panic!() };
    assert!(again > until && again <= until + Duration::from_secs(20));
}

fn any_faults(pauses: bool) -> impl Strategy<Value = Faults> {
    (
        0u8..30,
        0u8..30,
        0u8..30,
        1i64..9_000,
        0u8..8,
        prop::collection::vec(-8_000i64..8_000, 1..8),
        0f64..0.05,
    )
        .prop_map(move |(lost, answer_lost, repeated, max_delay_ms, crash, skew_ms, drift)| Faults {
            lost,
            answer_lost,
            repeated,
            max_delay_ms,
            crash,
            pause: if pauses { 5 } else { 0 },
            max_pause_ms: 500_000,
            skew_ms,
            drift,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Answers lost and late, writes repeated, masters killed and started anew, front ends of the store up to 16 s
    /// apart, steady clocks off by up to 5 %: never two holders at once, never two calls for a cycle.
    #[test]
    fn never_two_holders(seed in any::<u64>(), faults in any_faults(false)) {
        let mut world = World::new(seed, faults);
        world.run(40 * CYCLE_MS);
        world.assert_one_holder_at_a_time();
        for (cycle, calls) in world.by_cycle() {
            prop_assert!(calls <= 1, "{calls} calls in cycle {cycle}");
        }
    }

    /// Machines stand still for minutes, some with their clocks: no lock can hold then, and still there are never
    /// two calls for a cycle.
    #[test]
    fn never_two_calls_for_a_cycle_whatever_stands_still(seed in any::<u64>(), faults in any_faults(true)) {
        let mut world = World::new(seed, faults);
        world.run(40 * CYCLE_MS);
        for (cycle, calls) in world.by_cycle() {
            prop_assert!(calls <= 1, "{calls} calls in cycle {cycle}");
        }
    }

    /// After all faults have ended there is a holder, and a call, in each cycle.
    #[test]
    fn a_crash_leaves_a_holder_within_a_cycle(seed in any::<u64>(), faults in any_faults(true)) {
        let mut world = World::new(seed, faults);
        world.run(20 * CYCLE_MS);
        world.faults = QUIET;
        world.bucket.skew_ms = Vec::new();
        // Whoever holds the lock now is dead; others are where they are.
        let holder = world.leases.last().map(|(_, _, holder, _)| *holder);
        if let Some(holder) = holder {
            world.kill(holder);
        }
        // Pauses that have begun end, and so does a cycle that was half over.
        let settled = world.machines.iter().map(|m| m.stopped_until_ms).max().unwrap_or(0).max(world.now_ms);
        let from = settled / CYCLE_MS + 1;
        world.run((from + 6) * CYCLE_MS);
        let calls = world.by_cycle();
        for cycle in from + 1..from + 6 {
            prop_assert_eq!(calls.get(&(cycle as u64)).copied(), Some(1), "cycle {} of {:?}", cycle, world.calls);
        }
    }
}
