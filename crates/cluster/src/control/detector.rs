//! A master's judgement of every other process: is it heard, suspect, or dead so surely that its rooms may be
//! given away? Sure means one of two things. *Gone*: its host refuses connections, so no process is left that
//! could serve. Or *fenced*: every master has stopped confirming it (with the store: its record is deleted, and
//! each master has seen that; without: each has promised so), and longer has passed since than a node serves
//! without confirmation. A registered master that is not heard holds the second way up until its own lease has
//! ended, because it might be confirming the node on the far side of a partition.

mod judge;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use store::LeaseId;

use super::io::ProbeOutcome;
use super::messages::{Heartbeat, MasterReport, Sight, Standing};
use super::view::View;
use crate::record::{NodeId, Role};

/// A process is suspect when it was silent for this long: seven heartbeats.
pub const SUSPECT_AFTER: Duration = Duration::from_millis(700);

/// A master without an answer of the store for this long confirms nobody any more (unless no master has one).
/// Shorter than the lease: who is missing in the registry has stopped confirming.
pub const STORE_GRACE: Duration = Duration::from_secs(3);

/// From this silence on a process is listed to other masters, and probed.
const WATCH_AFTER: Duration = Duration::from_millis(300);

/// Between two attempts to connect to a process that is silent.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// Refused connections that prove that a process is gone: one could hit the moment of a restart.
const REFUSALS: u8 = 2;

/// A refused connection says nothing about now after this long.
const REFUSED_FRESH: Duration = Duration::from_secs(2);

/// A tick that comes this late shows that this process itself was stopped: it then knows nothing of others.
const STOPPED_AFTER: Duration = Duration::from_millis(400);

/// How long a process that left is remembered after its rooms were given away.
const REMEMBER: Duration = Duration::from_secs(60);

/// What follows from time passing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Probe {
        node: NodeId,
        incarnation: u64,
        address: SocketAddr,
    },
    /// Take it out of the registry.
    Revoke(LeaseId),
    /// Its rooms may be given away.
    Dead {
        node: NodeId,
        incarnation: u64,
    },
}

/// What this master makes of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    Alive,
    /// Silent, or out of the registry, but not proved dead.
    Suspect,
    Dead,
}

/// A registered process.
#[derive(Debug)]
struct Peer {
    incarnation: u64,
    /// Heard last, or known since.
    heard: Instant,
    acked: Option<Instant>,
    /// Proved dead.
    dead: bool,
    announced: bool,
    condemned: Option<Instant>,
    next_revoke: Instant,
    promises: BTreeMap<NodeId, Instant>,
}

/// A process that is not registered any more.
#[derive(Debug)]
struct Departed {
    incarnation: u64,
    /// Revision of the registry without it.
    revision: u64,
    seen: Instant,
    acked: Option<Instant>,
    /// Masters that will not confirm it any more, and when each of them may have done so last.
    agreed: BTreeMap<NodeId, Instant>,
    dead: bool,
    was_master: bool,
}

/// Connections tried to a process.
#[derive(Debug)]
struct Probing {
    incarnation: u64,
    address: SocketAddr,
    next: Option<Instant>,
    refusals: u8,
    refused_at: Option<Instant>,
    is_master: bool,
}

/// What another master said last.
#[derive(Debug)]
struct Report {
    at: Instant,
    view_revision: u64,
    report: MasterReport,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Detector {
    me: NodeId,
    /// Masters that are configured, this one included.
    masters: usize,
    peers: BTreeMap<NodeId, Peer>,
    departed: BTreeMap<NodeId, Departed>,
    probes: BTreeMap<NodeId, Probing>,
    reports: BTreeMap<NodeId, Report>,
    ticked: Option<Instant>,
    /// When the view was complete first: masters that left before are not known.
    began: Option<Instant>,
}

impl Detector {
    pub(super) fn new(me: NodeId, masters: usize) -> Detector {
        Detector {
            me,
            masters: masters.max(1),
            peers: BTreeMap::new(),
            departed: BTreeMap::new(),
            probes: BTreeMap::new(),
            reports: BTreeMap::new(),
            ticked: None,
            began: None,
        }
    }

