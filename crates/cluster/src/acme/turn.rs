//! Whose turn it is to talk to the ACME server: a key under a lease, taken by compare-and-set. What the holder writes
//! holds only while the key is still the same, so that a master that was thought dead cannot write after its
//! successor.

use std::sync::Arc;
use std::time::Duration;

use store::{Error, LeaseId, Store, Txn};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::records::{ISSUER, IssuerRecord, to_bytes};
use crate::NodeId;

/// A holder that dies is succeeded after this time.
const TTL: Duration = Duration::from_secs(10);

const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// Between attempts while the store does not answer.
const RETRY: Duration = Duration::from_millis(500);

/// Why the turn is over before its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TurnLost {
    #[error("another master has taken over")]
    TakenOver,
    #[error(transparent)]
    Store(#[from] Error),
}

/// The turn, held. Dropping it without [`Turn::end`] is what a death looks like to others.
pub(super) struct Turn {
    store: Arc<dyn Store>,
    lease: LeaseId,
    /// Of the key, as we wrote it.
    revision: u64,
    keeper: AbortHandle,
    lost: tokio::sync::watch::Receiver<bool>,
}

impl Turn {
    /// Takes the turn if nobody has it.
    pub(super) async fn take(store: &Arc<dyn Store>, node: &NodeId) -> Result<Option<Turn>, Error> {
        let lease = store.grant(TTL).await?;
        let granted = Instant::now();
        let record = to_bytes(&IssuerRecord { node: node.to_string() });
        let txn = Txn::new().if_absent(ISSUER).put_leased(ISSUER, record, lease);
        let committed = match store.commit(txn).await {
            Ok(committed) if committed.succeeded => committed,
            refused => {
                // Whether it was taken by us without an answer or by somebody else: the lease's end settles it.
                let _ = store.revoke(lease).await;
                return refused.map(|_| None);
            }
        };
        let (lost_sender, lost) = tokio::sync::watch::channel(false);
        let kept = store.clone();
        let keeper = tokio::spawn(async move {
            keep(&*kept, lease, granted).await;
            lost_sender.send_replace(true);
        });
        let keeper = keeper.abort_handle();
        Ok(Some(Turn { store: store.clone(), lease, revision: committed.revision, keeper, lost }))
    }

    /// For keys that are to vanish with this turn.
    pub(super) fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Completes when the turn may have passed to another.
    pub(super) async fn lost(&self) {
        let mut lost = self.lost.clone();
        // The keeper's end is the turn's.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Writes if the turn is still ours; waits for a store that does not answer, as long as it is.
    pub(super) async fn commit(&self, txn: Txn) -> Result<(), TurnLost> {
        let txn = txn.if_unchanged(ISSUER, self.revision);
        loop {
            let failure = tokio::select! {
                committed = self.store.commit(txn.clone()) => match committed {
                    Ok(committed) if committed.succeeded => return Ok(()),
                    Ok(_) => return Err(TurnLost::TakenOver),
                    Err(error) => error,
                },
                () = self.lost() => return Err(TurnLost::TakenOver),
            };
            if !failure.is_transient() {
                return Err(failure.into());
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Lets others have it at once.
    pub(super) async fn end(self) {
        self.keeper.abort();
        let _ = self.store.revoke(self.lease).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Ends when the lease has ended, or may have.
async fn keep(store: &dyn Store, lease: LeaseId, granted: Instant) {
    let mut good_until = granted + TTL;
    let mut pause = KEEP_ALIVE;
    loop {
        tokio::time::sleep_until((Instant::now() + pause).min(good_until)).await;
        let asked = Instant::now();
        if asked >= good_until {
            return;
        }
        match store.keep_alive(lease).await {
            Ok(_) => (good_until, pause) = (asked + TTL, KEEP_ALIVE),
            Err(error) if error.is_transient() => pause = RETRY,
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests;
