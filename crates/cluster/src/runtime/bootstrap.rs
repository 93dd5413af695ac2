//! Before anything else: is this store ours, and of a version that we understand?

use std::time::{Duration, Instant};

use store::{Error, Store, Txn};

use crate::record::{CLUSTER_KEY, ClusterRecord, SCHEMA};

/// Between attempts while the store does not answer: it may be starting beside us.
const RETRY: Duration = Duration::from_millis(500);

/// Between two lines about that.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// Why a process must not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    #[error(
        "the store belongs to cluster `{found}`, this node is configured for `{ours}`; \
         set `cluster.id` to `{found}`, or point `cluster.store.endpoints` to this cluster's own store"
    )]
    OtherCluster { found: String, ours: String },
    #[error(
        "the store has layout {found}, this binary knows {SCHEMA} at most; \
         run the newer version of Sala that wrote it"
    )]
    NewerSchema { found: u32 },
    #[error("the store's `{CLUSTER_KEY}` is not readable: {0}; restore it from a backup")]
    Unreadable(String),
    #[error(transparent)]
    Store(#[from] Error),
}

/// Claims the store for cluster `id`, or checks that it is this cluster's. Waits for a store that is not there.
pub async fn claim_store(store: &dyn Store, id: &str) -> Result<(), StartError> {
    let record = ClusterRecord { id: id.to_owned(), schema: SCHEMA };
    let value = serde_json::to_vec(&record).unwrap_or_default();
    let mut said = None;
    loop {
        let txn = Txn::new().if_absent(CLUSTER_KEY).put(CLUSTER_KEY, value.clone());
        match store.commit(txn).await {
            Ok(committed) if committed.succeeded => return Ok(()),
            Ok(committed) => {
                let entry = committed.current.into_iter().flatten().next();
                return entry.map_or(Ok(()), |entry| check(&entry.value, id));
            }
            Err(error) if error.is_transient() => {
                if said.is_none_or(|at: Instant| at.elapsed() >= SAY_AGAIN) {
                    tracing::warn!(%error, "waiting for the coordination store");
                    said = Some(Instant::now());
                }
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn check(value: &[u8], ours: &str) -> Result<(), StartError> {
    // The schema first: a newer record may have other fields.
    let schema = serde_json::from_slice::<serde_json::Value>(value)
        .ok()
        .and_then(|record| record.get("schema")?.as_u64())
        .ok_or_else(|| StartError::Unreadable("it has no schema".into()))?;
    if schema > u64::from(SCHEMA) {
        return Err(StartError::NewerSchema { found: schema as u32 });
    }
    let record: ClusterRecord =
        serde_json::from_slice(value).map_err(|error| StartError::Unreadable(error.to_string()))?;
    match record.id == ours {
        true => Ok(()),
        false => Err(StartError::OtherCluster { found: record.id, ours: ours.to_owned() }),
    }
}