    /// A process registered.
    pub(super) fn node_up(&mut self, now: Instant, id: &NodeId, view: &View) {
        let Some(entry) = view.node(id) else { return };
        let incarnation = entry.record.incarnation;
        // The same incarnation under a new lease goes on; what was held against it falls.
        if self.departed.get(id).is_some_and(|gone| gone.incarnation == incarnation && !gone.dead) {
            self.departed.remove(id);
        }
        if self.peers.get(id).is_none_or(|peer| peer.incarnation != incarnation) {
            self.peers.insert(
                id.clone(),
                Peer {
                    incarnation,
                    heard: now,
                    acked: None,
                    dead: false,
                    announced: false,
                    condemned: None,
                    next_revoke: now,
                    promises: BTreeMap::new(),
                },
            );
        }
        let probe = self.probes.entry(id.clone()).or_insert(Probing {
            incarnation,
            address: entry.record.internal_address,
            next: None,
            refusals: 0,
            refused_at: None,
            is_master: false,
        });
        if probe.incarnation != incarnation {
            (probe.incarnation, probe.refusals, probe.refused_at) = (incarnation, 0, None);
        }
        probe.address = entry.record.internal_address;
        probe.is_master = entry.record.roles.contains(&Role::Master);
    }

    /// An incarnation is not registered any more.
    pub(super) fn node_gone(
        &mut self,
        now: Instant,
        id: &NodeId,
        incarnation: u64,
        revision: u64,
        fenced: bool,
    ) {
        let peer = self.peers.remove(id).filter(|peer| peer.incarnation == incarnation);
        let was_master = self.probes.get(id).is_some_and(|probe| probe.is_master);
        let dead = fenced || peer.as_ref().is_some_and(|peer| peer.dead);
        self.departed.insert(
            id.clone(),
            Departed {
                incarnation,
                revision,
                seen: now,
                acked: peer.and_then(|peer| peer.acked),
                agreed: BTreeMap::new(),
                // Known dead already: said once more, for rooms that came to light meanwhile.
                dead,
                was_master,
            },
        );
    }

    /// Rooms name a process that this master never saw registered, or an incarnation before the present one.
    pub(super) fn unknown_owner(&mut self, now: Instant, id: &NodeId, revision: u64) {
        self.departed.entry(id.clone()).or_insert(Departed {
            incarnation: 0,
            revision,
            seen: now,
            acked: None,
            agreed: BTreeMap::new(),
            dead: false,
            // Perhaps.
            was_master: true,
        });
    }

    /// Takes a heartbeat. `speaks`: whether this master may confirm anyone. Returns what to answer.
    pub(super) fn heartbeat(&mut self, now: Instant, beat: &Heartbeat, speaks: bool) -> Standing {
        if let Some(report) = &beat.master
            && beat.node != self.me
        {
            self.reports.insert(
                beat.node.clone(),
                Report { at: now, view_revision: beat.view_revision, report: report.clone() },
            );
            self.take_agreements(now, &beat.node);
        }
        let Some(peer) = self.peers.get_mut(&beat.node).filter(|peer| peer.incarnation == beat.incarnation)
        else {
            return Standing::Unknown;
        };
        if peer.dead || peer.condemned.is_some() {
            return Standing::Condemned;
        }
        peer.heard = now;
        if let Some(probe) = self.probes.get_mut(&beat.node) {
            (probe.next, probe.refusals, probe.refused_at) = (None, 0, None);
        }
        if !speaks {
            return Standing::Unknown;
        }
        peer.acked = Some(now);
        Standing::Confirmed
    }

    /// Another master has seen what was deleted, or has promised.
    fn take_agreements(&mut self, now: Instant, master: &NodeId) {
        let Some(heard) = self.reports.get(master) else { return };
        for (id, gone) in &mut self.departed {
            if heard.view_revision >= gone.revision && !gone.agreed.contains_key(master) {
                let sight = heard.report.sights.iter().find(|sight| sight_of(sight, id, gone.incarnation));
                let acked = sight.and_then(|sight| now.checked_sub(ms(sight.acked_ms)));
                gone.agreed.insert(master.clone(), acked.unwrap_or(now));
            }
        }
        for sight in &heard.report.sights {
            let Some(peer) = self.peers.get_mut(&sight.node) else { continue };
            if peer.incarnation != sight.incarnation {
                continue;
            }
            // A process that is gone for one is gone for all.
            peer.dead |= sight.refused;
            if sight.condemned && !peer.promises.contains_key(master) {
                peer.promises.insert(master.clone(), now.checked_sub(ms(sight.acked_ms)).unwrap_or(now));
            }
        }
    }

    /// The link from a process ended: look at once whether it is gone.
    pub(super) fn link_reset(&mut self, now: Instant, node: &NodeId) {
        if let Some(probe) = self.probes.get_mut(node) {
            probe.next = Some(now);
        }
    }

