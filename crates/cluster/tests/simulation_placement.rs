//! Figures of the parts that every join passes: how evenly rooms spread, how long a decision takes, what the map
//! of rooms costs. Times and memory are printed, never asserted.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use cluster::control::{
    Algorithm, Candidate, Input, Kind, Member, MemberConfig, Message, Output, PlacementError, Recent,
    RequestId, Section, Selector, SortBy, StoreAnswer, StoreOp, Time, View, rendezvous, room_key,
};
use cluster::{Epoch, Load, NodeId, NodeRecord, NodeState, Role, RoomRecord};
use store::{Batch, Committed, Entry, Event, LeaseId, Op};

const NODES: usize = 10;
const ROOMS: usize = 10_000;

fn ids() -> Vec<NodeId> {
    (0..NODES).map(|n| NodeId(format!("node-{n}"))).collect()
}

fn candidate<'a>(id: &'a NodeId, load: Load, placed_since: u32) -> Candidate<'a> {
    Candidate { id, region: "", cpus: 4, draining: false, load, placed_since }
}

/// Rooms per node after a burst in which no load report comes.
fn burst(selector: &Selector) -> BTreeMap<NodeId, u32> {
    let ids = ids();
    let mut rng = fastrand::Rng::with_seed(1);
    let (mut recent, mut placed) = (Recent::default(), BTreeMap::new());
    for id in &ids {
        // All but equally idle: what would send all rooms of a burst to one node.
        let load = Load { cpu: rng.f32() * 0.02, sysload: rng.f32() * 0.02, ..Load::default() };
        recent.reported(id, load, 0);
    }
    let mut slowest = Duration::ZERO;
    let start = Instant::now();
    for _ in 0..ROOMS {
        let began = Instant::now();
        let candidates: Vec<Candidate<'_>> = ids
            .iter()
            .map(|id| {
                let (load, placed_since) = recent.of(id, placed.get(id).copied().unwrap_or(0) as usize);
                candidate(id, load, placed_since)
            })
            .collect();
        let chosen = selector.choose(&candidates, &mut rng).expect("ten idle nodes").clone();
        *placed.entry(chosen).or_insert(0) += 1;
        slowest = slowest.max(began.elapsed());
    }
    let mean = start.elapsed() / ROOMS as u32;
    let (least, most) = (placed.values().min().unwrap_or(&0), placed.values().max().unwrap_or(&0));
    println!(
        "{:?} {:?}: {least} to {most} rooms per node; decision {mean:?} on average, {slowest:?} at most",
        selector.sort_by, selector.algorithm
    );
    placed
}

#[test]
fn a_burst_of_rooms_spreads_within_ten_percent_although_loads_are_stale() {
    let measures = [
        SortBy::SysLoad,
        SortBy::CpuLoad,
        SortBy::Rooms,
        SortBy::Clients,
        SortBy::Tracks,
        SortBy::BytesPerSec,
    ];
    for sort_by in measures {
        for algorithm in [Algorithm::Lowest, Algorithm::TwoChoice] {
            let selector = Selector { sort_by, algorithm, ..Selector::default() };
            let placed = burst(&selector);
            let even = (ROOMS / NODES) as u32;
            assert_eq!(placed.len(), NODES);
            for (id, rooms) in placed {
                assert!(
                    rooms.abs_diff(even) * 10 <= even,
                    "{id} got {rooms} of {ROOMS} rooms by {sort_by:?}"
                );
            }
        }
    }
}

#[test]
fn busy_and_draining_nodes_get_no_rooms_and_the_error_says_why() {
    let ids = ids();
    let mut rng = fastrand::Rng::with_seed(1);
    let selector = Selector { kind: Kind::CpuLoad, ..Selector::default() };
    let busy = Load { cpu: 0.95, ..Load::default() };
    let mut nodes: Vec<Candidate<'_>> = ids.iter().map(|id| candidate(id, busy, 0)).collect();
    assert_eq!(selector.choose(&[], &mut rng), Err(PlacementError::NoNode));
    assert_eq!(selector.choose(&nodes, &mut rng), Err(PlacementError::AllTooBusy(NODES)));
    nodes[3].load.cpu = 0.5;
    assert_eq!(selector.choose(&nodes, &mut rng), Ok(&ids[3]));
    nodes[3].draining = true;
    assert_eq!(selector.choose(&nodes, &mut rng), Err(PlacementError::AllTooBusy(NODES - 1)));
    nodes.iter_mut().for_each(|node| node.draining = true);
    assert_eq!(selector.choose(&nodes, &mut rng), Err(PlacementError::AllDraining(NODES)));
}

