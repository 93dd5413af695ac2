//! The store of a cluster: etcd 3.4 or newer, spoken to by gRPC.

mod cluster;
mod messages;
mod status;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use self::cluster::{Cluster, Repeat};
use self::messages::{
    Against, CompareResult, CompareTarget, DeleteRangeRequest, KeyValue, LeaseGrantRequest,
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseRequest, LeaseRevokeResponse, PutRequest, RangeRequest,
    RangeResponse, Request, RequestOp, ResponseHeader, TxnRequest, TxnResponse,
};
use crate::api::{BoxFuture, DEFAULT_DEADLINE, MAX_RANGE, WATCH_QUEUE};
use crate::{Committed, Compare, Entry, Error, Expect, LeaseId, Op, Range, Store, Txn, Watch, check};

/// How to reach the cluster.
#[derive(Clone)]
pub struct EtcdConfig {
    /// URLs of all members, the nearest first: `https://10.0.0.1:2379`.
    pub endpoints: Vec<String>,
    /// Who signed the members' certificates, PEM. Needed for `https`.
    pub ca_certificate_pem: Option<Vec<u8>>,
    /// Our certificate and its key, PEM, for members that ask for one.
    pub client_certificate_pem: Option<(Vec<u8>, Vec<u8>)>,
    pub credentials: Option<Credentials>,
    /// How long a call may take.
    pub deadline: Duration,
}

/// A user of etcd.
#[derive(Clone)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

impl EtcdConfig {
    /// Without TLS and user.
    pub fn new(endpoints: Vec<String>) -> EtcdConfig {
        EtcdConfig {
            endpoints,
            ca_certificate_pem: None,
            client_certificate_pem: None,
            credentials: None,
            deadline: DEFAULT_DEADLINE,
        }
    }
}

/// Without its secrets.
impl fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdConfig")
            .field("endpoints", &self.endpoints)
            .field("tls", &self.ca_certificate_pem.is_some())
            .field("client_certificate", &self.client_certificate_pem.is_some())
            .field("username", &self.credentials.as_ref().map(|credentials| &credentials.username))
            .field("deadline", &self.deadline)
            .finish()
    }
}

/// See the module. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct EtcdStore {
    cluster: Arc<Cluster>,
    endpoints: Arc<[String]>,
}

impl EtcdStore {
    /// Prepares the connections, which are made when needed: succeeds without a cluster. Must run inside a
    /// tokio runtime.
    pub fn new(config: EtcdConfig) -> Result<EtcdStore, Error> {
        let endpoints = config.endpoints.clone().into();
        Ok(EtcdStore { cluster: Cluster::new(config)?, endpoints })
    }

    /// Shows the members another certificate, PEM, from the next connection on. To be called before the old one
    /// expires: a member refuses new connections with it. Must run inside a tokio runtime.
    pub fn set_client_certificate(&self, certificate: Vec<u8>, key: Vec<u8>) -> Result<(), Error> {
        self.cluster.set_client_certificate((certificate, key))
    }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

impl Store for EtcdStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, Error>> {
        Box::pin(async move {
            check::key(key)?;
            let request = RangeRequest { key: key.into(), ..RangeRequest::default() };
            let answer: RangeResponse = self.cluster.unary(RANGE, request, Repeat::Safe, None).await?;
            Ok(answer.kvs.into_iter().next().and_then(entry))
        })
    }

