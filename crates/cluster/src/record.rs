//! What the cluster keeps in the store, as JSON under `/sala/v1/`, and the small types in it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Version of the layout below. A store that was written by a newer one is refused.
pub const SCHEMA: u32 = 1;

/// Everything of ours begins with this.
pub const PREFIX: &str = "/sala/v1/";

/// Key of the [`ClusterRecord`].
pub const CLUSTER_KEY: &str = "/sala/v1/cluster";

/// Prefix of all [`NodeRecord`]s.
pub const NODES: &str = "/sala/v1/nodes/";

/// Prefix of all [`RoomRecord`]s.
pub const ROOMS: &str = "/sala/v1/rooms/";

/// Prefix of all [`DrainRecord`]s.
pub const DRAINS: &str = "/sala/v1/drains/";

/// Label of a [`NodeRecord`]: id of the machine at the cloud.
pub const OCI_INSTANCE: &str = "oci_instance";

/// Id of a node: chosen by the operator, stable over restarts, unique in the cluster.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub String);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A process that is no more: a node that has been started again lives on under the same id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Death {
    pub node: NodeId,
    pub incarnation: u64,
}

/// Which serving of a room this is: of two, the greater counts. A room that was placed while the store had no
/// quorum carries the node in its epoch, so that no two nodes ever share one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Epoch {
    pub number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisional: Option<NodeId>,
}

impl Epoch {
    /// An epoch that was claimed in the store.
    pub fn settled(number: u64) -> Epoch {
        Epoch { number, provisional: None }
    }
}

/// `7`, or `7~m2` for a provisional one.
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.provisional {
            None => write!(f, "{}", self.number),
            Some(node) => write!(f, "{}~{node}", self.number),
        }
    }
}

/// Text that is no [`Epoch`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no epoch; expected a number, or a number, `~` and a node id")]
pub struct BadEpoch(String);

impl FromStr for Epoch {
    type Err = BadEpoch;

    fn from_str(text: &str) -> Result<Self, BadEpoch> {
        let (number, node) = match text.split_once('~') {
            Some((number, node)) => (number, Some(NodeId(node.to_owned()))),
            None => (text, None),
        };
        let number = number.parse().map_err(|_| BadEpoch(text.to_owned()))?;
        Ok(Epoch { number, provisional: node })
    }
}

/// Whose store this is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClusterRecord {
    pub id: String,
    pub schema: u32,
}

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Master,
    Media,
}

/// Where a node is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    #[default]
    Serving,
    /// Takes no new rooms and moves away those it has.
    Draining,
}

/// How busy a node is, as it says itself about once a second.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Load {
    /// Share of all cores in use, 0.0..=1.0.
    pub cpu: f32,
    /// One-minute load average divided by the number of cores.
    pub sysload: f32,
    pub rooms: u32,
    pub clients: u32,
    pub tracks_in: u32,
    pub tracks_out: u32,
    pub packets_per_s: u32,
    pub bytes_per_s: u64,
}

/// A node that is there, bound to its lease.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeRecord {
    pub id: NodeId,
    /// Random for each start of the process: tells a restarted node from the one before.
    pub incarnation: u64,
    pub roles: Vec<Role>,
    /// Where other nodes reach it, over mutual TLS.
    pub internal_address: SocketAddr,
    #[serde(default)]
    pub region: String,
    #[serde(default)]
    pub state: NodeState,
    #[serde(default)]
    pub load: Load,
    /// Cores, to weigh nodes of different size.
    pub cpus: u32,
    /// `CARGO_PKG_VERSION` of the binary.
    pub version: String,
    /// Unix time, for people.
    pub started_at_ms: i64,
    /// Revision of the store at which this incarnation registered first; 0 means by the commit that wrote this
    /// entry. Rooms claimed before it belonged to an earlier incarnation.
    #[serde(default)]
    pub registered: u64,
    /// The incarnation before, of the same process: it has fenced itself for certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<u64>,
    /// What its surroundings know of it, such as [`OCI_INSTANCE`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Where a room is served.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RoomRecord {
    pub room: String,
    pub node: NodeId,
    /// Number 0 means the revision of the commit that wrote this entry: a claim cannot know its own revision,
    /// and a revision is never used twice, not even after the room ended and began anew. Read records through
    /// `control::View`, which resolves it.
    pub epoch: Epoch,
    /// What outlives a node: see `sfu::RoomDescription`. Written by the serving node, debounced; opaque here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<serde_json::Value>,
}

/// A node that shall become empty.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DrainRecord {
    pub node: NodeId,
    /// Unix time.
    pub started_at_ms: i64,
    /// What has not moved by then is closed. Unix time.
    pub deadline_ms: i64,
    /// Who asked: `cli`, `api`, `signal`, `cloud`.
    pub by: String,
}
