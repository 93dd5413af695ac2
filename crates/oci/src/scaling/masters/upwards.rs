//! Raising the pool's size when the load that this master sees asks for it.

use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime};

use super::super::invoker::Mode;
use super::super::lock::race::Lost;
use super::super::lock::{Held, Terms};
use super::super::pool_name;
use super::super::scale_out::{Need, Plan, Pool, PoolMember};
use super::super::wire::NodeLoad;
use super::{Cluster, Masters};
use crate::services::{InstancePool, Versioned};
use crate::{Error, Patience};

/// The pool is asked and told within a lease.
const POOL_WITHIN: Duration = Duration::from_secs(4);

/// While the pool is at its maximum that is said this often.
const REMIND: Duration = Duration::from_secs(300);

impl<C: Cluster> Masters<C> {
    /// Acts on need, for ever.
    pub(super) async fn scale_out(&self) -> Infallible {
        let mut tick = tokio::time::interval(super::LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut said_maximum = None;
        loop {
            tick.tick().await;
            let Some(wishes) = *self.wishes.borrow() else { continue };
            let (need, nodes) = {
                let seen = self.seen();
                let need = seen.need.clone().filter(|_| seen.load.may_act(Instant::now()));
                let Some((need, nodes)) = need.zip(seen.nodes.clone()) else { continue };
                (need, nodes)
            };
            if wishes.mode != Mode::Elastic || !wishes.scale_out {
                continue;
            }
            let Some(max) = wishes.max_nodes else {
                tracing::warn!("the tag sala-max-media-nodes of this master is no number: nothing is added");
                self.seen().load.rest(Instant::now());
                continue;
            };
            match self.out_lock.take(&self.me, Terms::SCALE_OUT).await {
                Ok(held) => match self.raise(&held, &need, wishes.target_cpu, max, &nodes).await {
                    Ok(Some(Plan::AtMaximum)) => {
                        let now = Instant::now();
                        if said_maximum.is_none_or(|at: Instant| now.saturating_duration_since(at) >= REMIND)
                        {
                            said_maximum = Some(now);
                            tracing::warn!(max, need = need.text(), "the media pool is at its maximum");
                        }
                    }
                    Ok(_) => {}
                    Err(error) if error.is_conflict() => {
                        tracing::info!(%error, "the pool is being changed; looking again soon");
                    }
                    Err(error) => tracing::warn!(%error, "the pool's size cannot be raised"),
                },
                Err(Lost::Unclear) => {
                    tracing::warn!("whether the scale-out lock was taken is not known; not acting")
                }
                Err(_) => tracing::debug!("another master looks after the need for media nodes"),
            }
            self.seen().load.rest(Instant::now());
        }
    }

    async fn raise(
        &self,
        held: &Held,
        need: &Need,
        target_cpu: f64,
        max: usize,
        nodes: &[NodeLoad],
    ) -> Result<Option<Plan>, Error> {
        let cloud = self.cloud.patient(Patience { within: Some(POOL_WITHIN), ..Patience::default() });
        let (pools, compartment) = (cloud.pools(), &self.place.compartment);
        let name = pool_name(&self.place.stack);
        let Some(found) = pools.find(compartment, &name).await? else {
            tracing::warn!(
                name,
                "there is no such instance pool; in elastic mode `terraform apply` makes it"
            );
            return Ok(None);
        };
        let pool: Versioned<InstancePool> = pools.pool(&found.id).await?;
        let members = pools.members(&pool.id, compartment).await?;
        let members: Vec<PoolMember> = members
            .into_iter()
            .filter(|member| !member.state.is_ended())
            .map(|member| PoolMember { id: member.id, created: member.time_created })
            .collect();
        let shape = Pool { now: SystemTime::now(), size: pool.size as usize, members: &members };
        let plan = self.seen().load.plan(need, target_cpu, max, &shape, nodes);
        match plan {
            Plan::Coming { starting } => {
                tracing::debug!(starting, need = need.text(), "enough media nodes are starting");
            }
            Plan::Raise { from, to } if Instant::now() < held.until => {
                let Some(etag) = &pool.etag else {
                    // Without it a size that somebody else has raised meanwhile could be lowered: that ends nodes.
                    tracing::warn!("the pool has no ETag; its size is not changed");
                    return Ok(Some(plan));
                };
                pools.resize(&pool.id, to as u32, Some(etag)).await?;
                tracing::info!(from, to, need = need.text(), "scale-out: the media pool grows");
            }
            Plan::Raise { .. } => tracing::warn!("the cloud answered too slowly; looking again soon"),
            Plan::AtMaximum => {}
        }
        Ok(Some(plan))
    }
}
