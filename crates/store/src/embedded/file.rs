//! The tables in the redb file and what is done to them in one transaction.

use bytes::Bytes;
use redb::{Database, ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::{Compare, Entry, Error, Event, Expect, LeaseId, Op};

/// Version of the tables below. A file of an older one is brought up to it when opened.
pub(crate) const SCHEMA: u64 = 1;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const SCHEMA_KEY: &str = "schema";
const REVISION_KEY: &str = "revision";

/// Key → revision of its last write, lease (0: none), value.
const ENTRIES: TableDefinition<&str, (u64, u64, &[u8])> = TableDefinition::new("entries");

/// Lease → seconds it lives without being kept alive.
const LEASES: TableDefinition<u64, u64> = TableDefinition::new("leases");

/// Which keys go with a lease.
const LEASE_KEYS: TableDefinition<(u64, &str), ()> = TableDefinition::new("lease_keys");

/// What an opened file says about itself.
pub(crate) struct Opened {
    pub(crate) revision: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) leases: Vec<(LeaseId, u64)>,
}

/// Brings the tables to the present schema. A file without any, left by a process that died while creating it,
/// is schema 0.
pub(crate) fn prepare(database: &Database) -> Result<Opened, Error> {
    let txn = database.begin_write().map_err(classify)?;
    let opened = {
        let mut meta = txn.open_table(META).map_err(classify)?;
        let found = meta.get(SCHEMA_KEY).map_err(classify)?.map_or(0, |value| value.value());
        if found > SCHEMA {
            return Err(Error::NewerSchema { found, known: SCHEMA });
        }
        if found < 1 {
            txn.open_table(LEASE_KEYS).map_err(classify)?;
            // Revision 1 is the empty store, as in etcd: 0 stays free for "from now on".
            meta.insert(REVISION_KEY, 1).map_err(classify)?;
        }
        if found != SCHEMA {
            meta.insert(SCHEMA_KEY, SCHEMA).map_err(classify)?;
        }
        let revision = meta.get(REVISION_KEY).map_err(classify)?.map_or(1, |value| value.value());
        let leases = txn.open_table(LEASES).map_err(classify)?;
        let leases = leases
            .iter()
            .map_err(classify)?
            .map(|row| row.map(|(lease, ttl)| (LeaseId(lease.value()), ttl.value())).map_err(classify))
            .collect::<Result<_, _>>()?;
        let entries = txn.open_table(ENTRIES).map_err(classify)?;
        let entries = entries
            .iter()
            .map_err(classify)?
            .map(|row| row.map(|(key, value)| entry(key.value(), value.value())).map_err(classify))
            .collect::<Result<_, _>>()?;
        Opened { revision, entries, leases }
    };
    txn.commit().map_err(classify)?;
    Ok(opened)
}

fn read(
    entries: &impl ReadableTable<&'static str, (u64, u64, &'static [u8])>,
    key: &str,
) -> Result<Option<Entry>, Error> {
    Ok(entries.get(key).map_err(classify)?.map(|value| entry(key, value.value())))
}

fn entry(key: &str, (mod_revision, lease, value): (u64, u64, &[u8])) -> Entry {
    Entry {
        key: key.to_owned(),
        value: Bytes::copy_from_slice(value),
        mod_revision,
        lease: (lease != 0).then_some(LeaseId(lease)),
    }
}

/// The open tables of one write transaction, which holds any number of commits of the store.
pub(crate) struct Tables<'t> {
    meta: Table<'t, &'static str, u64>,
    entries: Table<'t, &'static str, (u64, u64, &'static [u8])>,
    leases: Table<'t, u64, u64>,
    lease_keys: Table<'t, (u64, &'static str), ()>,
    revision: u64,
    events: Vec<Event>,
}

