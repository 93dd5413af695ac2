//! What the function asks the cloud before it judges.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::super::decide::Member;
use super::super::ending::Candidate;
use super::super::{pool_name, tags};
use super::ScalingFunction;
use crate::services::{self, Instance, InstancePool, InstanceState, MetricQuery};
use crate::{Error, Ocid};

/// Where the agents of the instances write.
const NAMESPACE: &str = "oci_computeagent";

impl ScalingFunction {
    /// The stack's pool; none in a stack that has none.
    pub(super) async fn pool(&self) -> Result<Option<InstancePool>, Error> {
        let pools = self.cloud.pools();
        match &self.settings.pool {
            Some(id) => Ok(Some(pools.pool(id).await?.value)),
            None => pools.find(&self.settings.compartment, &pool_name(&self.settings.stack)).await,
        }
    }

    /// The instances of the compartment, among them those of the stack.
    pub(super) async fn listed(&self) -> Result<Vec<Instance>, Error> {
        self.cloud.compute().instances(&self.settings.compartment, None, None).await
    }

    pub(super) async fn members(
        &self,
        pool: &InstancePool,
        listed: &[Instance],
    ) -> Result<Vec<Member>, Error> {
        let members = self.cloud.pools().members(&pool.id, &self.settings.compartment).await?;
        let tagged = |id: &Ocid| {
            listed
                .iter()
                .any(|instance| instance.id == *id && instance.freeform_tags.contains_key(tags::DRAINING))
        };
        let read = |member: services::Member| Member {
            tagged: tagged(&member.id),
            running: member.state == InstanceState::Running,
            created: member.time_created,
            id: member.id,
        };
        Ok(members.into_iter().map(read).collect())
    }

    /// Mean CPU of each member; one without datapoints is left out.
    pub(super) async fn cpu_percent(
        &self,
        now: SystemTime,
        members: &[Member],
    ) -> Result<BTreeMap<Ocid, f64>, Error> {
        let monitoring = self.cloud.monitoring();
        let mut means = BTreeMap::new();
        for member in members {
            let query = format!("CpuUtilization[1m]{{resourceId = \"{}\"}}.mean()", member.id);
            let series = monitoring
                .summarize(&MetricQuery {
                    compartment: &self.settings.compartment,
                    namespace: NAMESPACE,
                    query: &query,
                    start: now - self.settings.window,
                    end: now,
                    resolution: None,
                })
                .await?;
            let values: Vec<f64> =
                series.iter().flat_map(|series| &series.points).map(|point| point.value).collect();
            if !values.is_empty() {
                means.insert(member.id.clone(), values.iter().sum::<f64>() / values.len() as f64);
            }
        }
        Ok(means)
    }

    /// An instance that asks for its own end.
    pub(super) async fn candidate(&self, id: &Ocid) -> Result<Option<Candidate>, Error> {
        let instance = match self.cloud.compute().instance(id).await {
            Ok(instance) => instance.value,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let pooled = self.pooled().await?;
        Ok(Some(self.judged(&instance, &pooled)))
    }

    /// Instances that the masters name.
    pub(super) async fn candidates(&self, ids: &[Ocid]) -> Result<Vec<(Ocid, Option<Candidate>)>, Error> {
        // An instance that the pool makes between the two reads is young, and stays for that.
        let pooled = self.pooled().await?;
        let listed = self.listed().await?;
        let find = |id: &Ocid| listed.iter().find(|instance| instance.id == *id);
        Ok(ids
            .iter()
            .map(|id| (id.clone(), find(id).map(|instance| self.judged(instance, &pooled))))
            .collect())
    }

    async fn pooled(&self) -> Result<Vec<services::Member>, Error> {
        match self.pool().await? {
            Some(pool) => self.cloud.pools().members(&pool.id, &self.settings.compartment).await,
            None => Ok(Vec::new()),
        }
    }

    fn judged(&self, instance: &Instance, pooled: &[services::Member]) -> Candidate {
        let tag = |name: &str| instance.freeform_tags.get(name).map(String::as_str);
        Candidate {
            ours: tag(tags::STACK) == Some(&self.settings.stack) && tag(tags::ROLE) == Some(tags::MEDIA),
            in_pool: pooled.iter().any(|member| member.id == instance.id),
            gone: instance.lifecycle_state.is_ended(),
            tagged: tag(tags::DRAINING).is_some(),
            created: instance.time_created,
        }
    }
}
