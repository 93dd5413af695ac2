//! Whole processes in one: real store, real clock, links replaced by calls.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::json;
use store::{EmbeddedOptions, EmbeddedStore, Store};
use tokio::time::timeout;

use super::{Arrival, Core, Node, Runtime, StartError, Transport, claim_store};
use crate::control::{MemberConfig, NodeCommand, ProbeOutcome, Refusal, Route, Selector};
use crate::record::{Epoch, NodeId, NodeRecord, NodeState, Role};

/// Longer than anything here may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everyone's links: who is registered here is running.
#[derive(Debug, Default)]
struct Hub {
    running: Mutex<HashMap<NodeId, (Weak<Core>, bool)>>,
}

#[derive(Debug)]
struct HubTransport {
    me: NodeId,
    hub: Arc<Hub>,
}

impl HubTransport {
    fn deliver(&self, to: &NodeId, frame: Bytes) {
        let core = super::lock(&self.hub.running).get(to).and_then(|(core, _)| core.upgrade());
        let (from, here) = (self.me.clone(), super::lock(&self.hub.running).contains_key(&self.me));
        if let Some(core) = core.filter(|_| here) {
            // As a task: the sender holds its lock.
            tokio::spawn(async move { core.arrived(Arrival::Frame { from, frame }) });
        }
    }
}

impl Transport for HubTransport {
    fn set_masters(&self, _: &[(NodeId, SocketAddr)]) {}

    fn to_masters(&self, frame: Bytes) {
        let masters: Vec<NodeId> = super::lock(&self.hub.running)
            .iter()
            .filter(|(id, (_, master))| *master && **id != self.me)
            .map(|(id, _)| id.clone())
            .collect();
        for master in masters {
            self.deliver(&master, frame.clone());
        }
    }

    fn to_node(&self, node: &NodeId, frame: Bytes) {
        self.deliver(node, frame);
    }

    fn probe(&self, address: SocketAddr) -> BoxFuture<'static, ProbeOutcome> {
        let runs = super::lock(&self.hub.running).keys().any(|id| address_of(&id.0) == address);
        Box::pin(async move { if runs { ProbeOutcome::Answered } else { ProbeOutcome::Refused } })
    }
}

fn address_of(id: &str) -> SocketAddr {
    let n = id.bytes().fold(0u8, u8::wrapping_add);
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, n), 7900))
}

fn store() -> (std::path::PathBuf, Arc<dyn Store>) {
    let path =
        std::env::temp_dir().join(format!("sala-runtime-{}-{}.redb", std::process::id(), fastrand::u64(..)));
    let store = EmbeddedStore::open(&path, EmbeddedOptions::default()).expect("a store in a new file");
    (path, Arc::new(store))
}

struct Cluster {
    path: std::path::PathBuf,
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    processes: HashMap<String, Runtime>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Cluster {
    async fn of(ids: &[&str]) -> Cluster {
        let (path, store) = store();
        let mut cluster = Cluster { path, store, hub: Arc::default(), processes: HashMap::new() };
        for id in ids {
            cluster.run(id).await;
        }
        for id in ids.iter().filter(|id| id.starts_with('n')) {
            cluster.until(|| cluster.node(id).may_serve()).await;
        }
        cluster
    }

    async fn run(&mut self, id: &str) {
        let role = if id.starts_with('m') { Role::Master } else { Role::Media };
        let record = NodeRecord {
            id: NodeId(id.into()),
            incarnation: fastrand::u64(1..),
            roles: vec![role],
            internal_address: address_of(id),
            region: String::new(),
            state: NodeState::Serving,
            load: Default::default(),
            cpus: 1,
            version: "test".into(),
            started_at_ms: 0,
            registered: 0,
            replaces: None,
            labels: Default::default(),
        };
        let config =
            MemberConfig { record, masters: 1, selector: Selector::default(), seed: fastrand::u64(..) };
        let transport = Arc::new(HubTransport { me: NodeId(id.into()), hub: self.hub.clone() });
        let runtime =
            Runtime::start("test", config, self.store.clone(), transport, Box::new(Default::default));
        let runtime = runtime.await.expect("the store is ours");
        let entry = (Arc::downgrade(&runtime.core), role == Role::Master);
        super::lock(&self.hub.running).insert(NodeId(id.into()), entry);
        self.processes.insert(id.into(), runtime);
    }

    /// As `kill -9`: links are reset and connections refused.
    fn kill(&mut self, id: &str) {
        super::lock(&self.hub.running).remove(&NodeId(id.into()));
        self.processes.remove(id);
        for runtime in self.processes.values() {
            runtime.arrived(Arrival::Lost(NodeId(id.into())));
        }
    }

    fn node(&self, id: &str) -> Node {
        self.processes[id].node().expect("a media node")
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        let wait = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, wait).await.expect("within the test's patience");
    }

    async fn join(&self, room: &str) -> Route {
        let master = self.processes["m1"].master().expect("a master");
        let attempt = async {
            loop {
                let Ok(route) = master.route(room, true).await else { continue };
                if self.node(&route.node.0).admit(room, &route.epoch).await.is_ok() {
                    return route;
                }
            }
        };
        timeout(PATIENCE, attempt).await.expect("a join succeeds")
    }
}

