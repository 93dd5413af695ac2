//! The cluster's own load as custom metrics, so that an operator sees it beside Oracle's in the console.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime};

use super::{Cluster, Masters};
use crate::services::{NewMetric, Point};

/// Namespace of our metrics.
const NAMESPACE: &str = "sala";

/// Monitoring has a point per minute.
const POST: Duration = Duration::from_secs(60);

/// A missing permission is said this often.
const REMIND: Duration = Duration::from_secs(3_600);

impl<C: Cluster> Masters<C> {
    /// Posts for ever, if this master is the first of those alive.
    pub(super) async fn post_load(&self) -> Infallible {
        let mut tick = tokio::time::interval(POST);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut warned: Option<Instant> = None;
        loop {
            tick.tick().await;
            if !self.cluster.is_first() {
                continue;
            }
            if let Err(error) = self.post_once().await
                && warned.is_none_or(|at| at.elapsed() >= REMIND)
            {
                warned = Some(Instant::now());
                tracing::warn!(
                    error,
                    "the cluster's load is not posted as metrics; scaling does not need them"
                );
            }
        }
    }

    async fn post_once(&self) -> Result<(), String> {
        let figures = {
            let seen = self.seen();
            let Some(nodes) = &seen.nodes else { return Ok(()) };
            let serving = nodes.iter().filter(|node| !node.draining).count();
            vec![
                ("MediaCpu", seen.load.cpu()),
                ("MediaNodes", Some(serving as f64)),
                ("DrainingMediaNodes", Some((nodes.len() - serving) as f64)),
                ("Rooms", Some(nodes.iter().map(|node| f64::from(node.rooms)).sum())),
                ("Participants", Some(nodes.iter().map(|node| f64::from(node.participants)).sum())),
            ]
        };
        let dimensions = BTreeMap::from([("stack".to_owned(), self.place.stack.clone())]);
        let at = SystemTime::now();
        let points: Vec<(&str, [Point; 1])> = figures
            .into_iter()
            .filter_map(|(name, value)| Some((name, [Point { at, value: value? }])))
            .collect();
        let metrics: Vec<NewMetric<'_>> = points
            .iter()
            .map(|(name, points)| NewMetric {
                compartment: &self.place.compartment,
                namespace: NAMESPACE,
                name,
                dimensions: &dimensions,
                points,
            })
            .collect();
        let posted = self.cloud.monitoring().post(&metrics).await.map_err(|error| error.to_string())?;
        let reason = posted.reasons().next().map(str::to_owned);
        match posted.failed_metrics_count {
            0 => Ok(()),
            _ => Err(reason.unwrap_or_default()),
        }
    }
}
