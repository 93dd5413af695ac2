//! Which node gets a room. The names of the settings are those of LiveKit's `node_selector`. Nodes report their
//! load once a second, so a burst of rooms would all go to the node that was idlest a second ago: what was
//! placed since a report is added to it by estimate.

use std::collections::BTreeMap;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};

use crate::record::{Load, NodeId};

/// What disqualifies a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    Any,
    /// More than `cpu_load_limit`.
    CpuLoad,
    /// More than `sysload_limit`.
    SysLoad,
}

/// What is compared between nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SortBy {
    Random,
    SysLoad,
    #[default]
    CpuLoad,
    Rooms,
    Clients,
    Tracks,
    BytesPerSec,
}

/// How many nodes are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// All.
    Lowest,
    /// Two at random: masters that do not know of each other's choices do not all choose the same node.
    #[default]
    TwoChoice,
}

/// How to choose, as an operator configures it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Selector {
    pub kind: Kind,
    pub sort_by: SortBy,
    pub algorithm: Algorithm,
    /// Load average per core, 1.0 = all cores wanted.
    pub sysload_limit: f32,
    /// Share of all cores, 0.0..=1.0.
    pub cpu_load_limit: f32,
    /// Regions by preference, nearest first; empty: regions do not matter. Others come last.
    pub regions: Vec<String>,
}

impl Default for Selector {
    fn default() -> Self {
        Selector {
            kind: Kind::Any,
            sort_by: SortBy::CpuLoad,
            algorithm: Algorithm::TwoChoice,
            sysload_limit: 0.9,
            cpu_load_limit: 0.9,
            regions: Vec::new(),
        }
    }
}

/// Why no node can take a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlacementError {
    #[error(
        "no media node is registered and alive; start one, or look at its log for why it does not register"
    )]
    NoNode,
    #[error("all {0} media nodes are over the load limit; add nodes, or raise the limit in `node_selector`")]
    AllTooBusy(usize),
    #[error("all {0} media nodes are draining; cancel a drain or add a node")]
    AllDraining(usize),
}

/// A media node that is alive.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    pub id: &'a NodeId,
    pub region: &'a str,
    pub cpus: u32,
    pub draining: bool,
    pub load: Load,
    /// Rooms placed there since `load` was reported, by whomever.
    pub placed_since: u32,
}

/// What a room is expected to add until its node reports it. Rough on purpose: only the order matters.
const CLIENTS_PER_ROOM: f32 = 4.0;
const TRACKS_PER_ROOM: f32 = 20.0;
const BYTES_PER_ROOM: f32 = 1_000_000.0;
/// Of one core.
const CPU_PER_ROOM: f32 = 0.02;

impl Candidate<'_> {
    fn cpu_per_room(&self) -> f32 {
        CPU_PER_ROOM * self.placed_since as f32 / self.cpus.max(1) as f32
    }

    fn score(&self, by: SortBy) -> f32 {
        let (load, placed) = (&self.load, self.placed_since as f32);
        match by {
            SortBy::Random => 0.0,
            SortBy::SysLoad => load.sysload + self.cpu_per_room(),
            SortBy::CpuLoad => load.cpu + self.cpu_per_room(),
            SortBy::Rooms => load.rooms as f32 + placed,
            SortBy::Clients => load.clients as f32 + placed * CLIENTS_PER_ROOM,
            SortBy::Tracks => (load.tracks_in as f32 + load.tracks_out as f32) + placed * TRACKS_PER_ROOM,
            SortBy::BytesPerSec => load.bytes_per_s as f32 + placed * BYTES_PER_ROOM,
        }
    }
}

