//! Processes, network and clients on a virtual clock. Every choice comes from one seeded generator, so a seed is
//! a whole story.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use cluster::control::{
    Input, Member, MemberConfig, NodeCommand, OpId, Output, ProbeOutcome, RequestId, Selector, StoreOp, Time,
};
use cluster::{NodeId, NodeRecord, NodeState, Role};
use serde_json::json;

use super::clients::Clients;
use super::sim_store::SimStore;

pub(crate) const MS: Duration = Duration::from_millis(1);
const TICK: Duration = Duration::from_millis(50);
pub(crate) const STORE_DEADLINE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// `life` tells a process from the one before it.
    Tick {
        process: usize,
        life: u32,
    },
    Input {
        process: usize,
        life: u32,
        input: Input,
    },
    StoreCall {
        process: usize,
        life: u32,
        op: OpId,
        call: StoreOp,
        answer: bool,
    },
    Pump {
        process: usize,
        life: u32,
    },
    Start {
        process: usize,
    },
    Thaw {
        process: usize,
        life: u32,
    },
    Client {
        client: usize,
        turn: u32,
    },
    Prepare {
        from: usize,
        life: u32,
        room: String,
        target: NodeId,
        version: u64,
    },
    RoomEmpty {
        process: usize,
        life: u32,
        room: String,
    },
    Fault,
    Expire,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum State {
    Running,
    Frozen,
    Down,
}

/// A media engine as far as the control plane sees it: rooms with the version of their description.
#[derive(Default, Debug)]
pub(crate) struct Engine {
    pub(crate) rooms: BTreeMap<String, u64>,
    pub(crate) prepared: BTreeMap<String, u64>,
}

pub(crate) struct Process {
    pub(crate) id: NodeId,
    pub(crate) roles: Vec<Role>,
    pub(crate) life: u32,
    pub(crate) state: State,
    pub(crate) member: Option<Member>,
    pub(crate) engine: Engine,
    backlog: Vec<Input>,
    pub(crate) cursors: [Option<usize>; 3],
    pub(crate) watch_delay: Duration,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) rng: fastrand::Rng,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) wall_skew_ms: i64,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, Event>,
    next_event: u64,
    pub(crate) processes: Vec<Process>,
    pub(crate) masters: usize,
    pub(crate) store: SimStore,
    had_quorum: bool,
    /// The store's processes may be stopped as a whole.
    pub(crate) store_down: bool,
    pub(crate) store_flaky: bool,
    /// Directed: packets from the first host to the second are lost.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) slow: BTreeMap<(usize, usize), Duration>,
    pub(crate) last_arrival: BTreeMap<(usize, usize), Instant>,
    pub(crate) held_back: BTreeMap<(usize, usize), Vec<(u32, Input)>>,
    pub(crate) clients: Clients,
    /// Who served a room at which epoch.
    pub(crate) epochs: BTreeMap<(String, String), (NodeId, u64)>,
    pub(crate) hand_overs: BTreeMap<String, (usize, Instant)>,
    pub(crate) verbose: bool,
    pub(crate) failure: Option<String>,
    pub(crate) overlaps: u64,
    next_request: u64,
    pub(crate) routes: BTreeMap<RequestId, (usize, u32)>,
    pub(crate) done_drains: u64,
    /// Revision and version at which a room's life ended: what it wrote is void, even if it arrives later.
    pub(crate) ended: BTreeMap<String, (u64, u64)>,
}

impl World {
    pub(crate) fn new(seed: u64, verbose: bool) -> World {
        let mut rng = fastrand::Rng::with_seed(seed);
        let start = Instant::now();
        let masters = rng.usize(1..=4);
        let media = rng.usize(2..=4);
        let dual = rng.u8(..6) == 0;
        let mut processes = Vec::new();
        for n in 0..masters {
            let roles = if dual { vec![Role::Master, Role::Media] } else { vec![Role::Master] };
            processes.push(Process::new(format!("m{n}"), roles));
        }
        for n in 0..media {
            processes.push(Process::new(format!("n{n}"), vec![Role::Media]));
        }
        let clients = Clients::new(&mut rng);
        let mut world = World {
            seed,
            rng,
            start,
            now: start,
            wall_skew_ms: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            processes,
            masters,
            store: SimStore::new(),
            had_quorum: true,
            store_down: false,
            store_flaky: false,
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
            held_back: BTreeMap::new(),
            clients,
            epochs: BTreeMap::new(),
            hand_overs: BTreeMap::new(),
            verbose,
            failure: None,
            overlaps: 0,
            next_request: 0,
            routes: BTreeMap::new(),
            done_drains: 0,
            ended: BTreeMap::new(),
        };
        for process in 0..world.processes.len() {
            let delay = MS * world.rng.u32(0..200);
            world.at(delay, Event::Start { process });
        }
        world.at(TICK, Event::Expire);
        for client in 0..world.clients.list.len() {
            let delay = MS * world.rng.u32(1000..4000);
            world.at(delay, Event::Client { client, turn: 0 });
        }
        world
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.verbose {
            let at = (self.now - self.start).as_millis();
            println!("{at:>6} {}", text());
        }
    }