#[test]
fn the_nearest_region_with_a_free_node_is_chosen() {
    let ids = ids();
    let mut rng = fastrand::Rng::with_seed(1);
    let regions = vec!["here".into(), "near".into()];
    let selector = Selector { kind: Kind::CpuLoad, regions, ..Selector::default() };
    let mut nodes: Vec<Candidate<'_>> = ids.iter().map(|id| candidate(id, Load::default(), 0)).collect();
    nodes[1].region = "here";
    nodes[2].region = "near";
    assert_eq!(selector.choose(&nodes, &mut rng), Ok(&ids[1]));
    nodes[1].load.cpu = 1.0;
    assert_eq!(selector.choose(&nodes, &mut rng), Ok(&ids[2]));
    nodes[2].load.cpu = 1.0;
    let far = selector.choose(&nodes, &mut rng).expect("there are others");
    assert!(far != &ids[1] && far != &ids[2]);
}

#[test]
fn rendezvous_moves_only_the_rooms_of_the_node_that_left() {
    let ids = ids();
    let mut counts: BTreeMap<&NodeId, u32> = BTreeMap::new();
    for n in 0..ROOMS {
        let room = format!("room-{n}");
        let chosen = rendezvous(&room, ids.iter()).expect("there are nodes");
        *counts.entry(chosen).or_default() += 1;
        let without = rendezvous(&room, ids.iter().filter(|id| *id != &ids[0])).expect("there are nodes");
        assert!(chosen == &ids[0] || chosen == without);
    }
    println!("rendezvous: {counts:?}");
    assert!(counts.values().all(|rooms| (850..=1150).contains(rooms)), "{counts:?}");
}