impl Selector {
    /// Chooses one of `candidates`.
    pub fn choose<'a>(
        &self,
        candidates: &[Candidate<'a>],
        rng: &mut fastrand::Rng,
    ) -> Result<&'a NodeId, PlacementError> {
        if candidates.is_empty() {
            return Err(PlacementError::NoNode);
        }
        let mut fit: Vec<&Candidate<'a>> = candidates.iter().filter(|node| !node.draining).collect();
        if fit.is_empty() {
            return Err(PlacementError::AllDraining(candidates.len()));
        }
        let count = fit.len();
        fit.retain(|node| match self.kind {
            Kind::Any => true,
            Kind::CpuLoad => node.load.cpu + node.cpu_per_room() <= self.cpu_load_limit,
            Kind::SysLoad => node.load.sysload + node.cpu_per_room() <= self.sysload_limit,
        });
        let nearest = fit.iter().map(|node| self.distance(node)).min();
        let Some(nearest) = nearest else { return Err(PlacementError::AllTooBusy(count)) };
        fit.retain(|node| self.distance(node) == nearest);
        let compared: Vec<&Candidate<'a>> = match (self.sort_by, self.algorithm) {
            (SortBy::Random, _) => vec![fit[rng.usize(..fit.len())]],
            (_, Algorithm::TwoChoice) if fit.len() > 2 => {
                let first = rng.usize(..fit.len());
                let second = (first + 1 + rng.usize(..fit.len() - 1)) % fit.len();
                vec![fit[first], fit[second]]
            }
            _ => fit,
        };
        // Equal nodes share: by what was placed there, then by chance.
        let best = compared.into_iter().min_by(|a, b| {
            a.score(self.sort_by)
                .total_cmp(&b.score(self.sort_by))
                .then(a.placed_since.cmp(&b.placed_since))
                .then_with(|| if rng.bool() { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater })
        });
        best.map(|node| node.id).ok_or(PlacementError::NoNode)
    }

    fn distance(&self, node: &Candidate<'_>) -> usize {
        self.regions.iter().position(|region| region == node.region).unwrap_or(self.regions.len())
    }
}

/// Where a room goes when masters cannot agree through the store: all that know the same nodes choose the same
/// one (highest random weight).
pub fn rendezvous<'a>(room: &str, nodes: impl Iterator<Item = &'a NodeId>) -> Option<&'a NodeId> {
    nodes.max_by_key(|node| (weight(room, node), *node))
}

/// All nodes in the order in which [`rendezvous`] would choose them.
pub fn rendezvous_order<T>(room: &str, mut nodes: Vec<(NodeId, T)>) -> Vec<(NodeId, T)> {
    nodes.sort_by_cached_key(|(node, _)| std::cmp::Reverse((weight(room, node), node.clone())));
    nodes
}

fn weight(room: &str, node: &NodeId) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.write(room.as_bytes());
    hash.write(&[0xff]);
    hash.write(node.0.as_bytes());
    // Finaliser of splitmix64: FNV's high bits alone are uneven for short keys.
    let mut x = hash.finish();
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// FNV-1a: the same in every version and process, which the standard hasher does not promise.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// What was placed since each node reported its load, counted by the rooms that the view shows there plus the
/// claims under way, so that it includes what other masters placed.
#[derive(Debug, Default)]
pub struct Recent {
    nodes: BTreeMap<NodeId, Reported>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Reported {
    load: Load,
    /// Rooms that the view showed when the load came.
    rooms_then: usize,
    /// Claims that this master has under way.
    claims: u32,
}

impl Recent {
    /// A load report came, while the view shows `rooms` rooms there.
    pub fn reported(&mut self, node: &NodeId, load: Load, rooms: usize) {
        let entry = self.nodes.entry(node.clone()).or_default();
        entry.load = load;
        entry.rooms_then = rooms;
    }

    pub fn claim_began(&mut self, node: &NodeId) {
        self.nodes.entry(node.clone()).or_default().claims += 1;
    }

    /// The claim is in the view now, or has failed.
    pub fn claim_ended(&mut self, node: &NodeId) {
        if let Some(entry) = self.nodes.get_mut(node) {
            entry.claims = entry.claims.saturating_sub(1);
        }
    }

    pub fn forget(&mut self, node: &NodeId) {
        self.nodes.remove(node);
    }

    /// Its last load, and the rooms placed since, while the view shows `rooms` there.
    pub fn of(&self, node: &NodeId, rooms: usize) -> (Load, u32) {
        let entry = self.nodes.get(node).copied().unwrap_or_default();
        (entry.load, entry.claims + rooms.saturating_sub(entry.rooms_then) as u32)
    }
}