impl<'t> Tables<'t> {
    pub(crate) fn open(txn: &'t WriteTransaction) -> Result<Tables<'t>, Error> {
        let meta = txn.open_table(META).map_err(classify)?;
        let revision = meta.get(REVISION_KEY).map_err(classify)?.map_or(1, |value| value.value());
        Ok(Tables {
            meta,
            entries: txn.open_table(ENTRIES).map_err(classify)?,
            leases: txn.open_table(LEASES).map_err(classify)?,
            lease_keys: txn.open_table(LEASE_KEYS).map_err(classify)?,
            revision,
            events: Vec::new(),
        })
    }

    /// Revision of the store, with what was applied so far.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether all hold, and what is under their keys.
    pub(crate) fn compare(&self, compares: &[Compare]) -> Result<(bool, Vec<Option<Entry>>), Error> {
        let mut current = Vec::with_capacity(compares.len());
        let mut hold = true;
        for Compare { key, is } in compares {
            let found = read(&self.entries, key)?;
            hold &= match is {
                Expect::Absent => found.is_none(),
                Expect::Exists => found.is_some(),
                Expect::ModRevision(revision) => {
                    found.as_ref().is_some_and(|it| it.mod_revision == *revision)
                }
            };
            current.push(found);
        }
        Ok((hold, current))
    }

    /// Does the operations of one commit and returns what they changed. The caller has checked their leases.
    pub(crate) fn apply(&mut self, ops: &[Op]) -> Result<Vec<Event>, Error> {
        for op in ops {
            match op {
                Op::Put { key, value, lease } => self.put(key, value, *lease)?,
                Op::Delete { key } => self.delete(key)?,
                Op::DeletePrefix { prefix } => {
                    for key in self.keys_under(prefix)? {
                        self.delete(&key)?;
                    }
                }
            }
        }
        self.seal()
    }

    pub(crate) fn grant(&mut self, lease: LeaseId, ttl_s: u64) -> Result<(), Error> {
        self.leases.insert(lease.0, ttl_s).map_err(classify)?;
        Ok(())
    }

    /// Deletes a lease with all its keys.
    pub(crate) fn end_lease(&mut self, lease: LeaseId) -> Result<Vec<Event>, Error> {
        let mut keys = Vec::new();
        for row in self.lease_keys.range((lease.0, "")..(lease.0 + 1, "")).map_err(classify)? {
            keys.push(row.map_err(classify)?.0.value().1.to_owned());
        }
        for key in keys {
            self.delete(&key)?;
        }
        self.leases.remove(lease.0).map_err(classify)?;
        self.seal()
    }

    fn keys_under(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let mut keys = Vec::new();
        for row in self.entries.range(prefix..).map_err(classify)? {
            let (key, _) = row.map_err(classify)?;
            if !key.value().starts_with(prefix) {
                break;
            }
            keys.push(key.value().to_owned());
        }
        Ok(keys)
    }

    fn put(&mut self, key: &str, value: &Bytes, lease: Option<LeaseId>) -> Result<(), Error> {
        let mod_revision = self.revision + 1;
        let id = lease.map_or(0, |lease| lease.0);
        let old_lease = self
            .entries
            .insert(key, (mod_revision, id, &value[..]))
            .map_err(classify)?
            .map_or(0, |old| old.value().1);
        if old_lease != 0 && old_lease != id {
            self.lease_keys.remove((old_lease, key)).map_err(classify)?;
        }
        if id != 0 {
            self.lease_keys.insert((id, key), ()).map_err(classify)?;
        }
        self.events.push(Event::Put(Entry {
            key: key.to_owned(),
            value: value.clone(),
            mod_revision,
            lease,
        }));
        Ok(())
    }

    fn delete(&mut self, key: &str) -> Result<(), Error> {
        let old = self.entries.remove(key).map_err(classify)?.map(|old| old.value().1);
        let Some(lease) = old else { return Ok(()) };
        if lease != 0 {
            self.lease_keys.remove((lease, key)).map_err(classify)?;
        }
        self.events.push(Event::Delete { key: key.to_owned(), mod_revision: self.revision + 1 });
        Ok(())
    }

    /// Ends one commit: it gets a revision if it changed something.
    fn seal(&mut self) -> Result<Vec<Event>, Error> {
        if !self.events.is_empty() {
            self.revision += 1;
            self.meta.insert(REVISION_KEY, self.revision).map_err(classify)?;
        }
        Ok(std::mem::take(&mut self.events))
    }
}

/// What a failure of redb means to a user of the store.
pub(crate) fn classify(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) => match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Error::DiskFull { reason: error.to_string() }
            }
            std::io::ErrorKind::PermissionDenied => Error::Denied { reason: error.to_string() },
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                Error::Corrupt { reason: error.to_string() }
            }
            _ => Error::unavailable(format!("disk: {error}")),
        },
        redb::Error::Corrupted(reason) => Error::Corrupt { reason },
        redb::Error::UpgradeRequired(version) => {
            Error::Corrupt { reason: format!("file format {version} of redb is too old to be read") }
        }
        redb::Error::DatabaseAlreadyOpen => Error::InUse { path: "the store's file".into() },
        error @ (redb::Error::PreviousIo | redb::Error::DatabaseClosed) => Error::unavailable(error),
        error => Error::Corrupt { reason: error.to_string() },
    }
}
