//! One process of a cluster: its view of the store, its registration, its fence, and what its roles add: a
//! master's [`Controller`], a media node's [`Agent`]. The only door for a driver: pass every input to
//! [`Member::handle`], carry out what it returns.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use store::Txn;

use super::detector::{Health, STORE_GRACE};
use super::drain::DrainStatus;
use super::fence::Fence;
use super::io::{Input, NodeCommand, Outbox, Output, Section, StoreOp, Time};
use super::master::{Contact, Controller};
use super::messages::{Ack, Heartbeat, Message, Standing as AckStanding};
use super::node::{Admission, Agent, Refusal, Standing};
use super::placement::Selector;
use super::registration::{Event, Registration};
use super::view::{Change, View, drain_key};
use crate::record::{Epoch, Load, NodeId, NodeRecord, NodeState, Role};

/// How often a process says that it is there.
pub const HEARTBEAT_EVERY: Duration = Duration::from_millis(100);

/// Inputs other than ticks let time pass at most this often: what time brings takes longer than most inputs.
const CHORES_EVERY: Duration = Duration::from_millis(10);

/// How often a heartbeat carries the load and the rooms that the store may not show.
const DETAILS_EVERY: Duration = Duration::from_secs(1);

/// The store counts as there for this long after it was last asked something it answered.
const STORE_FRESH: Duration = Duration::from_millis(1500);

/// Heartbeats whose answers still count: those of the last seconds.
const MAX_PENDING_BEATS: usize = 64;

/// Who this process is and how it decides.
#[derive(Clone, Debug)]
pub struct MemberConfig {
    pub record: NodeRecord,
    /// Masters that the cluster is configured with.
    pub masters: usize,
    pub selector: Selector,
    /// For choices that need chance, and for incarnations after the first.
    pub seed: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Member {
    me: NodeId,
    view: View,
    registration: Registration,
    fence: Fence,
    master: Option<Controller>,
    agent: Option<Agent>,
    rng: fastrand::Rng,
    out: Outbox,
    seq: u64,
    next_beat: Instant,
    next_details: Instant,
    sent: VecDeque<(u64, Instant)>,
    load: Load,
    /// Rooms revision of each master, from its acks.
    masters_know: BTreeMap<NodeId, u64>,
    leaving: bool,
    ticked: Instant,
}

impl Member {
    pub fn new(now: Instant, config: MemberConfig) -> Member {
        let mut rng = fastrand::Rng::with_seed(config.seed);
        let me = config.record.id.clone();
        let has = |role| config.record.roles.contains(&role);
        let master = has(Role::Master)
            .then(|| Controller::new(now, me.clone(), config.masters, config.selector.clone(), rng.u64(..)));
        let agent = has(Role::Media).then(|| Agent::new(me.clone()));
        Member {
            view: View::default(),
            registration: Registration::new(now, config.record),
            fence: Fence::new(),
            master,
            agent,
            rng,
            out: Outbox::default(),
            seq: 0,
            next_beat: now,
            next_details: now,
            sent: VecDeque::new(),
            load: Load::default(),
            masters_know: BTreeMap::new(),
            leaving: false,
            ticked: now,
            me,
        }
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    pub fn incarnation(&self) -> u64 {
        self.registration.incarnation()
    }

    /// Whether media and signalling may be sent now.
    pub fn may_serve(&self, now: Instant) -> bool {
        self.agent.is_some() && self.fence.may_serve(now)
    }

    /// Until when [`Member::may_serve`] holds if nothing more arrives.
    pub fn serve_deadline(&self) -> Option<Instant> {
        self.fence.deadline()
    }

    /// Rooms served here, with their epochs.
    pub fn held(&self) -> impl Iterator<Item = (&str, &Epoch)> {
        self.agent.iter().flat_map(Agent::rooms)
    }

    /// Whether `room` is served here.
    pub fn holds(&self, room: &str) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.holds(room))
    }

    /// Whether the store answered a moment ago.
    pub fn has_store(&self, now: Instant) -> bool {
        self.contact(now).has_store
    }

    /// How far the drain of `node` is; `None`: it is not draining, or this process is no master.
    pub fn drain_status(&self, node: &NodeId) -> Option<DrainStatus> {
        self.master.as_ref()?.drain_status(&self.view, node)
    }

    /// What this process thinks of another; `None` if it is no master.
    pub fn health(&self, now: Instant, node: &NodeId) -> Option<super::detector::Health> {
        self.master.as_ref().map(|master| master.detector.health(now, node))
    }

    /// Whether this process may speak for the cluster (a balancer's health check asks).
    pub fn is_ready(&self, now: Instant) -> bool {
        let contact = self.contact(now);
        let storeless = |master: &Controller| master.detector.storeless(now, contact.has_store);
        self.view.is_complete()
            && match &self.master {
                Some(master) => contact.in_grace || storeless(master),
                None => self.may_serve(now),
            }
    }

