//! A process's place in the registry: a lease, and a record bound to it. The lease lost while the process is
//! confirmed by masters is got anew under the same incarnation, so that a store that was away for minutes
//! stops no meeting; after a fence the process registers as a new incarnation that names the one before.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use store::{LeaseId, Txn};

use super::io::{OpId, Outbox, StoreAnswer, StoreOp};
use super::view::node_key;
use crate::record::NodeRecord;

/// After this long without renewal the store drops a process by itself.
pub const LEASE_TTL: Duration = Duration::from_secs(5);

/// How often a lease is renewed.
pub const RENEW_EVERY: Duration = Duration::from_millis(500);

/// Renewals under way at most: more would only queue before a store that does not answer.
const MAX_RENEWALS: usize = 4;

/// Between attempts to register.
const RETRY: Duration = Duration::from_millis(250);

/// A record of our id that is still there after this long belongs to a process that lives: twice the lease.
const DUPLICATE_AFTER: Duration = Duration::from_secs(12);

#[derive(Debug)]
enum State {
    Idle { retry: Instant },
    Granting { op: OpId },
    Claiming { op: OpId, lease: LeaseId, sent: Instant },
    Registered { lease: LeaseId, next: Instant },
    Left,
}

/// What became known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// In the registry; asked at this time.
    Registered(Instant),
    /// The lease was renewed; asked at this time.
    Renewed(Instant),
    /// The record is gone; it is put anew.
    Lost,
    /// Another living process has the id.
    Duplicate(String),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Registration {
    record: NodeRecord,
    state: State,
    renewals: VecDeque<(OpId, Instant)>,
    /// Who held our id when a claim failed, and since when.
    rival: Option<(u64, Instant)>,
    /// Set when a claim failed: what to overwrite, if it is our own.
    overwrite: Option<u64>,
    /// Incarnations of this process, all fenced but the last.
    own: Vec<u64>,
    confirmed: Option<Instant>,
    /// Revision of our last claim: a deletion before it is no news.
    claimed_revision: u64,
}

impl Registration {
    pub(super) fn new(now: Instant, record: NodeRecord) -> Registration {
        let own = vec![record.incarnation];
        Registration {
            record,
            state: State::Idle { retry: now },
            renewals: VecDeque::new(),
            rival: None,
            overwrite: None,
            own,
            confirmed: None,
            claimed_revision: 0,
        }
    }

    pub(super) fn incarnation(&self) -> u64 {
        self.record.incarnation
    }

    pub(super) fn record(&self) -> &NodeRecord {
        &self.record
    }

    pub(super) fn is_registered(&self) -> bool {
        matches!(self.state, State::Registered { .. })
    }

    /// When the last call that the store answered for our record was sent; `None` while not registered.
    pub(super) fn confirmed(&self) -> Option<Instant> {
        self.confirmed.filter(|_| self.is_registered())
    }

    /// Begins anew under a new incarnation, after a fence.
    pub(super) fn renew(&mut self, now: Instant, incarnation: u64, out: &mut Outbox) {
        self.drop_lease(out);
        self.record.replaces = Some(self.record.incarnation);
        self.record.incarnation = incarnation;
        self.record.registered = 0;
        self.own.push(incarnation);
        self.state = State::Idle { retry: now };
        self.confirmed = None;
    }

    /// Leaves the registry for good.
    pub(super) fn leave(&mut self, out: &mut Outbox) {
        self.drop_lease(out);
        self.state = State::Left;
        self.confirmed = None;
    }

    fn drop_lease(&mut self, out: &mut Outbox) {
        if let State::Claiming { lease, .. } | State::Registered { lease, .. } = self.state {
            out.store(StoreOp::Revoke(lease));
        }
        self.renewals.clear();
    }

    pub(super) fn tick(&mut self, now: Instant, out: &mut Outbox) {
        match &mut self.state {
            State::Idle { retry } if *retry <= now => {
                let op = out.store(StoreOp::Grant(LEASE_TTL));
                self.state = State::Granting { op };
            }
            State::Registered { lease, next } if *next <= now => {
                *next = now + RENEW_EVERY;
                if self.renewals.len() < MAX_RENEWALS {
                    self.renewals.push_back((out.store(StoreOp::KeepAlive(*lease)), now));
                }
            }
            _ => {}
        }
    }

