//! The state of the cluster at a moment: what the view draws and `sala cluster status` prints.

use serde::{Deserialize, Serialize};

use cluster::status::RoomStatus;

/// Events that are kept for the view.
pub(crate) const MAX_EVENTS: usize = 200;

/// Everything.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) cluster: String,
    /// Since the start, in seconds.
    pub(crate) up_s: u64,
    /// Where clients connect.
    pub(crate) url: String,
    pub(crate) https_url: String,
    pub(crate) namespaces: bool,
    pub(crate) masters: Vec<MasterLine>,
    pub(crate) media: Vec<MediaLine>,
    /// Whether the master that was asked says that the store has a quorum; none when no master answers.
    pub(crate) store_quorum: Option<bool>,
    /// The host of etcd's leader.
    pub(crate) store_leader: Option<String>,
    pub(crate) rooms_total: usize,
    pub(crate) rooms: Vec<RoomStatus>,
    pub(crate) connections: usize,
    /// Connects that the balancer had to try again.
    pub(crate) retried: u64,
    /// Oldest first.
    pub(crate) events: Vec<EventLine>,
}

/// A master and the member of etcd beside it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct MasterLine {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) sala: ProcessLine,
    pub(crate) etcd: ProcessLine,
    pub(crate) etcd_role: EtcdRole,
    /// Whether the balancer sends connections to it.
    pub(crate) balanced: bool,
    pub(crate) connections: usize,
    /// Such as `partition` or `loss 90 %`.
    pub(crate) fault: Option<String>,
}

/// What a member of etcd is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EtcdRole {
    Leader,
    Follower,
    /// It runs, and sees no quorum.
    NoLeader,
    /// It does not answer.
    Silent,
}

/// A media node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct MediaLine {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) sala: ProcessLine,
    /// What masters say: `serving`, `draining`, `suspect`, `dead`; empty when none says anything.
    pub(crate) state: String,
    pub(crate) rooms: u32,
    pub(crate) clients: u32,
    pub(crate) tracks_in: u32,
    pub(crate) tracks_out: u32,
    pub(crate) packets_per_s: u32,
    /// Rooms that have moved, and that are left to move.
    pub(crate) drain: Option<(u32, u32)>,
    pub(crate) fault: Option<String>,
}

/// A process.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ProcessLine {
    pub(crate) state: ProcessState,
    pub(crate) pid: i32,
    /// Of one core, in percent.
    pub(crate) cpu_percent: f32,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<String>,
}

/// Where it is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProcessState {
    Running,
    /// By SIGSTOP.
    Stopped,
    Ended,
    /// Not started yet.
    Absent,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct EventLine {
    /// Unix time.
    pub(crate) at_ms: i64,
    pub(crate) kind: EventKind,
    pub(crate) text: String,
}

/// Who caused it, for the colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EventKind {
    /// The start of the cluster and what operators do to it.
    Command,
    /// A fault that was made, or a process that ended by itself.
    Fault,
    /// What the cluster does about it.
    Cluster,
}