fn room_entry(n: usize, revision: u64) -> Entry {
    let room = format!("team-meeting-{n:06}");
    let description = serde_json::json!({
        "sid": format!("RM_{n:012}"), "metadata": "{\"title\":\"weekly\"}", "created_at_ms": 1_700_000_000_000u64,
        "empty_timeout_s": 300, "departure_timeout_s": 20, "max_participants": 0,
    });
    let record = RoomRecord {
        room: room.clone(),
        node: NodeId(format!("node-{}", n % NODES)),
        epoch: Epoch::settled(0),
        description: Some(description),
    };
    let value = serde_json::to_vec(&record).expect("a record").into();
    Entry { key: room_key(&room), value, mod_revision: revision, lease: None }
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

#[test]
fn a_map_of_100_000_rooms_is_kept_up_to_date() {
    const COUNT: usize = 100_000;
    let mut view = View::default();
    let before = resident_bytes();
    let start = Instant::now();
    let mut bytes = 0;
    for n in 0..COUNT {
        let entry = room_entry(n, n as u64 + 1);
        bytes += entry.key.len() + entry.value.len();
        let batch = Batch { revision: n as u64 + 1, events: vec![Event::Put(entry)] };
        view.apply(Section::Rooms, &batch);
    }
    let filled = start.elapsed();
    let memory = resident_bytes().saturating_sub(before) as usize / COUNT;
    let updates: Vec<Batch> = (0..COUNT)
        .step_by(10)
        .map(|n| {
            let revision = (COUNT + n + 1) as u64;
            Batch { revision, events: vec![Event::Put(room_entry(n, revision))] }
        })
        .collect();
    let start = Instant::now();
    for batch in &updates {
        view.apply(Section::Rooms, batch);
    }
    let updated = start.elapsed() / updates.len() as u32;
    let start = Instant::now();
    let found = (0..COUNT).filter(|n| view.room(&format!("team-meeting-{n:06}")).is_some()).count();
    let looked_up = start.elapsed() / COUNT as u32;
    println!(
        "100,000 rooms: {memory} bytes each (their records are {} bytes), filled in {filled:?}, \
         {updated:?} per update, {looked_up:?} per look-up",
        bytes / COUNT
    );
    assert_eq!(
        (found, view.room_count(), view.rooms_on(&NodeId("node-3".into()))),
        (COUNT, COUNT, COUNT / NODES)
    );
    // A restart of the watch finds what is gone.
    view.apply_snapshot(Section::Rooms, &[room_entry(7, 1_000_000)], 1_000_000);
    assert_eq!((view.room_count(), view.rooms_on(&NodeId("node-7".into()))), (1, 1));
    assert!(view.description("team-meeting-000007").is_some());
}

/// A master that is alone with a store that does all it asks.
struct Bench {
    member: Member,
    now: Instant,
    revision: u64,
    commits: usize,
    routed: Vec<NodeId>,
}

impl Bench {
    fn input(&mut self, input: Input) {
        let outputs = self.member.handle(Time { now: self.now, unix_ms: 0 }, input);
        for output in outputs {
            match output {
                Output::Store { op, call } => {
                    let answer = self.answer(call);
                    self.input(Input::Store { op, answer });
                }
                Output::Routed { result, .. } => self.routed.push(result.expect("ten idle nodes").node),
                Output::ToMasters(message) => self.input(Input::Message(message)),
                Output::ToNode { message: message @ Message::Ack(_), node } if node.0 == "master" => {
                    self.input(Input::Message(message));
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, call: StoreOp) -> StoreAnswer {
        let StoreOp::Commit(txn) = call else {
            return if matches!(call, StoreOp::Grant(_)) {
                StoreAnswer::Granted(LeaseId(1))
            } else {
                StoreAnswer::Done
            };
        };
        self.revision += 1;
        let revision = self.revision;
        for op in txn.ops {
            let Op::Put { key, value, lease } = op else { continue };
            self.commits += usize::from(key.starts_with(Section::Rooms.prefix()));
            let section =
                Section::ALL.into_iter().find(|s| key.starts_with(s.prefix())).expect("a key of ours");
            let batch = Batch {
                revision,
                events: vec![Event::Put(Entry { key, value, mod_revision: revision, lease })],
            };
            self.input(Input::Changes { section, batch });
        }
        StoreAnswer::Committed(Committed { succeeded: true, revision, current: Vec::new() })
    }
}

fn node_record(id: &str, role: Role) -> NodeRecord {
    NodeRecord {
        id: NodeId(id.into()),
        incarnation: 1,
        roles: vec![role],
        internal_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 7900)),
        region: String::new(),
        state: NodeState::Serving,
        load: Load::default(),
        cpus: 4,
        version: "test".into(),
        started_at_ms: 0,
        registered: 0,
        replaces: None,
        labels: Default::default(),
    }
}

#[test]
fn a_join_of_a_new_room_costs_one_store_operation_and_a_known_room_none() {
    let now = Instant::now();
    let config = MemberConfig {
        record: node_record("master", Role::Master),
        masters: 1,
        selector: Selector::default(),
        seed: 1,
    };
    let mut bench =
        Bench { member: Member::new(now, config), now, revision: 100, commits: 0, routed: Vec::new() };
    let nodes: Vec<Entry> = ids()
        .iter()
        .enumerate()
        .map(|(n, id)| {
            let value = serde_json::to_vec(&node_record(&id.0, Role::Media)).expect("a record").into();
            Entry { key: format!("{}{id}", cluster::NODES), value, mod_revision: n as u64 + 1, lease: None }
        })
        .collect();
    for section in Section::ALL {
        let entries = if section == Section::Nodes { nodes.clone() } else { Vec::new() };
        bench.input(Input::Snapshot { section, entries, revision: 100 });
    }
    // It registers.
    bench.input(Input::Tick);
    let start = Instant::now();
    for n in 0..ROOMS {
        bench.input(Input::Route { id: RequestId(n as u64), room: format!("r{n}"), create: true });
    }
    println!("routing {ROOMS} new rooms through a master: {:?} each", start.elapsed() / ROOMS as u32);
    assert_eq!((bench.routed.len(), bench.commits), (ROOMS, ROOMS));
    for id in ids() {
        let rooms = bench.routed.iter().filter(|node| **node == id).count();
        assert!(rooms.abs_diff(ROOMS / NODES) * 10 <= ROOMS / NODES, "{id} got {rooms}");
    }
    for n in 0..ROOMS {
        bench.input(Input::Route { id: RequestId(n as u64), room: format!("r{n}"), create: true });
    }
    assert_eq!((bench.routed.len(), bench.commits), (2 * ROOMS, ROOMS));
}