    pub(super) fn probed(&mut self, now: Instant, node: &NodeId, incarnation: u64, outcome: ProbeOutcome) {
        let Some(probe) = self.probes.get_mut(node).filter(|probe| probe.incarnation == incarnation) else {
            return;
        };
        match outcome {
            ProbeOutcome::Refused => {
                probe.refusals = (probe.refusals + 1).min(REFUSALS);
                probe.refused_at = Some(now);
                probe.next = Some(now + PROBE_EVERY);
            }
            ProbeOutcome::Answered | ProbeOutcome::Silent => {
                (probe.refusals, probe.refused_at, probe.next) = (0, None, None);
            }
        }
    }

    /// Whether no master can reach the store, as far as can be known: all that are heard say so, and those that
    /// are silent are too few to have a quorum among themselves.
    pub(super) fn storeless(&self, now: Instant, has_store: bool) -> bool {
        if has_store {
            return false;
        }
        let (mut known, mut silent) = (1, 0);
        for (id, probe) in self.probes.iter().filter(|(id, probe)| probe.is_master && **id != self.me) {
            known += 1;
            match self.reports.get(id).filter(|report| now < report.at + SUSPECT_AFTER) {
                Some(report) if report.report.quorum => return false,
                Some(_) => {}
                None if self.is_refused(now, probe) => {}
                None => silent += 1,
            }
        }
        silent += self.masters.saturating_sub(known);
        silent <= self.masters / 2
    }

    fn is_refused(&self, now: Instant, probe: &Probing) -> bool {
        probe.refusals >= REFUSALS && probe.refused_at.is_some_and(|at| now < at + REFUSED_FRESH)
    }

    /// Whether this master hears `node` (itself included).
    pub(super) fn hears(&self, now: Instant, node: &NodeId) -> bool {
        *node == self.me
            || self.peers.get(node).is_some_and(|peer| !peer.dead && now < peer.heard + SUSPECT_AFTER)
    }

    pub(super) fn health(&self, now: Instant, node: &NodeId) -> Health {
        match self.peers.get(node) {
            Some(peer) if peer.dead => Health::Dead,
            Some(peer) if peer.condemned.is_some() => Health::Suspect,
            Some(_) if self.hears(now, node) => Health::Alive,
            Some(_) => Health::Suspect,
            None if self.departed.get(node).is_some_and(|gone| gone.dead) => Health::Dead,
            None => Health::Suspect,
        }
    }

    /// Revision before which everything claimed on `node` may be given away; `None`: nothing yet.
    pub(super) fn dead_before(&self, node: &NodeId) -> Option<u64> {
        if self.peers.get(node).is_some_and(|peer| peer.dead) {
            return Some(u64::MAX);
        }
        self.departed.get(node).filter(|gone| gone.dead).map(|gone| gone.revision)
    }

    /// Whether the process is proved to be gone, rather than fenced.
    pub(super) fn dead_while_registered(&self, node: &NodeId) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.dead)
    }

    pub(super) fn dead(&self) -> Vec<NodeId> {
        self.peers.iter().filter(|(_, peer)| peer.dead).map(|(id, _)| id.clone()).collect()
    }

    /// What other masters should know: everyone who is not heard well.
    pub(super) fn sights(&self, now: Instant) -> Vec<Sight> {
        let since = |at: Instant| now.saturating_duration_since(at).as_millis().min(u32::MAX as u128) as u32;
        let peers = self.peers.iter().filter(|(id, peer)| {
            **id != self.me && (peer.dead || peer.condemned.is_some() || now >= peer.heard + WATCH_AFTER)
        });
        let departed = self.departed.iter().filter(|(_, gone)| now < gone.seen + REMEMBER);
        peers
            .map(|(id, peer)| Sight {
                node: id.clone(),
                incarnation: peer.incarnation,
                silent_ms: since(peer.heard),
                acked_ms: peer.acked.map_or(u32::MAX, since),
                refused: peer.dead && self.probes.get(id).is_some_and(|probe| probe.refusals >= REFUSALS),
                condemned: peer.condemned.is_some(),
            })
            .chain(departed.map(|(id, gone)| Sight {
                node: id.clone(),
                incarnation: gone.incarnation,
                silent_ms: since(gone.seen),
                acked_ms: gone.acked.map_or(u32::MAX, since),
                refused: false,
                condemned: false,
            }))
            .collect()
    }
}

fn sight_of(sight: &Sight, node: &NodeId, incarnation: u64) -> bool {
    sight.node == *node && sight.incarnation == incarnation
}

fn ms(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}