async fn command(node: &Node, wanted: impl Fn(&NodeCommand) -> bool) -> NodeCommand {
    let wait = async {
        loop {
            let command = node.next_command().await;
            if wanted(&command) {
                return command;
            }
        }
    };
    timeout(PATIENCE, wait).await.expect("the command comes")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_is_found_dead_within_600_ms_and_its_room_goes_on_elsewhere_as_described() {
    let mut cluster = Cluster::of(&["m1", "n1", "n2"]).await;
    let route = cluster.join("standup").await;
    let (first, second) = if route.node.0 == "n1" { ("n1", "n2") } else { ("n2", "n1") };
    cluster.node(first).room_changed("standup", json!({ "metadata": "kept" }));
    let master = cluster.processes["m1"].master().expect("a master");
    cluster.until(|| master.view(|view| view.description("standup").is_some())).await;

    let mut deaths = master.deaths();
    let killed = std::time::Instant::now();
    cluster.kill(first);
    let dead = timeout(PATIENCE, deaths.recv()).await.expect("a death").expect("told");
    println!("found dead after {:?}", killed.elapsed());
    assert_eq!(dead.node.0, first);

    let taken =
        command(&cluster.node(second), |command| matches!(command, NodeCommand::TakeOver { .. })).await;
    println!("taken over after {:?}", killed.elapsed());
    let NodeCommand::TakeOver { room, epoch, description } = taken else { unreachable!() };
    assert_eq!((room.as_str(), description), ("standup", Some(json!({ "metadata": "kept" }))));
    assert!(epoch > route.epoch);
    // Nobody is let in before the engine has begun the room: they would begin another.
    let early = cluster.node(second).admit("standup", &epoch).await;
    assert!(matches!(early, Err(Refusal::NotHere)), "{early:?}");
    cluster.node(second).restored("standup");
    let again = cluster.join("standup").await;
    assert_eq!((again.node.0.as_str(), again.epoch), (second, epoch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_hands_its_rooms_over_one_by_one_and_takes_no_others() {
    let cluster = Cluster::of(&["m1", "n1", "n2"]).await;
    let mut rooms = Vec::new();
    for n in 0..12 {
        let room = format!("room-{n}");
        if cluster.join(&room).await.node.0 == "n1" {
            rooms.push(room);
        }
    }
    assert!(!rooms.is_empty(), "two nodes share rooms");
    let master = cluster.processes["m1"].master().expect("a master");
    master.drain(NodeId("n1".into()), PATIENCE, "test").await.expect("a drain begins");
    let (from, to) = (cluster.node("n1"), cluster.node("n2"));
    let mut moved = 0;
    let drained = async {
        loop {
            match from.next_command().await {
                NodeCommand::MoveRoom { room, .. } => {
                    to.room_prepared(&room);
                    from.move_prepared(&room, true);
                }
                NodeCommand::Moved { target, .. } => {
                    assert_eq!(target.0, "n2");
                    moved += 1;
                }
                NodeCommand::Drained => return,
                _ => {}
            }
        }
    };
    timeout(PATIENCE, drained).await.expect("the drain ends");
    assert_eq!(moved, rooms.len());
    assert!(from.rooms().is_empty());
    for room in &rooms {
        assert_eq!(cluster.join(room).await.node.0, "n2");
    }
    cluster.until(|| master.drain_status(&NodeId("n1".into())).is_some_and(|status| status.done)).await;
    master.cancel_drain(NodeId("n1".into())).await.expect("the drain is cancelled");
    command(&from, |command| *command == NodeCommand::Draining(false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_nobody_confirms_closes_its_gate_and_refuses_joins() {
    let mut cluster = Cluster::of(&["m1", "n1"]).await;
    let node = cluster.node("n1");
    // Only the gate is left of the process: no task feeds it.
    let process = cluster.processes.remove("n1").expect("it runs");
    drop(process);
    cluster.until(|| !node.may_serve()).await;
    let refused = node.admit("standup", &Epoch::settled(u64::MAX)).await;
    assert_eq!(refused.err(), Some(Refusal::Fenced));
}

#[tokio::test]
async fn a_store_of_another_cluster_or_of_a_newer_version_is_refused() {
    let (path, store) = store();
    claim_store(&*store, "ours").await.expect("an empty store is claimed");
    claim_store(&*store, "ours").await.expect("our own store is welcome");
    let other = claim_store(&*store, "theirs").await;
    assert_eq!(other, Err(StartError::OtherCluster { found: "ours".into(), ours: "theirs".into() }));
    let newer = store::Txn::new().put(crate::record::CLUSTER_KEY, r#"{"id":"ours","schema":9,"more":1}"#);
    store.commit(newer).await.expect("written");
    assert_eq!(claim_store(&*store, "ours").await, Err(StartError::NewerSchema { found: 9 }));
    let _ = std::fs::remove_file(path);
}
