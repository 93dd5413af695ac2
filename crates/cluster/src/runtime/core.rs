//! The driver: feeds a [`Member`] and carries out what it says. Inputs come from many tasks; each takes the lock
//! for the microseconds of one step and never across an await.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use store::{Error, Store, range_all};
use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::task::JoinSet;

use super::gate::ServeGate;
use super::lock;
use super::transport::{Arrival, Transport};
use crate::control::{
    Admission, DrainError, Input, Member, Message, NodeCommand, OpId, Output, RequestId, Route, RouteError,
    Section, StoreAnswer, StoreOp, Time,
};
use crate::record::{Death, Epoch, NodeId};
use crate::status::{Chronicle, ClusterStatus};

/// Time is let pass this often; heartbeats go every 100 ms.
const TICK: Duration = Duration::from_millis(25);

/// Before a range or a watch that failed is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Orders that may wait for the engine. It takes microseconds for each; one that is this far behind is stuck,
/// and a node with a stuck engine must not serve.
const MAX_COMMANDS: usize = 100_000;

/// Deaths that a slow reader may lag behind.
const DEATHS: usize = 256;

#[derive(Debug)]
pub(super) struct Core {
    step: Mutex<Step>,
    store: Arc<dyn Store>,
    transport: Arc<dyn Transport>,
    me: NodeId,
    is_master: bool,
    pub(super) gate: ServeGate,
    pub(super) deaths: broadcast::Sender<Death>,
    pub(super) commands: Notify,
    /// Something in the view changed.
    pub(super) changed: Notify,
    pub(super) fatal: watch::Sender<Option<String>>,
    /// Rooms that found no node.
    pub(super) refused: AtomicU64,
    this: Weak<Core>,
}

#[derive(Debug)]
struct Step {
    member: Member,
    next_request: u64,
    routes: HashMap<RequestId, oneshot::Sender<Result<Route, RouteError>>>,
    drains: HashMap<RequestId, oneshot::Sender<Result<(), DrainError>>>,
    commands: VecDeque<NodeCommand>,
    /// Rooms that the engine is to begin from their descriptions and has not begun yet: nobody is let in meanwhile.
    /// Some of the rooms held.
    restoring: HashSet<String>,
    masters: Vec<(NodeId, SocketAddr)>,
    chronicle: Chronicle,
}

impl Core {
    pub(super) fn new(
        member: Member,
        me: NodeId,
        is_master: bool,
        store: Arc<dyn Store>,
        transport: Arc<dyn Transport>,
    ) -> Arc<Core> {
        let step = Step {
            member,
            next_request: 0,
            routes: HashMap::new(),
            drains: HashMap::new(),
            commands: VecDeque::new(),
            restoring: HashSet::new(),
            masters: Vec::new(),
            chronicle: Chronicle::new(),
        };
        Arc::new_cyclic(|this| Core {
            step: Mutex::new(step),
            store,
            transport,
            me,
            is_master,
            gate: ServeGate::new(Instant::now()),
            deaths: broadcast::Sender::new(DEATHS),
            commands: Notify::new(),
            changed: Notify::new(),
            fatal: watch::Sender::new(None),
            refused: AtomicU64::new(0),
            this: this.clone(),
        })
    }

    pub(super) fn me(&self) -> &NodeId {
        &self.me
    }

