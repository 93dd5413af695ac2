//! What follows from time passing: whom to probe, whom to take out of the registry, who is dead.

use std::time::Instant;

use super::super::fence::{FENCE_AFTER, FENCE_MARGIN, LEASE_FENCE_AFTER};
use super::super::messages::Sight;
use super::super::view::View;
use super::{
    Detector, PROBE_EVERY, REFUSALS, REMEMBER, STOPPED_AFTER, STORE_GRACE, SUSPECT_AFTER, Verdict,
    WATCH_AFTER, ms, sight_of,
};
use crate::record::{NodeId, Role};

impl Detector {
    /// Lets time pass.
    pub(in crate::control) fn tick(&mut self, now: Instant, view: &View, has_store: bool) -> Vec<Verdict> {
        let stopped = self.ticked.is_some_and(|last| now > last + STOPPED_AFTER);
        self.ticked = Some(now);
        if view.is_complete() {
            self.began.get_or_insert(now);
        }
        if stopped {
            for peer in self.peers.values_mut() {
                peer.heard = now;
            }
            for probe in self.probes.values_mut() {
                (probe.refusals, probe.refused_at) = (0, None);
            }
        }
        let mut verdicts = Vec::new();
        self.probe(now, &mut verdicts);
        let storeless = self.storeless(now, has_store);
        self.judge_peers(now, view, storeless, &mut verdicts);
        self.judge_departed(now, view, &mut verdicts);
        self.departed.retain(|id, gone| {
            !gone.dead || now < gone.seen + REMEMBER || view.rooms_on(id) > 0 && view.node(id).is_none()
        });
        verdicts
    }

    pub(super) fn probe(&mut self, now: Instant, verdicts: &mut Vec<Verdict>) {
        for (id, probe) in self.probes.iter_mut().filter(|(id, _)| **id != self.me) {
            let silent = match self.peers.get(id) {
                Some(peer) => now >= peer.heard + WATCH_AFTER,
                // Masters that left are still counted: see `storeless`.
                None => probe.is_master,
            };
            if probe.next.map_or(silent, |at| now >= at) {
                probe.next = Some(now + PROBE_EVERY.max(if silent { PROBE_EVERY * 3 } else { PROBE_EVERY }));
                verdicts.push(Verdict::Probe {
                    node: id.clone(),
                    incarnation: probe.incarnation,
                    address: probe.address,
                });
            } else if !silent && probe.refusals == 0 && probe.next.is_some_and(|at| now < at) {
                probe.next = None;
            }
        }
    }

    pub(super) fn judge_peers(
        &mut self,
        now: Instant,
        view: &View,
        storeless: bool,
        verdicts: &mut Vec<Verdict>,
    ) {
        let masters: Vec<NodeId> =
            view.masters().map(|(id, _)| id.clone()).filter(|id| *id != self.me).collect();
        let heard: Vec<&NodeId> = masters.iter().filter(|id| self.hears(now, id)).collect();
        let mut condemn = Vec::new();
        for (id, peer) in self.peers.iter().filter(|(id, _)| **id != self.me) {
            let refused = self
                .probes
                .get(id)
                .is_some_and(|probe| probe.incarnation == peer.incarnation && probe.refusals >= REFUSALS);
            let silent = now >= peer.heard + SUSPECT_AFTER;
            let silent_to_all = silent
                && heard.iter().all(|master| {
                    *master == id
                        || self.sight(master, id, peer.incarnation).is_some_and(|sight| {
                            sight.refused
                                || sight.condemned
                                || ms(sight.silent_ms) >= SUSPECT_AFTER - PROBE_EVERY
                        })
                });
            let is_media = view.node(id).is_some_and(|entry| entry.record.roles.contains(&Role::Media));
            let is_master = self.probes.get(id).is_some_and(|probe| probe.is_master);
            condemn.push((id.clone(), refused, silent_to_all, is_media, is_master));
        }
        for (id, refused, silent_to_all, is_media, is_master) in condemn {
            let promised = storeless && self.all_promised(now, &id);
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.dead |= refused || promised;
            if peer.dead && !peer.announced {
                peer.announced = true;
                peer.condemned.get_or_insert(now);
                verdicts.push(Verdict::Dead { node: id.clone(), incarnation: peer.incarnation });
            }
            // A silent master might confirm itself.
            if storeless && silent_to_all && is_media && !is_master {
                peer.condemned.get_or_insert(now);
            }
            // Masters keep their leases: that theirs ends by itself is what tells that they stopped confirming.
            let revoke = peer.dead || silent_to_all && is_media;
            if revoke && now >= peer.next_revoke {
                peer.next_revoke = now + SUSPECT_AFTER;
                verdicts.extend(view.node(&id).and_then(|entry| entry.lease).map(Verdict::Revoke));
            }
        }
    }

