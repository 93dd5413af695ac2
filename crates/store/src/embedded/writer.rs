//! The one thread that writes. It takes what has queued up meanwhile into one transaction of the file, so that
//! many callers share one `fsync`, and answers them when that is done.
//!
//! When the disk fails, the questions of the whole group are dropped unanswered; who asked them finds the
//! reason in [`Shared::failure`], which is therefore written first.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use redb::{Database, DatabaseError};
use tokio::sync::{oneshot, watch};

use super::file::{self, Tables};
use super::shared::{Clock, Shared};
use crate::{Batch, Committed, Error, Event, LeaseId, Op, Txn};

/// Commits that share one `fsync` at most: bounds how long the first of them waits for the others.
const MAX_GROUP: usize = 64;

/// How often leases are looked at. Their time is in whole seconds.
const EXPIRY_TICK: Duration = Duration::from_millis(100);

/// Opens the database, anew after a failure of the disk.
pub(crate) type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What the thread is asked to do.
pub(crate) enum Command {
    Commit(Txn, Reply<Committed>),
    Grant {
        ttl_s: u64,
        reply: Reply<LeaseId>,
    },
    Revoke(LeaseId, Reply<()>),
    /// Ends the leases that are due. Sent by tests; with a real clock it happens by itself.
    Expire(Reply<()>),
}

/// An answer that waits for the transaction to be durable.
enum Done {
    Committed(Committed, Reply<Committed>),
    Granted(LeaseId, u64, Reply<LeaseId>),
    Ended(Vec<LeaseId>, Option<Reply<()>>),
}

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) opener: Opener,
    /// None between a failure of the disk and the next success in opening.
    pub(crate) database: Option<Database>,
    /// Revision of the store, for watches. Closes with the thread.
    pub(crate) latest: watch::Sender<u64>,
}

impl Writer {
    /// Until all senders of commands are gone.
    pub(crate) fn run(mut self, commands: Receiver<Command>) {
        loop {
            let real = matches!(self.shared.clock, Clock::Real);
            let first = match real {
                true => commands.recv_timeout(EXPIRY_TICK),
                false => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let mut group = match first {
                Ok(command) => vec![command],
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            group.extend(commands.try_iter().take(MAX_GROUP.saturating_sub(group.len())));
            let now = self.shared.clock.now();
            let due = if real { self.shared.leases().expire(now) } else { Vec::new() };
            if group.is_empty() && due.is_empty() {
                continue;
            }
            let failed_before = self.shared.failure().is_some();
            if let Err(error) = self.handle(group, due, now)
                && !failed_before
            {
                tracing::warn!(%error, "the store's file could not be written");
            }
        }
    }

    fn handle(&mut self, commands: Vec<Command>, due: Vec<LeaseId>, now: Instant) -> Result<(), Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.reopen(now).map_err(|error| self.shared.fail(error))?,
        };
        let written = self.write(&database, commands, due, now)?;
        // After a failure it is not put back: redb refuses to go on with it.
        self.database = Some(database);
        self.shared.recover();
        let last = written.batches.last().map(|batch| batch.revision);
        written.batches.into_iter().for_each(|batch| self.shared.publish(batch));
        if let Some(last) = last {
            self.latest.send_replace(last);
        }
        for done in written.done {
            self.answer(done, now);
        }
        Ok(())
    }

    /// After a failure of the disk. What was refused because of it may have reached the disk all the same.
    fn reopen(&self, now: Instant) -> Result<Database, Error> {
        let database = (self.opener)().map_err(file::classify)?;
        let opened = file::prepare(&database)?;
        let revision = opened.revision;
        self.shared.resume(opened, now);
        self.latest.send_replace(revision);
        Ok(database)
    }