    /// Takes the answer if the call was ours.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        op: OpId,
        answer: &StoreAnswer,
        out: &mut Outbox,
    ) -> Option<Event> {
        if let Some(at) = self.renewals.iter().position(|(renewal, _)| *renewal == op) {
            let (_, sent) = self.renewals.remove(at)?;
            return match answer {
                StoreAnswer::Done => {
                    self.confirmed = self.confirmed.max(Some(sent));
                    Some(Event::Renewed(sent))
                }
                StoreAnswer::LeaseLost => Some(self.lost(now)),
                _ => None,
            };
        }
        match self.state {
            State::Granting { op: ours } if ours == op => {
                match answer {
                    StoreAnswer::Granted(lease) => self.claim(now, *lease, out),
                    _ => self.state = State::Idle { retry: now + RETRY },
                }
                None
            }
            State::Claiming { op: ours, lease, sent } if ours == op => {
                self.claimed(now, lease, sent, answer, out)
            }
            _ => None,
        }
    }

    /// The view says that our record was deleted at `revision`: the lease ended, whatever the renewals said.
    pub(super) fn vanished(&mut self, now: Instant, revision: u64) -> Option<Event> {
        (self.is_registered() && revision > self.claimed_revision).then(|| self.lost(now))
    }

    fn lost(&mut self, now: Instant) -> Event {
        self.renewals.clear();
        self.confirmed = None;
        self.state = State::Idle { retry: now };
        Event::Lost
    }

    fn claim(&mut self, now: Instant, lease: LeaseId, out: &mut Outbox) {
        let key = node_key(&self.record.id);
        let txn = match self.overwrite.take() {
            None => Txn::new().if_absent(key.clone()),
            Some(mod_revision) => Txn::new().if_unchanged(key.clone(), mod_revision),
        };
        let value = serde_json::to_vec(&self.record).unwrap_or_default();
        let op = out.store(StoreOp::Commit(txn.put_leased(key, value, lease)));
        self.state = State::Claiming { op, lease, sent: now };
    }

    fn claimed(
        &mut self,
        now: Instant,
        lease: LeaseId,
        sent: Instant,
        answer: &StoreAnswer,
        out: &mut Outbox,
    ) -> Option<Event> {
        let committed = match answer {
            StoreAnswer::Committed(committed) => committed,
            _ => {
                // The record may be there, under this lease or none: the next attempt finds out.
                self.state = State::Idle { retry: now + RETRY };
                return None;
            }
        };
        if committed.succeeded {
            self.rival = None;
            self.claimed_revision = committed.revision;
            if self.record.registered == 0 {
                self.record.registered = committed.revision;
            }
            self.confirmed = Some(sent);
            self.state = State::Registered { lease, next: now + RENEW_EVERY };
            return Some(Event::Registered(sent));
        }
        out.store(StoreOp::Revoke(lease));
        self.state = State::Idle { retry: now + RETRY };
        let current = committed.current.first().cloned().flatten()?;
        let held: NodeRecord = serde_json::from_slice(&current.value).ok()?;
        if self.own.contains(&held.incarnation) {
            // Ours, from an attempt whose answer was lost or from before a fence.
            if held.incarnation == self.record.incarnation && self.record.registered == 0 {
                self.record.registered =
                    if held.registered == 0 { current.mod_revision } else { held.registered };
            }
            self.overwrite = Some(current.mod_revision);
            self.state = State::Idle { retry: now };
            return None;
        }
        let (_, since) = *self.rival.insert(
            self.rival.filter(|(rival, _)| *rival == held.incarnation).unwrap_or((held.incarnation, now)),
        );
        (now >= since + DUPLICATE_AFTER).then(|| {
            Event::Duplicate(format!(
                "another process is registered as node `{}` at {}; give each node an id of its own \
                 (`cluster.node_id`), or stop the other one",
                self.record.id, held.internal_address
            ))
        })
    }
}