    /// Whether this process, a master, hears `node` and does not hold it for dead.
    pub fn is_alive(&self, now: Instant, node: &NodeId) -> bool {
        self.master.as_ref().is_some_and(|master| master.detector.health(now, node) == Health::Alive)
    }

    /// Whether this process, a master, holds `node` for dead.
    pub fn is_dead(&self, now: Instant, node: &NodeId) -> bool {
        self.master.as_ref().is_some_and(|master| master.detector.health(now, node) == Health::Dead)
    }

    /// Whether the registry, as far as known here, lists this incarnation.
    pub fn is_in_view(&self) -> bool {
        self.view.node(&self.me).is_some_and(|entry| entry.record.incarnation == self.incarnation())
    }

    fn contact(&self, now: Instant) -> Contact {
        let within = |limit| self.registration.confirmed().is_some_and(|asked| now < asked + limit);
        Contact { has_store: within(STORE_FRESH), in_grace: within(STORE_GRACE) }
    }

    fn standing(&self, now: Instant) -> Standing {
        let registered = Some(self.registration.record().registered).filter(|revision| *revision > 0);
        Standing { registered, has_store: self.contact(now).has_store, may_serve: self.fence.may_serve(now) }
    }

    /// Whether a client that a master sent with `epoch` may join `room` here. `waited`: the caller got
    /// [`Admission::Wait`] for as long as it cares to wait.
    pub fn admit(
        &mut self,
        now: Instant,
        room: &str,
        epoch: &Epoch,
        waited: bool,
    ) -> (Admission, Vec<Output>) {
        self.check_fence(now);
        let standing = self.standing(now);
        let admission = match &mut self.agent {
            None => Admission::Refuse(Refusal::NotHere),
            Some(agent) if waited => agent.admit_unseen(&self.view, standing, room, epoch, &mut self.out),
            Some(agent) => agent.admit(&self.view, standing, room, epoch, &mut self.out),
        };
        (admission, self.out.take())
    }

    /// Takes one input; returns what to do, in order.
    pub fn handle(&mut self, t: Time, input: Input) -> Vec<Output> {
        // First of all: a process that was stopped must notice before it believes anything.
        self.check_fence(t.now);
        let due = input == Input::Tick || t.now >= self.ticked + CHORES_EVERY;
        self.dispatch(t, input);
        if due {
            self.ticked = t.now;
            self.tick(t);
        }
        self.out.take()
    }

    fn check_fence(&mut self, now: Instant) {
        if self.agent.is_some() && self.fence.fell(now) {
            self.fall(now);
        }
    }

    /// Fences this incarnation and begins the next.
    fn fall(&mut self, now: Instant) {
        if let Some(agent) = &mut self.agent {
            agent.fence(&mut self.out);
        }
        self.fence = Fence::new();
        self.sent.clear();
        let incarnation = self.rng.u64(1..);
        if !self.leaving {
            self.registration.renew(now, incarnation, &mut self.out);
        }
    }

    fn dispatch(&mut self, t: Time, input: Input) {
        let contact = self.contact(t.now);
        let standing = self.standing(t.now);
        let Member { view, master, agent, out, .. } = self;
        match input {
            Input::Tick => {}
            Input::Snapshot { section, entries, revision } => {
                let changes = view.apply_snapshot(section, &entries, revision);
                self.changed(t, &changes);
                if let Some(master) = &mut self.master {
                    master.rescan();
                }
            }
            Input::Changes { section, batch } => {
                let changes = view.apply(section, &batch);
                self.changed(t, &changes);
            }
            Input::Store { op, answer } => {
                if let Some(event) = self.registration.answer(t.now, op, &answer, out) {
                    return self.registered(t, event);
                }
                if let Some(master) = master {
                    master.answer(t, view, contact, op, &answer, out);
                }
                if let Some(agent) = agent {
                    agent.answer(t.now, op, &answer, out);
                }
            }
            Input::Message(Message::Heartbeat(beat)) => {
                if let Some(master) = master {
                    master.heartbeat(t, view, contact, &beat, out);
                }
            }
            Input::Message(Message::Ack(ack)) => self.acked(t, &ack),
            Input::LinkReset(node) => {
                if let Some(master) = master {
                    master.detector.link_reset(t.now, &node);
                }
            }
            Input::Probed { node, incarnation, outcome } => {
                if let Some(master) = master {
                    master.probed(t.now, &node, incarnation, outcome);
                }
            }
            Input::Route { id, room, create } => {
                if let Some(master) = master {
                    master.route(t, view, contact, id, (room, create), out);
                }
            }
            Input::RouteDropped(id) => {
                if let Some(master) = master {
                    master.route_dropped(id);
                }
            }
            Input::Drain { id, node, deadline, by } => {
                if let Some(master) = master {
                    master.drain(t, view, id, (node, deadline, by), out);
                }
            }
            Input::CancelDrain { id, node } => {
                if let Some(master) = master {
                    master.cancel_drain(view, id, node, out);
                }
            }
            Input::Load(load) => self.load = load,
            Input::RoomChanged { room, description } => {
                if let Some(agent) = agent {
                    agent.describe(t.now, &room, description);
                }
            }
            Input::RoomEnded { room } => {
                if let Some(agent) = agent {
                    agent.end(t.now, &room, out);
                }
            }
            Input::Prepared { room } => {
                if let Some(agent) = agent {
                    agent.prepared(t.now, view, standing, &room, out);
                }
            }
            Input::MovePrepared { room, ok } => {
                if let Some(agent) = agent {
                    agent.move_prepared(&room, ok, out);
                }
            }
            Input::Leave => {
                self.leaving = true;
                if let Some(agent) = agent {
                    if agent.is_draining() && agent.room_count() == 0 {
                        // Drained: the next process of this name serves again.
                        out.store(StoreOp::Commit(Txn::new().delete(drain_key(&self.me))));
                    }
                    agent.fence(out);
                }
                self.fence.drop_now();
                self.registration.leave(&mut self.out);
            }
        }
    }