    /// Starts the tasks that feed it; they end with the set.
    pub(super) fn start(self: &Arc<Core>, tasks: &mut JoinSet<()>) {
        for section in Section::ALL {
            tasks.spawn(self.clone().watch(section));
        }
        let core = self.clone();
        tasks.spawn(async move {
            let mut interval = tokio::time::interval(TICK);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                core.input(Input::Tick);
            }
        });
    }

    /// Reads the member.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Member) -> T) -> T {
        read(&lock(&self.step).member)
    }

    /// What this process says of the cluster, with so many rooms and events.
    pub(super) fn report(&self, cluster: &str, rooms: usize, events: usize) -> ClusterStatus {
        let step = lock(&self.step);
        let time = Time { now: Instant::now(), unix_ms: unix_ms() };
        step.chronicle.report(time, cluster, &self.me, &step.member, rooms, events)
    }

    /// See [`Member::admit`]. Whoever is given a description is to say [`Self::restored`].
    pub(super) fn admit(&self, room: &str, epoch: &Epoch, waited: bool) -> Admission {
        let mut step = lock(&self.step);
        if step.restoring.contains(room) {
            return Admission::Wait;
        }
        let (admission, outputs) = step.member.admit(Instant::now(), room, epoch, waited);
        if matches!(admission, Admission::Serve { description: Some(_), .. }) {
            step.restoring.insert(room.to_owned());
        }
        let loops = self.carry_out(&mut step, outputs);
        self.run(&mut step, loops);
        admission
    }

    /// The engine has begun the room, or cannot.
    pub(super) fn restored(&self, room: &str) {
        if lock(&self.step).restoring.remove(room) {
            self.changed.notify_waiters();
        }
    }

    pub(super) fn input(&self, input: Input) {
        let mut step = lock(&self.step);
        self.run(&mut step, VecDeque::from([input]));
    }

    /// A frame or its absence.
    pub(super) fn arrived(&self, arrival: Arrival) {
        match arrival {
            Arrival::Lost(node) => self.input(Input::LinkReset(node)),
            Arrival::Frame { from, frame } => match Message::decode(&frame) {
                Ok(Message::Heartbeat(beat)) if beat.node != from => {
                    tracing::warn!(%from, claims = %beat.node, "a heartbeat in another node's name is dropped");
                }
                Ok(message) => self.input(Input::Message(message)),
                Err(error) => tracing::warn!(%from, %error, "a frame is dropped"),
            },
        }
    }

    pub(super) fn route(
        &self,
        room: String,
        create: bool,
    ) -> (RequestId, oneshot::Receiver<Result<Route, RouteError>>) {
        let mut step = lock(&self.step);
        step.next_request += 1;
        let id = RequestId(step.next_request);
        let (answer, waiting) = oneshot::channel();
        step.routes.insert(id, answer);
        self.run(&mut step, VecDeque::from([Input::Route { id, room, create }]));
        (id, waiting)
    }

    pub(super) fn route_dropped(&self, id: RequestId) {
        let mut step = lock(&self.step);
        if step.routes.remove(&id).is_some() {
            self.run(&mut step, VecDeque::from([Input::RouteDropped(id)]));
        }
    }

    pub(super) fn drain(
        &self,
        input: impl FnOnce(RequestId) -> Input,
    ) -> oneshot::Receiver<Result<(), DrainError>> {
        let mut step = lock(&self.step);
        step.next_request += 1;
        let id = RequestId(step.next_request);
        let (answer, waiting) = oneshot::channel();
        step.drains.insert(id, answer);
        self.run(&mut step, VecDeque::from([input(id)]));
        waiting
    }

    pub(super) fn next_command(&self) -> Option<NodeCommand> {
        lock(&self.step).commands.pop_front()
    }

    fn run(&self, step: &mut Step, mut inputs: VecDeque<Input>) {
        while let Some(input) = inputs.pop_front() {
            let news = matches!(input, Input::Snapshot { .. } | Input::Changes { .. });
            let time = Time { now: Instant::now(), unix_ms: unix_ms() };
            step.chronicle.before(time, step.member.view(), &input);
            let outputs = step.member.handle(time, input);
            step.chronicle.after(time, step.member.has_store(time.now), &outputs);
            inputs.extend(self.carry_out(step, outputs));
            if news {
                self.follow_masters(step);
                self.changed.notify_waiters();
            }
        }
        self.gate.set(step.member.serve_deadline());
    }

    /// Does what the member says; returns what it says to itself.
    fn carry_out(&self, step: &mut Step, outputs: Vec<Output>) -> VecDeque<Input> {
        let mut loops = VecDeque::new();
        for output in outputs {
            match output {
                Output::Store { op, call } => self.call_store(op, call),
                Output::ToMasters(message) => {
                    self.transport.to_masters(message.encode().into());
                    if self.is_master {
                        loops.push_back(Input::Message(message));
                    }
                }
                Output::ToNode { node, message } if node == self.me => {
                    loops.push_back(Input::Message(message));
                }
                Output::ToNode { node, message } => self.transport.to_node(&node, message.encode().into()),
                Output::Probe { node, incarnation, address } => self.probe(node, incarnation, address),
                Output::Routed { id, result } => {
                    if matches!(result, Err(RouteError::Placement(_))) {
                        self.refused.fetch_add(1, Ordering::Relaxed);
                    }
                    if let Some(answer) = step.routes.remove(&id) {
                        let _ = answer.send(result);
                    }
                }
                Output::DrainAnswered { id, result } => {
                    if let Some(answer) = step.drains.remove(&id) {
                        let _ = answer.send(result);
                    }
                }
                Output::NodeDead { node, incarnation } => {
                    tracing::warn!(%node, incarnation, "node is dead; its rooms go to others");
                    // No reader, no matter.
                    let _ = self.deaths.send(Death { node, incarnation });
                }
                Output::Command(command) => self.command(step, command),
                Output::Fatal(reason) => {
                    tracing::error!("{reason}");
                    self.fatal.send_replace(Some(reason));
                }
            }
        }
        loops
    }

    fn command(&self, step: &mut Step, command: NodeCommand) {
        if command == NodeCommand::FenceNow {
            tracing::warn!("fenced: the cluster has not confirmed this node in time; its rooms are dropped");
            // Whatever was ordered before is void. The gate closes before the engine hears of it.
            step.commands.clear();
            step.restoring.clear();
            self.gate.set(None);
        }
        if step.commands.len() >= MAX_COMMANDS {
            self.fatal.send_replace(Some("the media engine does not take orders; restart the node".into()));
            return;
        }
        if let NodeCommand::TakeOver { room, description: Some(_), .. } = &command {
            step.restoring.insert(room.clone());
        }
        step.commands.push_back(command);
        self.commands.notify_one();
    }

    fn follow_masters(&self, step: &mut Step) {
        let mut masters: Vec<(NodeId, SocketAddr)> = step
            .member
            .view()
            .masters()
            .map(|(id, entry)| (id.clone(), entry.record.internal_address))
            .collect();
        // A master that left the registry may only have been cut off from the store: its link stays until a
        // process of that name comes back elsewhere.
        for (id, address) in &step.masters {
            if !masters.iter().any(|(known, _)| known == id) {
                masters.push((id.clone(), *address));
            }
        }
        masters.sort();
        if step.masters != masters {
            self.transport.set_masters(&masters);
            step.masters = masters;
        }
    }

    fn call_store(&self, op: OpId, call: StoreOp) {
        let (store, this) = (self.store.clone(), self.this.clone());
        tokio::spawn(async move {
            let answer = match call {
                StoreOp::Grant(ttl) => store.grant(ttl).await.map(StoreAnswer::Granted),
                StoreOp::KeepAlive(lease) => store.keep_alive(lease).await.map(|_| StoreAnswer::Done),
                StoreOp::Revoke(lease) => store.revoke(lease).await.map(|()| StoreAnswer::Done),
                StoreOp::Commit(txn) => store.commit(txn).await.map(StoreAnswer::Committed),
            };
            let answer = answer.unwrap_or_else(|error| match error {
                Error::LeaseNotFound { .. } => StoreAnswer::LeaseLost,
                error if error.is_transient() => StoreAnswer::Unavailable,
                error => {
                    tracing::error!(%error, "the store refused a call");
                    StoreAnswer::Refused(error.to_string())
                }
            });
            if let Some(core) = this.upgrade() {
                core.input(Input::Store { op, answer });
            }
        });
    }

    fn probe(&self, node: NodeId, incarnation: u64, address: SocketAddr) {
        let (attempt, this) = (self.transport.probe(address), self.this.clone());
        tokio::spawn(async move {
            let outcome = attempt.await;
            if let Some(core) = this.upgrade() {
                core.input(Input::Probed { node, incarnation, outcome });
            }
        });
    }

    /// Keeps a section of the view fresh.
    async fn watch(self: Arc<Core>, section: Section) {
        loop {
            let Err(error) = self.follow(section).await;
            tracing::debug!(?section, %error, "reading the store anew");
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn follow(&self, section: Section) -> Result<std::convert::Infallible, Error> {
        let (entries, revision) = range_all(&*self.store, section.prefix()).await?;
        let mut watch = self.store.watch(section.prefix(), revision + 1).await?;
        self.input(Input::Snapshot { section, entries, revision });
        loop {
            let batch = watch.next().await?;
            self.input(Input::Changes { section, batch });
        }
    }
}

fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