    pub(crate) fn fail(&mut self, text: String) {
        if self.failure.is_none() {
            let at = (self.now - self.start).as_millis();
            self.failure = Some(format!("seed {} at {at} ms: {text}", self.seed));
        }
    }

    pub(crate) fn at(&mut self, delay: Duration, event: Event) {
        self.next_event += 1;
        self.queue.push(Reverse((self.now + delay, self.next_event)));
        self.events.insert(self.next_event, event);
    }

    pub(crate) fn time(&self) -> Time {
        let unix_ms = 1_700_000_000_000 + (self.now - self.start).as_millis() as i64 + self.wall_skew_ms;
        Time { now: self.now, unix_ms }
    }

    /// Runs until `end`; stops early at a failure.
    pub(crate) fn run_until(&mut self, end: Instant, fault: &mut dyn FnMut(&mut World)) {
        while let Some(Reverse((when, id))) = self.queue.peek().copied() {
            if when > end || self.failure.is_some() {
                break;
            }
            self.queue.pop();
            self.now = when;
            let event = self.events.remove(&id).expect("every queued event is stored");
            match event {
                Event::Fault => fault(self),
                event => self.step(event),
            }
        }
        self.now = self.now.max(end);
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Tick { process, life } if self.alive(process, life) => {
                self.input(process, life, Input::Tick);
                self.at(TICK, Event::Tick { process, life });
            }
            Event::Input { process, life, input } => self.input(process, life, input),
            Event::StoreCall { process, life, op, call, answer } => {
                self.store_call(process, life, op, &call, answer)
            }
            Event::Pump { process, life } => self.pump(process, life),
            Event::Start { process } => self.start_process(process),
            Event::Thaw { process, life } if self.processes[process].life == life => self.thaw(process),
            Event::Client { client, turn } => self.client_turn(client, turn),
            Event::Prepare { from, life, room, target, version } => {
                self.prepare(from, life, &room, &target, version)
            }
            Event::RoomEmpty { process, life, room } => self.room_empty(process, life, room),
            Event::Expire => {
                let quorum = self.component().is_some();
                if quorum && !self.had_quorum {
                    self.store.elected(self.now);
                }
                self.had_quorum = quorum;
                if quorum {
                    let before = self.store.history_len();
                    self.store.expire(self.now);
                    if self.store.history_len() != before {
                        self.pump_all();
                    }
                }
                self.at(TICK, Event::Expire);
            }
            _ => {}
        }
    }

    fn room_empty(&mut self, process: usize, life: u32, room: String) {
        if self.clients.any_in(&room, process, life) || !self.alive(process, life) {
            return;
        }
        if let Some(version) = self.processes[process].engine.rooms.remove(&room) {
            self.note(|| format!("{process}: room {room} ended"));
            self.ended.insert(room.clone(), (self.store.revision, version));
            self.input(process, life, Input::RoomEnded { room });
        }
    }

    pub(crate) fn alive(&self, process: usize, life: u32) -> bool {
        let p = &self.processes[process];
        p.life == life && p.state != State::Down
    }

    fn start_process(&mut self, process: usize) {
        if self.processes[process].member.is_some() {
            return;
        }
        let seed = self.rng.u64(..);
        let record = NodeRecord {
            id: self.processes[process].id.clone(),
            incarnation: self.rng.u64(1..),
            roles: self.processes[process].roles.clone(),
            internal_address: SocketAddr::from((Ipv4Addr::new(10, 0, 0, process as u8), 7900)),
            region: String::new(),
            state: NodeState::Serving,
            load: Default::default(),
            cpus: 4,
            version: "0".into(),
            started_at_ms: 0,
            registered: 0,
            replaces: None,
            labels: Default::default(),
        };
        let config = MemberConfig { record, masters: self.masters, selector: Selector::default(), seed };
        let now = self.now;
        let p = &mut self.processes[process];
        p.life += 1;
        p.state = State::Running;
        p.member = Some(Member::new(now, config));
        p.engine = Engine::default();
        p.cursors = [None; 3];
        let life = p.life;
        self.note(|| format!("start {process} life {life}"));
        self.at(MS, Event::Tick { process, life });
        self.at(MS, Event::Pump { process, life });
    }

    /// kill -9.
    pub(crate) fn crash(&mut self, process: usize) {
        let p = &mut self.processes[process];
        if p.state == State::Down {
            return;
        }
        let life = p.life;
        p.state = State::Down;
        p.member = None;
        p.engine = Engine::default();
        p.backlog.clear();
        self.note(|| format!("CRASH {process}"));
        self.clients.lost_process(process, life);
        let id = self.processes[process].id.clone();
        for other in 0..self.masters {
            if !self.cut.contains(&(process, other)) {
                let input = Input::LinkReset(id.clone());
                let life = self.processes[other].life;
                self.at(MS, Event::Input { process: other, life, input });
            }
        }
    }

    /// SIGSTOP for a while.
    pub(crate) fn freeze(&mut self, process: usize, pause: Duration) {
        let p = &mut self.processes[process];
        if p.state == State::Running {
            p.state = State::Frozen;
            let life = p.life;
            self.note(|| format!("FREEZE {process} {pause:?}"));
            self.at(pause, Event::Thaw { process, life });
        }
    }

    fn thaw(&mut self, process: usize) {
        if self.processes[process].state != State::Frozen {
            return;
        }
        self.note(|| format!("THAW {process}"));
        self.processes[process].state = State::Running;
        let life = self.processes[process].life;
        // Nothing of its own has run yet: what it would send now, it must not.
        self.check(process);
        for input in std::mem::take(&mut self.processes[process].backlog) {
            self.input(process, life, input);
        }
    }

    pub(crate) fn input(&mut self, process: usize, life: u32, input: Input) {
        if !self.alive(process, life) {
            return;
        }
        if self.processes[process].state == State::Frozen {
            if input != Input::Tick {
                self.processes[process].backlog.push(input);
            }
            return;
        }
        let time = self.time();
        let member = self.processes[process].member.as_mut().expect("alive");
        let outputs = member.handle(time, input);
        self.carry_out(process, outputs);
        self.check(process);
    }

    pub(crate) fn carry_out(&mut self, process: usize, outputs: Vec<Output>) {
        let life = self.processes[process].life;
        for output in outputs {
            match output {
                Output::Store { op, call } => self.send_to_store(process, op, call),
                Output::ToMasters(message) => {
                    for master in 0..self.masters {
                        self.send(process, master, message.clone());
                    }
                }
                Output::ToNode { node, message } => {
                    if let Some(to) = self.index(&node) {
                        self.send(process, to, message);
                    }
                }
                Output::Probe { node, incarnation, .. } => {
                    let Some(to) = self.index(&node) else { continue };
                    let reachable = !self.cut.contains(&(process, to)) && !self.cut.contains(&(to, process));
                    let outcome = match (reachable, self.processes[to].state) {
                        (false, _) => ProbeOutcome::Silent,
                        (true, State::Down) => ProbeOutcome::Refused,
                        (true, _) => ProbeOutcome::Answered,
                    };
                    let delay = if outcome == ProbeOutcome::Silent { 250 * MS } else { 2 * MS };
                    self.at(
                        delay,
                        Event::Input { process, life, input: Input::Probed { node, incarnation, outcome } },
                    );
                }
                Output::Routed { id, result } => self.routed(process, id, result),
                Output::DrainAnswered { .. } => {}
                Output::NodeDead { node, incarnation } => {
                    self.note(|| format!("{process}: DEAD {node} {incarnation:x}"));
                    if let Some(node) = self.index(&node) {
                        self.clients.told_dead(process, node, incarnation);
                    }
                }
                Output::Command(command) => self.command(process, command),
                Output::Fatal(reason) => {
                    self.note(|| format!("{process}: FATAL {reason}"));
                    self.crash(process);
                    self.at(MS * 1000, Event::Start { process });
                    return;
                }
            }
        }
    }

    pub(crate) fn index(&self, id: &NodeId) -> Option<usize> {
        self.processes.iter().position(|process| process.id == *id)
    }

    fn command(&mut self, process: usize, command: NodeCommand) {
        let life = self.processes[process].life;
        if self.verbose && !matches!(command, NodeCommand::EpochChanged { .. }) {
            self.note(|| format!("{process}: {command:?}"));
        }
        match command {
            NodeCommand::FenceNow => {
                self.processes[process].engine = Engine::default();
                self.clients.lost_process(process, life);
            }
            NodeCommand::TakeOver { room, description, .. } => {
                let held = self.processes[process].engine.rooms.entry(room.clone()).or_default();
                *held = (*held).max(version(&description));
                self.at(3000 * MS, Event::RoomEmpty { process, life, room });
            }
            NodeCommand::Activate { room, .. } => {
                let version = self.processes[process].engine.prepared.remove(&room).unwrap_or(0);
                self.processes[process].engine.rooms.insert(room.clone(), version);
                self.at(6000 * MS, Event::RoomEmpty { process, life, room });
            }
            NodeCommand::DropPrepared { room } => {
                self.processes[process].engine.prepared.remove(&room);
            }
            NodeCommand::DropRoom { room } | NodeCommand::CloseRoom { room } => {
                self.processes[process].engine.rooms.remove(&room);
                self.clients.lost_room(process, &room);
            }
            NodeCommand::MoveRoom { room, target, .. } => {
                let version = self.processes[process].engine.rooms.get(&room).copied().unwrap_or(0);
                self.at(20 * MS, Event::Prepare { from: process, life, room, target, version });
            }
            NodeCommand::Moved { room, target, .. } => {
                self.processes[process].engine.rooms.remove(&room);
                self.hand_overs.remove(&room);
                let to = self.index(&target).map(|to| (to, self.processes[to].life));
                self.clients.moved(process, &room, to);
            }
            NodeCommand::MoveAborted { room, .. } => {
                self.hand_overs.remove(&room);
            }
            NodeCommand::Drained => self.done_drains += 1,
            NodeCommand::Registered { .. } | NodeCommand::EpochChanged { .. } | NodeCommand::Draining(_) => {}
        }
    }

    fn prepare(&mut self, from: usize, life: u32, room: &str, target: &NodeId, version: u64) {
        let Some(to) = self.index(target) else { return };
        let reachable = !self.cut.contains(&(from, to)) && !self.cut.contains(&(to, from));
        let ok = reachable && self.processes[to].state == State::Running;
        if ok {
            self.processes[to].engine.prepared.insert(room.to_owned(), version);
            self.hand_overs.insert(room.to_owned(), (from, self.now));
            let to_life = self.processes[to].life;
            self.input(to, to_life, Input::Prepared { room: room.to_owned() });
        }
        self.input(from, life, Input::MovePrepared { room: room.to_owned(), ok });
    }

    pub(crate) fn request(&mut self, client: usize, turn: u32) -> RequestId {
        self.next_request += 1;
        self.routes.insert(RequestId(self.next_request), (client, turn));
        RequestId(self.next_request)
    }

    /// A client did something that outlives the node.
    pub(crate) fn change_room(&mut self, process: usize, room: &str) {
        let life = self.processes[process].life;
        if let Some(version) = self.processes[process].engine.rooms.get_mut(room) {
            *version += 1;
            let description = json!({ "v": *version });
            self.input(process, life, Input::RoomChanged { room: room.to_owned(), description });
        }
    }
}

impl Process {
    fn new(id: String, roles: Vec<Role>) -> Process {
        Process {
            id: NodeId(id),
            roles,
            life: 0,
            state: State::Down,
            member: None,
            engine: Engine::default(),
            backlog: Vec::new(),
            cursors: [None; 3],
            watch_delay: Duration::ZERO,
        }
    }
}

pub(crate) fn version(description: &Option<serde_json::Value>) -> u64 {
    description.as_ref().and_then(|description| description["v"].as_u64()).unwrap_or(0)
}