    fn registered(&mut self, t: Time, event: Event) {
        match event {
            Event::Registered(sent) => {
                self.fence.confirm_by_lease(t.now, sent);
                let incarnation = self.registration.incarnation();
                self.out.command(NodeCommand::Registered { incarnation });
                let standing = self.standing(t.now);
                if let Some(agent) = &mut self.agent {
                    agent.registered(t, &self.view, standing, &mut self.out);
                }
            }
            Event::Renewed(sent) => self.fence.confirm_by_lease(t.now, sent),
            Event::Lost => {}
            Event::Duplicate(reason) => self.out.push(Output::Fatal(reason)),
        }
    }

    fn changed(&mut self, t: Time, changes: &[Change]) {
        let contact = self.contact(t.now);
        for change in changes {
            if let Change::NodeGone { node, incarnation, revision, .. } = change
                && *node == self.me
                && *incarnation == self.registration.incarnation()
            {
                self.registration.vanished(t.now, *revision);
            }
            if let Some(master) = &mut self.master {
                master.changed(t, &self.view, contact, change, &mut self.out);
            }
            let standing = self.standing(t.now);
            if let Some(agent) = &mut self.agent {
                agent.changed(t, &self.view, standing, change, &mut self.out);
            }
        }
    }

    fn acked(&mut self, t: Time, ack: &Ack) {
        if ack.incarnation != self.registration.incarnation() {
            return;
        }
        self.masters_know.insert(ack.master.clone(), ack.view_revision);
        match ack.standing {
            AckStanding::Confirmed => {
                if let Some((_, sent)) = self.sent.iter().find(|(seq, _)| *seq == ack.seq) {
                    self.fence.confirm_by_master(t.now, *sent);
                }
            }
            AckStanding::Unknown => {}
            AckStanding::Condemned => return self.fall(t.now),
        }
        if let Some(agent) = &mut self.agent {
            agent.orders(t.now, &ack.moves, &mut self.out);
        }
    }

    fn tick(&mut self, t: Time) {
        self.registration.tick(t.now, &mut self.out);
        let contact = self.contact(t.now);
        if let Some(master) = &mut self.master {
            master.tick(t, &self.view, contact, &mut self.out);
        }
        let standing = self.standing(t.now);
        if let Some(agent) = &mut self.agent {
            agent.tick(t.now, &self.view, standing, &mut self.out);
        }
        if t.now >= self.next_beat && !self.leaving {
            self.beat(t, contact);
        }
    }

    fn beat(&mut self, t: Time, contact: Contact) {
        self.next_beat = t.now + HEARTBEAT_EVERY;
        self.seq += 1;
        self.sent.push_back((self.seq, t.now));
        if self.sent.len() > MAX_PENDING_BEATS {
            self.sent.pop_front();
        }
        let details = t.now >= self.next_details;
        if details {
            self.next_details = t.now + DETAILS_EVERY;
        }
        let known = self.masters_know.values().copied().min().unwrap_or(0);
        let agent = self.agent.as_mut();
        let beat = Heartbeat {
            node: self.me.clone(),
            incarnation: self.registration.incarnation(),
            seq: self.seq,
            view_revision: self.view.revision(Section::Nodes),
            state: match &agent {
                Some(agent) if agent.is_draining() => NodeState::Draining,
                _ => NodeState::Serving,
            },
            load: details.then_some(self.load),
            rooms: agent.as_ref().map_or(0, |agent| agent.room_count() as u32),
            moving: agent.as_ref().map(|agent| agent.moving()).unwrap_or_default(),
            unsettled: agent
                .filter(|agent| details || agent.unsettled_changed())
                .map(|agent| agent.unsettled(known)),
            master: self.master.as_ref().map(|master| master.report(t.now, contact)),
        };
        self.out.push(Output::ToMasters(Message::Heartbeat(beat)));
    }
}