    /// One transaction of the file with everything that was asked.
    fn write(
        &self,
        database: &Database,
        commands: Vec<Command>,
        due: Vec<LeaseId>,
        now: Instant,
    ) -> Result<Written, Error> {
        let fail = |error| self.shared.fail(error);
        let txn = database.begin_write().map_err(file::classify).map_err(fail)?;
        let written = {
            let tables = Tables::open(&txn).map_err(fail)?;
            let mut group = Group { tables, written: Written::default() };
            group.end(&due).map_err(fail)?;
            group.written.done.push(Done::Ended(due, None));
            for command in commands {
                group.step(command, &self.shared, now)?;
            }
            group.written
        };
        txn.commit().map_err(file::classify).map_err(fail)?;
        Ok(written)
    }

    fn answer(&self, done: Done, now: Instant) {
        // Whoever does not wait for the answer any more has run into its deadline.
        match done {
            Done::Committed(committed, reply) => drop(reply.send(Ok(committed))),
            Done::Granted(lease, ttl_s, reply) => {
                self.shared.leases().insert(lease, ttl_s, now);
                drop(reply.send(Ok(lease)));
            }
            Done::Ended(ended, reply) => {
                for lease in ended {
                    self.shared.leases().remove(lease);
                }
                if let Some(reply) = reply {
                    drop(reply.send(Ok(())));
                }
            }
        }
    }
}

#[derive(Default)]
struct Written {
    done: Vec<Done>,
    batches: Vec<Batch>,
}

/// The commits of one transaction of the file, under way.
struct Group<'t> {
    tables: Tables<'t>,
    written: Written,
}

impl Group<'_> {
    /// An error is one of the disk: what may go wrong otherwise is answered here.
    fn step(&mut self, command: Command, shared: &Shared, now: Instant) -> Result<(), Error> {
        let fail = |error| shared.fail(error);
        match command {
            Command::Commit(txn, reply) => match self.commit(&txn, shared, now).map_err(fail)? {
                Ok(committed) => self.written.done.push(Done::Committed(committed, reply)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Command::Grant { ttl_s, reply } => {
                let lease = shared.leases().free_id();
                self.tables.grant(lease, ttl_s).map_err(fail)?;
                self.written.done.push(Done::Granted(lease, ttl_s, reply));
            }
            Command::Revoke(lease, reply) => {
                let ended = shared.leases().end(lease, now);
                match ended {
                    Ok(()) => {
                        self.end(&[lease]).map_err(fail)?;
                        self.written.done.push(Done::Ended(vec![lease], Some(reply)));
                    }
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Command::Expire(reply) => {
                let due = shared.leases().expire(now);
                self.end(&due).map_err(fail)?;
                self.written.done.push(Done::Ended(due, Some(reply)));
            }
        }
        Ok(())
    }

    fn commit(
        &mut self,
        txn: &Txn,
        shared: &Shared,
        now: Instant,
    ) -> Result<Result<Committed, Error>, Error> {
        let (succeeded, current) = self.tables.compare(&txn.compares)?;
        if !succeeded {
            return Ok(Ok(Committed { succeeded, revision: self.tables.revision(), current }));
        }
        let space = shared.mirror().check_space(put_bytes(&txn.ops));
        if let Err(error) = space {
            return Ok(Err(error));
        }
        for op in &txn.ops {
            if let Op::Put { lease: Some(lease), .. } = op
                && let Err(error) = shared.leases().check(*lease, now)
            {
                return Ok(Err(error));
            }
        }
        let events = self.tables.apply(&txn.ops)?;
        self.changed(events);
        Ok(Ok(Committed { succeeded, revision: self.tables.revision(), current: Vec::new() }))
    }

    fn end(&mut self, leases: &[LeaseId]) -> Result<(), Error> {
        for lease in leases {
            let events = self.tables.end_lease(*lease)?;
            self.changed(events);
        }
        Ok(())
    }

    fn changed(&mut self, events: Vec<Event>) {
        if !events.is_empty() {
            self.written.batches.push(Batch { revision: self.tables.revision(), events });
        }
    }
}

/// What a transaction brings; deletions cost nothing.
fn put_bytes(ops: &[Op]) -> usize {
    let bytes = |op: &Op| match op {
        Op::Put { key, value, .. } => key.len() + value.len(),
        Op::Delete { .. } | Op::DeletePrefix { .. } => 0,
    };
    ops.iter().map(bytes).sum()
}
