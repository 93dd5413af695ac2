//! The edge of the state machines: what goes in, what comes out. They own no socket and no clock; a driver
//! (`runtime`, or the simulation) passes every [`Input`] with the [`Time`], then carries out all [`Output`]s.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use store::{Batch, Committed, Entry, LeaseId, Txn};

use super::messages::Message;
use super::route::{Route, RouteError};
use crate::record::{Epoch, Load, NodeId};

/// Now, by both clocks. Decisions are made by the monotonic one; Unix time is only written into records, and
/// read from them within limits, for it jumps.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    pub now: Instant,
    pub unix_ms: i64,
}

/// Names a call to the store that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct OpId(pub u64);

/// Names a caller that waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A call to the store.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreOp {
    Grant(Duration),
    KeepAlive(LeaseId),
    Revoke(LeaseId),
    Commit(Txn),
}

/// How a [`StoreOp`] ended.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreAnswer {
    Granted(LeaseId),
    /// Kept alive, or revoked.
    Done,
    Committed(Committed),
    LeaseLost,
    /// It may have happened or not.
    Unavailable,
    /// The store will never do this; the reason names the remedy.
    Refused(String),
}

/// A prefix of the store that is watched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Section {
    Nodes,
    Rooms,
    Drains,
}

impl Section {
    pub const ALL: [Section; 3] = [Section::Nodes, Section::Rooms, Section::Drains];

    /// What its keys begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Section::Nodes => crate::record::NODES,
            Section::Rooms => crate::record::ROOMS,
            Section::Drains => crate::record::DRAINS,
        }
    }
}

/// How an attempt to reach a process at its internal address ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProbeOutcome {
    /// The host refuses the connection: no process listens.
    Refused,
    /// Something listens there.
    Answered,
    /// Nothing came back in time.
    Silent,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Nothing but time: at least every 50 ms.
    Tick,
    /// All entries of a section as of `revision`: at the start, and after a watch missed too much.
    Snapshot {
        section: Section,
        entries: Vec<Entry>,
        revision: u64,
    },
    /// Changes of a section.
    Changes {
        section: Section,
        batch: Batch,
    },
    Store {
        op: OpId,
        answer: StoreAnswer,
    },
    /// A frame of a link.
    Message(Message),
    /// To a master: the link from this process was reset or closed.
    LinkReset(NodeId),
    /// Answer to [`Output::Probe`].
    Probed {
        node: NodeId,
        incarnation: u64,
        outcome: ProbeOutcome,
    },
    /// To a master: where is this room? `create`: place it if it is nowhere.
    Route {
        id: RequestId,
        room: String,
        create: bool,
    },
    /// To a master: its caller of [`Input::Route`] waits no longer.
    RouteDropped(RequestId),
    /// To a master: empty this node.
    Drain {
        id: RequestId,
        node: NodeId,
        deadline: Duration,
        by: String,
    },
    /// To a master: let it serve again.
    CancelDrain {
        id: RequestId,
        node: NodeId,
    },
    /// To a media node: how busy it is, about once a second.
    Load(Load),
    /// To a media node: what outlives it of this room has changed.
    RoomChanged {
        room: String,
        description: Value,
    },
    /// To a media node: the room is over.
    RoomEnded {
        room: String,
    },
    /// To a media node: a snapshot of this room was imported here and waits for its hand-over.
    Prepared {
        room: String,
    },
    /// To a media node: answer to [`NodeCommand::MoveRoom`]: the target has imported the room, or could not.
    MovePrepared {
        room: String,
        ok: bool,
    },
    /// The process is about to end: leave the registry.
    Leave,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Store {
        op: OpId,
        call: StoreOp,
    },
    /// To every master this process has a link to, itself included if it is one.
    ToMasters(Message),
    /// To a process that has a link to this master.
    ToNode {
        node: NodeId,
        message: Message,
    },
    /// Try to connect to a process; a refused connection proves that it is gone.
    Probe {
        node: NodeId,
        incarnation: u64,
        address: SocketAddr,
    },
    /// Answer to [`Input::Route`].
    Routed {
        id: RequestId,
        result: Result<Route, RouteError>,
    },
    /// Answer to [`Input::Drain`] and [`Input::CancelDrain`].
    DrainAnswered {
        id: RequestId,
        result: Result<(), super::drain::DrainError>,
    },
    /// To the gateway: clients of this node must connect anew. `incarnation` is the one that died.
    NodeDead {
        node: NodeId,
        incarnation: u64,
    },
    /// To the media engine.
    Command(NodeCommand),
    /// Another process has this node id: stop, with this reason and remedy.
    Fatal(String),
}

/// An order to the media engine of this process.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeCommand {
    /// Drop all rooms; tell clients to reconnect. Nothing may be sent any more.
    FenceNow,
    /// Registered (again), as this incarnation: rooms may come.
    Registered { incarnation: u64 },
    /// Serve this room, whose node died, from its description.
    TakeOver { room: String, epoch: Epoch, description: Option<Value> },
    /// Serve the room that was prepared.
    Activate { room: String, epoch: Epoch },
    /// Forget what was prepared of this room: it stays where it was.
    DropPrepared { room: String },
    /// Another node serves this room: drop it, tell its clients to reconnect.
    DropRoom { room: String },
    /// Close this room: the deadline of the drain has passed.
    CloseRoom { room: String },
    /// The room is served at this epoch from now on (a provisional one was settled).
    EpochChanged { room: String, epoch: Epoch },
    /// Export the room to the target, which imports it as prepared; answer with [`Input::MovePrepared`].
    MoveRoom { room: String, target: NodeId, address: SocketAddr, epoch: Epoch },
    /// The room is the target's at this epoch: activate it there, send the clients over.
    Moved { room: String, target: NodeId, address: SocketAddr, epoch: Epoch },
    /// The room stays; let the target forget it.
    MoveAborted { room: String, target: NodeId, address: SocketAddr },
    /// A drain began (true) or was cancelled (false).
    Draining(bool),
    /// Nothing is left to move: the process may end.
    Drained,
}

/// Collects outputs and numbers the calls to the store.
#[derive(Debug, Default)]
pub struct Outbox {
    next_op: u64,
    outputs: Vec<Output>,
}

impl Outbox {
    pub(super) fn store(&mut self, call: StoreOp) -> OpId {
        self.next_op += 1;
        let op = OpId(self.next_op);
        self.outputs.push(Output::Store { op, call });
        op
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push(output);
    }

    pub(super) fn command(&mut self, command: NodeCommand) {
        self.push(Output::Command(command));
    }

    /// All outputs since the last call, in order.
    pub fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }
}