    fn range<'a>(
        &'a self,
        prefix: &'a str,
        limit: usize,
        start_after: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Range, Error>> {
        Box::pin(async move {
            let key = match start_after {
                // The next key after it in the order of bytes.
                Some(after) if after >= prefix => [after.as_bytes(), b"\0"].concat(),
                _ => prefix_start(prefix),
            };
            let limit = limit.clamp(1, MAX_RANGE) as i64;
            let request = RangeRequest { key, range_end: prefix_end(prefix), limit, count_only: false };
            let answer: RangeResponse = self.cluster.unary(RANGE, request, Repeat::Safe, None).await?;
            Ok(Range {
                entries: answer.kvs.into_iter().filter_map(entry).collect(),
                revision: revision(answer.header),
                more: answer.more,
            })
        })
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Committed, Error>> {
        Box::pin(async move {
            check::txn(&txn)?;
            let lease = txn.ops.iter().find_map(|op| match op {
                Op::Put { lease, .. } => *lease,
                _ => None,
            });
            let request = TxnRequest {
                failure: txn.compares.iter().map(|compare| read(&compare.key)).collect(),
                compare: txn.compares.into_iter().map(compare).collect(),
                success: txn.ops.into_iter().map(operation).collect(),
            };
            let answer: TxnResponse = self.cluster.unary(TXN, request, Repeat::Never, lease).await?;
            let current = match answer.succeeded {
                true => Vec::new(),
                false => answer
                    .responses
                    .into_iter()
                    .map(|read| read.range?.kvs.into_iter().next().and_then(entry))
                    .collect(),
            };
            Ok(Committed { succeeded: answer.succeeded, revision: revision(answer.header), current })
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str, from_revision: u64) -> BoxFuture<'a, Result<Watch, Error>> {
        Box::pin(async move {
            let from = match from_revision {
                0 => self.revision(prefix).await? + 1,
                from => from,
            };
            let (sender, batches) = mpsc::channel(WATCH_QUEUE);
            let task = tokio::spawn(watch::run(Arc::clone(&self.cluster), prefix.to_owned(), from, sender));
            Ok(Watch::new(batches, task.abort_handle()))
        })
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, Error>> {
        Box::pin(async move {
            let request = LeaseGrantRequest { ttl: check::ttl_s(ttl)? as i64 };
            // Asked again, there may be one lease more, which ends by itself.
            let answer: LeaseGrantResponse = self.cluster.unary(GRANT, request, Repeat::Safe, None).await?;
            Ok(LeaseId(answer.id as u64))
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<Duration, Error>> {
        Box::pin(async move {
            let request = LeaseRequest { id: lease.0 as i64 };
            let answer: LeaseKeepAliveResponse =
                self.cluster.first_of_stream(KEEP_ALIVE, request, Some(lease)).await?;
            match u64::try_from(answer.ttl) {
                Ok(ttl) if ttl > 0 => Ok(Duration::from_secs(ttl)),
                _ => Err(Error::LeaseNotFound { lease }),
            }
        })
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let request = LeaseRequest { id: lease.0 as i64 };
            let _: LeaseRevokeResponse =
                self.cluster.unary(REVOKE, request, Repeat::Safe, Some(lease)).await?;
            Ok(())
        })
    }
}

impl EtcdStore {
    /// By reading what the user may read, but no entries.
    async fn revision(&self, prefix: &str) -> Result<u64, Error> {
        let request = RangeRequest {
            key: prefix_start(prefix),
            range_end: prefix_end(prefix),
            limit: 0,
            count_only: true,
        };
        let answer: RangeResponse = self.cluster.unary(RANGE, request, Repeat::Safe, None).await?;
        Ok(revision(answer.header))
    }
}

fn revision(header: Option<ResponseHeader>) -> u64 {
    header.map_or(0, |header| header.revision as u64)
}

/// None for a key that is no text: not one of ours.
fn entry(kv: KeyValue) -> Option<Entry> {
    Some(Entry {
        key: String::from_utf8(kv.key.into()).ok()?,
        value: kv.value,
        mod_revision: kv.mod_revision as u64,
        lease: (kv.lease != 0).then_some(LeaseId(kv.lease as u64)),
    })
}

fn prefix_start(prefix: &str) -> Vec<u8> {
    if prefix.is_empty() { vec![0] } else { prefix.into() }
}

/// The first key after all that begin with `prefix`; a zero byte stands for the end of all keys.
fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = Vec::from(prefix);
    // Text in UTF-8 has no byte 255.
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0),
    }
    end
}

fn compare(compare: Compare) -> messages::Compare {
    let (result, target, against) = match compare.is {
        Expect::Absent => (CompareResult::Equal, CompareTarget::Version, Against::Version(0)),
        Expect::Exists => (CompareResult::Greater, CompareTarget::Version, Against::Version(0)),
        Expect::ModRevision(revision) => {
            (CompareResult::Equal, CompareTarget::Mod, Against::ModRevision(revision as i64))
        }
    };
    messages::Compare {
        result: result.into(),
        target: target.into(),
        key: compare.key.into(),
        against: Some(against),
    }
}

fn read(key: &str) -> RequestOp {
    RequestOp { request: Some(Request::Range(RangeRequest { key: key.into(), ..RangeRequest::default() })) }
}

fn operation(op: Op) -> RequestOp {
    let request = match op {
        Op::Put { key, value, lease } => Request::Put(PutRequest {
            key: key.into(),
            value,
            lease: lease.map_or(0, |lease| lease.0 as i64),
        }),
        Op::Delete { key } => {
            Request::DeleteRange(DeleteRangeRequest { key: key.into(), range_end: Vec::new() })
        }
        Op::DeletePrefix { prefix } => Request::DeleteRange(DeleteRangeRequest {
            key: prefix_start(&prefix),
            range_end: prefix_end(&prefix),
        }),
    };
    RequestOp { request: Some(request) }
}
