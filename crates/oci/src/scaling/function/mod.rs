//! The function: the only one who takes media nodes out of the pool and ends instances. It checks who calls, gathers
//! what is to be known, lets [`super::decide`] and [`super::ending`] judge, and does it. Every answer says why.

mod facts;
mod settings;

use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;

use super::decide::{Facts, Verdict, decide};
use super::ending::Ending;
use super::fn_server::Call;
use super::subject::{Denied, Subject};
use super::tags;
use super::wire::{Answer, Ask, Decision, NodeLoad};
use crate::services::{Detach, InstancePool};
use crate::{Cloud, Error, Ocid};

pub use settings::{BadSettings, Settings};

/// See the module.
#[derive(Clone)]
pub struct ScalingFunction {
    cloud: Cloud,
    settings: Settings,
}

impl ScalingFunction {
    pub fn new(cloud: Cloud, settings: Settings) -> ScalingFunction {
        ScalingFunction { cloud, settings }
    }

    /// Does what a call asks for.
    pub async fn call(&self, call: &Call) -> Answer {
        let ask = match Ask::parse(&call.body) {
            Ok(ask) => ask,
            Err(error) => return Answer::refused(error.to_string()),
        };
        if let Err(denied) = self.check(&call.headers, &ask) {
            tracing::warn!(call = call.id, %denied, "refused");
            return Answer::refused(denied.to_string());
        }
        let now = SystemTime::now();
        let done = match &ask {
            Ask::ScaleIn { nodes, hold } => self.scale_in(now, nodes, hold.as_deref()).await,
            Ask::Terminate { instance_id } => self.terminate(instance_id).await,
            Ask::Sweep { instance_ids } => self.sweep(now, instance_ids).await,
        };
        // What is not known for certain changes nothing.
        done.unwrap_or_else(|error| Answer::kept(error.to_string()))
    }

    fn check(&self, headers: &HeaderMap, ask: &Ask) -> Result<(), Denied> {
        let subject = Subject::of(headers)?;
        match ask {
            Ask::Terminate { instance_id } => subject.may_terminate(instance_id),
            Ask::ScaleIn { .. } | Ask::Sweep { .. } => subject.must_be_master(&self.settings.masters),
        }
    }

    async fn scale_in(
        &self,
        now: SystemTime,
        nodes: &[NodeLoad],
        hold: Option<&str>,
    ) -> Result<Answer, Error> {
        let Some(pool) = self.pool().await? else {
            return Ok(Answer::kept("there is no instance pool of this stack"));
        };
        let listed = self.listed().await?;
        let members = self.members(&pool, &listed).await?;
        let cpu_percent = self.cpu_percent(now, &members).await?;
        let facts = Facts {
            now,
            settled: pool.lifecycle_state == crate::services::PoolState::Running,
            size: pool.size as usize,
            members: &members,
            cpu_percent: &cpu_percent,
            nodes,
            hold,
        };
        let Verdict { remove, untag, reason } = decide(&self.settings.policy, &facts);
        for id in &untag {
            tracing::info!(instance = %id, "it stays: the mark of its removal is taken back");
            self.cloud.compute().remove_tag(id, tags::DRAINING).await?;
        }
        let Some(id) = remove else { return Ok(Answer::kept(reason)) };
        self.remove(now, &pool, &id).await?;
        Ok(Answer { decision: Decision::Detached, ..Answer::kept(reason) }.about(&id))
    }

    /// First the mark, by which the node knows and by which it is found if this ends in between; then out of the pool.
    async fn remove(&self, now: SystemTime, pool: &InstancePool, id: &Ocid) -> Result<(), Error> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
        self.cloud.compute().set_tag(id, tags::DRAINING, &since).await?;
        let how = Detach { decrement_size: true, terminate: false };
        self.cloud.pools().detach(&pool.id, id, how).await
    }

    async fn terminate(&self, id: &Ocid) -> Result<Answer, Error> {
        let candidate = match self.candidate(id).await? {
            Some(candidate) => candidate,
            None => return Ok(Answer::kept("there is no such instance").about(id)),
        };
        self.end(id, candidate.by_itself()).await
    }

    async fn end(&self, id: &Ocid, ending: Ending) -> Result<Answer, Error> {
        let terminated =
            |reason: &str| Answer { decision: Decision::Terminated, ..Answer::kept(reason) }.about(id);
        match ending {
            Ending::Stays(reason) => Ok(Answer::kept(reason).about(id)),
            Ending::Done => Ok(terminated("it has ended, or is about to")),
            Ending::End => {
                self.cloud.compute().terminate(id).await?;
                Ok(terminated("it is out of the pool and asked for its end"))
            }
        }
    }

    async fn sweep(&self, now: SystemTime, ids: &[Ocid]) -> Result<Answer, Error> {
        let candidates = self.candidates(ids).await?;
        let (mut ended, mut kept) = (Vec::new(), Vec::new());
        for (id, candidate) in candidates {
            match candidate.map(|candidate| candidate.by_masters(now, self.settings.policy.grace)) {
                None => kept.push(format!("{id}: there is no such instance in this stack")),
                Some(Ending::Stays(reason)) => kept.push(format!("{id}: {reason}")),
                Some(Ending::Done) => {}
                Some(Ending::End) => match self.cloud.compute().terminate(&id).await {
                    Ok(_) => ended.push(id),
                    Err(error) => kept.push(format!("{id}: {error}")),
                },
            }
        }
        let decision = if ended.is_empty() { Decision::Kept } else { Decision::Terminated };
        let reason = match (ended.len(), kept.is_empty()) {
            (0, true) => "all of them have ended".to_owned(),
            (n, true) => format!("{n} instances were out of the pool and needed by nobody"),
            (n, false) => format!("{n} instances were ended, others stay: {}", kept.join("; ")),
        };
        Ok(Answer { decision, terminated: ended, ..Answer::kept(reason) })
    }
}