    pub(super) fn sight(&self, master: &NodeId, node: &NodeId, incarnation: u64) -> Option<&Sight> {
        let report = self.reports.get(master)?;
        report.report.sights.iter().find(|sight| sight_of(sight, node, incarnation))
    }

    /// Whether all masters have promised not to confirm `id`, long enough ago. One that is silent blocks, and so
    /// does one that is configured and was never seen.
    fn all_promised(&self, now: Instant, id: &NodeId) -> bool {
        let Some(peer) = self.peers.get(id) else { return false };
        let Some(condemned) = peer.condemned else { return false };
        let mut last = peer.acked.unwrap_or(condemned);
        let mut known = 1;
        for (master, probe) in
            self.probes.iter().filter(|(other, probe)| probe.is_master && **other != self.me)
        {
            known += 1;
            match peer.promises.get(master) {
                Some(acked) => last = last.max(*acked),
                None if self.is_refused(now, probe) => {}
                None => return false,
            }
        }
        if known < self.masters {
            return false;
        }
        // The lease may have been renewed by a store that only the node reached.
        let lease = condemned + LEASE_FENCE_AFTER;
        now >= (last + FENCE_AFTER).max(lease) + FENCE_MARGIN
    }

    pub(super) fn judge_departed(&mut self, now: Instant, view: &View, verdicts: &mut Vec<Verdict>) {
        let masters: Vec<NodeId> =
            view.masters().map(|(id, _)| id.clone()).filter(|id| *id != self.me).collect();
        // Masters that left the registry a moment ago may still confirm for a while.
        let left: Vec<(NodeId, Instant)> = self
            .departed
            .iter()
            .filter(|(id, gone)| {
                gone.was_master && self.probes.get(*id).is_none_or(|probe| probe.refusals < REFUSALS)
            })
            .map(|(id, gone)| (id.clone(), gone.seen + STORE_GRACE))
            .collect();
        let mut dead = Vec::new();
        for (id, gone) in self.departed.iter().filter(|(_, gone)| !gone.dead) {
            let refused = self
                .probes
                .get(id)
                .is_some_and(|probe| probe.incarnation == gone.incarnation && probe.refusals >= REFUSALS);
            if refused {
                dead.push(id.clone());
                continue;
            }
            let Some(began) = self.began else { continue };
            let mut until = (gone.seen + LEASE_FENCE_AFTER).max(began + STORE_GRACE + FENCE_AFTER);
            if let Some(acked) = gone.acked {
                until = until.max(acked + FENCE_AFTER);
            }
            let agreed = masters.iter().filter(|master| *master != id).all(|master| {
                if let Some(acked) = gone.agreed.get(master) {
                    until = until.max(*acked + FENCE_AFTER);
                    return true;
                }
                self.peers.get(master).is_some_and(|peer| peer.dead)
            });
            for (master, stops) in &left {
                if master != id && !gone.agreed.contains_key(master) {
                    until = until.max(*stops + FENCE_AFTER);
                }
            }
            // A master's own death: nobody confirms it but others, and itself if it is also a media node.
            if gone.was_master {
                until = until.max(gone.seen + STORE_GRACE + FENCE_AFTER);
            }
            if agreed && now >= until + FENCE_MARGIN {
                dead.push(id.clone());
            }
        }
        for id in dead {
            if let Some(gone) = self.departed.get_mut(&id) {
                gone.dead = true;
                verdicts.push(Verdict::Dead { node: id, incarnation: gone.incarnation });
            }
        }
    }
}
