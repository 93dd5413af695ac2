//! A master's turn: the function is called once per cycle, and orphans are looked for.

use std::convert::Infallible;
use std::future::Future;
use std::time::{Instant, SystemTime};

use super::super::invoker::{Invoker, Mode, Settings, Step, Turn};
use super::super::lock::client::Reply;
use super::super::lock::race::Request;
use super::super::lock::{Refusal, Terms};
use super::super::orphans::{Find, Listed};
use super::super::wire::Ask;
use super::super::{pool_name, tags};
use super::{Cluster, Masters, Wishes};
use crate::services::{Instance, PoolState};
use crate::{Error, Ocid};

impl<C: Cluster> Masters<C> {
    /// Takes turns for ever.
    pub(super) async fn take_turns(&self) -> Infallible {
        let settings = Settings {
            me: self.me.clone(),
            terms: Terms::new(self.pace.lock_ttl.as_secs()),
            cycle: self.pace.cycle,
        };
        let mut invoker = Invoker::new(Instant::now(), settings, fastrand::u64(..));
        loop {
            match invoker.step(Instant::now()) {
                Step::Wait(until) => tokio::time::sleep_until(until.into()).await,
                Step::ReadMode => {
                    let mode = match self.imds.freeform_tags().await {
                        Ok(tags) => Some(Wishes::of(&tags).mode),
                        Err(error) => {
                            tracing::warn!(%error, "the mode of scaling cannot be read; trying again soon");
                            None
                        }
                    };
                    if mode == Some(Mode::Fixed) && self.cluster.is_first() {
                        let until = Instant::now() + self.pace.lock_ttl;
                        by(until, "the search for orphans did not end in time", self.end_leftovers()).await;
                    }
                    invoker.mode(Instant::now(), mode);
                }
                Step::Ask(request) => self.ask(&mut invoker, &request).await,
                Step::Call { cycle, until } => {
                    tracing::info!(cycle, "it is this master's turn to call the scale-in function");
                    by(until, "the scale-in function did not answer in time", self.call_scale_in()).await;
                    invoker.called(Instant::now());
                }
                Step::Sweep { until } => {
                    by(until, "the search for orphans did not end in time", self.sweep()).await;
                    invoker.swept(Instant::now());
                }
            }
        }
    }

    async fn ask(&self, invoker: &mut Invoker, request: &Request) {
        let turn = match self.in_lock.ask(request).await {
            Reply::Read(seen) => invoker.read(Instant::now(), seen.as_ref()),
            Reply::Written(written) => invoker.written(Instant::now(), written),
        };
        match turn {
            Some(Turn::Elsewhere(Refusal::Called { holder })) => {
                tracing::debug!(holder, "another master has called the scale-in function in this cycle");
            }
            Some(Turn::Elsewhere(Refusal::HeldBy { holder, left })) => {
                tracing::debug!(holder, left_s = left.as_secs(), "another master holds the scale-in lock");
            }
            Some(Turn::Beaten) => tracing::debug!("another master was faster to take the scale-in lock"),
            Some(Turn::Unclear) => {
                tracing::warn!("whether the scale-in lock was taken is not known; not acting")
            }
            None => {}
        }
    }

    async fn call_scale_in(&self) {
        let (nodes, hold) = {
            let seen = self.seen();
            (seen.smoothed(), seen.load.hold(Instant::now(), self.pace.hold))
        };
        let hold = match &nodes {
            Some(_) => hold,
            None => Some("this master does not know the cluster for certain".to_owned()),
        };
        let ask = Ask::ScaleIn { nodes: nodes.unwrap_or_default(), hold };
        match self.caller.call(&ask).await {
            Ok(answer) => tracing::info!(
                decision = ?answer.decision,
                instance = answer.instance_id.as_ref().map(Ocid::as_str),
                reason = answer.reason,
                "scale-in"
            ),
            Err(error) => tracing::warn!(%error, "the scale-in function was not called"),
        }
    }

    async fn sweep(&self) {
        let listed = match self.list().await {
            Ok(Some(listed)) => listed,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%error, "orphans cannot be looked for"),
        };
        let orphans = self.orphans_of(&listed).await;
        if orphans.is_empty() {
            return;
        }
        match self.caller.call(&Ask::Sweep { instance_ids: orphans }).await {
            Ok(answer) => tracing::info!(
                decision = ?answer.decision,
                terminated = ?answer.terminated,
                reason = answer.reason,
                "sweep"
            ),
            Err(error) => tracing::warn!(%error, "the sweep was not called; the next cycle tries again"),
        }
    }

    /// In a fixed deployment there is no function. What scale-in took out of the pool before it became one, and nothing
    /// else, is ended from here: the nodes have nobody to ask.
    async fn end_leftovers(&self) {
        let listed: Vec<Listed> = match self.list().await {
            Ok(listed) => listed.into_iter().flatten().filter(|instance| instance.tagged).collect(),
            Err(error) => return tracing::warn!(%error, "orphans cannot be looked for"),
        };
        for id in self.orphans_of(&listed).await {
            if let Err(error) = self.cloud.compute().terminate(&id).await {
                tracing::warn!(instance = %id, %error, "an orphan could not be ended; the next cycle tries again");
            }
        }
    }

    /// Who is to be ended. Who still takes rooms begins to drain.
    async fn orphans_of(&self, listed: &[Listed]) -> Vec<Ocid> {
        let found = {
            let (now, time) = (Instant::now(), SystemTime::now());
            self.seen().orphans.judge(now, time, true, self.pace.grace, listed)
        };
        let mut orphans = Vec::new();
        for find in found {
            match find {
                Find::Orphan { id, why } => {
                    tracing::warn!(instance = %id, why, "an orphan is ended");
                    orphans.push(id);
                }
                Find::Drain { id } => match self.cluster.drain(&id).await {
                    Ok(()) => tracing::info!(instance = %id, "it is out of the pool; its node is emptied"),
                    Err(error) => {
                        tracing::warn!(instance = %id, error, "a node out of the pool is not emptied")
                    }
                },
            }
        }
        orphans
    }

    /// The stack's media instances; `None` while the pool is changing, or there is none.
    async fn list(&self) -> Result<Option<Vec<Listed>>, Error> {
        let (pools, compartment) = (self.cloud.pools(), &self.place.compartment);
        let Some(pool) = pools.find(compartment, &pool_name(&self.place.stack)).await? else {
            return Ok(None);
        };
        let members = pools.members(&pool.id, compartment).await?;
        if pool.lifecycle_state != PoolState::Running || members.len() != pool.size as usize {
            return Ok(None);
        }
        let instances = self.cloud.compute().instances(compartment, None, None).await?;
        let ours = |instance: &Instance| {
            let tag = |name: &str| instance.freeform_tags.get(name).map(String::as_str);
            tag(tags::STACK) == Some(&self.place.stack) && tag(tags::ROLE) == Some(tags::MEDIA)
        };
        let listed = instances.into_iter().filter(ours).map(|instance| Listed {
            in_pool: members.iter().any(|member| member.id == instance.id),
            gone: instance.lifecycle_state.is_ended(),
            tagged: instance.freeform_tags.contains_key(tags::DRAINING),
            created: instance.time_created,
            id: instance.id,
        });
        Ok(Some(listed.collect()))
    }
}

/// Until the lease ends.
async fn by(until: Instant, late: &'static str, work: impl Future<Output = ()>) {
    if tokio::time::timeout_at(until.into(), work).await.is_err() {
        tracing::warn!("{late}");
    }
}
