//! On a media node: notices that its instance was chosen for removal, drains, and asks the function to end it. It runs
//! beside the node, not in it, so that an instance whose node is dead ends as well.

pub mod state;

use std::convert::Infallible;
use std::future::Future;
use std::time::{Duration, Instant};

use crate::scaling::caller::Caller;
use crate::scaling::wire::{Ask, Decision};
use crate::scaling::{pool_name, tags};
use crate::{Cloud, Imds, Ocid};
use state::{DEADLINE, DrainWatch, End, Look, Membership, Pace, Step};

/// The node on this machine, by way of its cluster.
pub trait Node: Send + Sync {
    /// How it is; the error says why no master or store can tell.
    fn look(&self) -> impl Future<Output = Result<Look, String>> + Send;

    /// Begins to empty it.
    fn drain(&self, deadline: Duration) -> impl Future<Output = Result<(), String>> + Send;

    /// Lets it serve again.
    fn cancel(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// Where this machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    pub instance: Ocid,
    pub stack: String,
    pub compartment: Ocid,
}

/// Metadata that is not as boot needs it, too.
#[derive(Debug, thiserror::Error)]
pub enum HereError {
    #[error(transparent)]
    Imds(#[from] crate::Error),
    #[error("the instance's metadata has no `{0}`; it is set by Terraform and needed to end this node")]
    Missing(&'static str),
}

impl Here {
    /// From the metadata of this instance.
    pub async fn read(imds: &Imds) -> Result<Here, HereError> {
        let instance = imds.instance().await?;
        let metadata = instance.metadata();
        let get = |name: &'static str| match metadata.get(name).map(|value| value.trim()) {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Err(HereError::Missing(name)),
        };
        Ok(Here {
            stack: get("stackName")?,
            compartment: Ocid::new(get("compartmentOcid")?),
            instance: instance.id,
        })
    }
}

/// A watcher with all that it asks.
pub struct Watcher<N> {
    cloud: Cloud,
    imds: Imds,
    node: N,
    here: Here,
    caller: Caller,
}

impl<N: Node> Watcher<N> {
    pub fn new(cloud: Cloud, imds: Imds, node: N, here: Here) -> Watcher<N> {
        let caller = Caller::new(cloud.clone(), here.compartment.clone(), here.stack.clone());
        Watcher { cloud, imds, node, here, caller }
    }

    /// Watches until the instance is gone.
    pub async fn run(&self, pace: Pace) -> Infallible {
        let mut watch = DrainWatch::new(Instant::now(), pace, fastrand::u64(..));
        tracing::info!(instance = %self.here.instance, "watching whether this instance is taken out of its pool");
        loop {
            let was_leaving = watch.is_leaving();
            match watch.step(Instant::now()) {
                Step::Wait(until) => tokio::time::sleep_until(until.into()).await,
                Step::ReadTags => {
                    let marked = self.is_marked().await;
                    watch.tags(Instant::now(), marked);
                }
                Step::AskPool => {
                    let membership = self.membership().await;
                    watch.membership(Instant::now(), membership);
                }
                Step::StartDrain => {
                    match self.node.drain(DEADLINE).await {
                        Ok(()) => {
                            tracing::info!("draining: this node takes no new rooms and its rooms move away")
                        }
                        Err(error) => tracing::warn!(error, "the drain cannot begin; trying again"),
                    }
                    let look = self.look().await;
                    watch.looked(Instant::now(), look);
                }
                Step::Look => {
                    let look = self.look().await;
                    watch.looked(Instant::now(), look);
                }
                Step::CancelDrain => {
                    let done = self.node.cancel().await;
                    match &done {
                        Ok(()) => tracing::info!("this instance is in the pool again; its node serves again"),
                        Err(error) => tracing::warn!(error, "the drain cannot be cancelled; trying again"),
                    }
                    watch.cancelled(Instant::now(), done.is_ok());
                }
                Step::AskForEnd => {
                    let end = self.ask_for_end().await;
                    watch.ended(Instant::now(), end);
                }
            }
            if watch.is_leaving() && !was_leaving {
                tracing::info!(instance = %self.here.instance, "this instance is out of the pool: it drains, and then ends");
            }
        }
    }

    async fn is_marked(&self) -> Option<bool> {
        match self.imds.freeform_tags().await {
            Ok(tags) => Some(tags.contains_key(tags::DRAINING)),
            Err(error) => {
                tracing::warn!(%error, "the tags of this instance cannot be read");
                None
            }
        }
    }

    async fn membership(&self) -> Option<Membership> {
        let (pools, Here { stack, compartment, instance }) = (self.cloud.pools(), &self.here);
        let asked = async {
            let Some(pool) = pools.find(compartment, &pool_name(stack)).await? else {
                return Ok(Membership::NoPool);
            };
            let members = pools.members(&pool.id, compartment).await?;
            let is_member = members.iter().any(|member| member.id == *instance);
            Ok(if is_member { Membership::Member } else { Membership::Out })
        };
        match asked.await {
            Ok(membership) => Some(membership),
            Err::<_, crate::Error>(error) => {
                tracing::warn!(%error, "whether this instance is in its pool cannot be found out");
                None
            }
        }
    }

    async fn look(&self) -> Option<Look> {
        match self.node.look().await {
            Ok(look) => {
                if let Look::Known { rooms, participants, .. } = look {
                    tracing::debug!(rooms, participants, "draining");
                }
                Some(look)
            }
            Err(error) => {
                tracing::warn!(error, "how far the drain is cannot be found out");
                None
            }
        }
    }

    async fn ask_for_end(&self) -> End {
        let instance_id = self.here.instance.clone();
        tracing::info!(instance = %instance_id, "this node is empty; asking the function to end the instance");
        match self.caller.call(&Ask::Terminate { instance_id }).await {
            Ok(answer) => {
                tracing::info!(decision = ?answer.decision, reason = answer.reason, "the function has answered");
                if answer.decision == Decision::Terminated { End::Comes } else { End::Not }
            }
            Err(error) => {
                tracing::warn!(%error, "the function did not answer; asking again");
                End::Not
            }
        }
    }
}
