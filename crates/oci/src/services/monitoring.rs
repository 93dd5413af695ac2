//! Metrics: aggregated ones read, own ones posted.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::endpoints::Service;
use crate::error::Error;
use crate::ocid::Ocid;
use crate::transport::{Api, Call, path};
use crate::wire_time;

/// Metrics of the principal's region.
#[derive(Clone)]
pub struct Monitoring {
    api: Api,
}

/// What to read.
#[derive(Debug, Clone)]
pub struct MetricQuery<'a> {
    pub compartment: &'a Ocid,
    /// Such as `oci_computeagent`.
    pub namespace: &'a str,
    /// In Oracle's query language, such as `CpuUtilization[5m].mean()`.
    pub query: &'a str,
    pub start: SystemTime,
    pub end: SystemTime,
    /// Such as `1m`; the service chooses if none.
    pub resolution: Option<&'a str>,
}

/// The values of one metric for one set of dimensions.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    pub name: String,
    /// Such as `resourceId`, an instance's OCID.
    #[serde(default)]
    pub dimensions: BTreeMap<String, String>,
    /// In order of time.
    #[serde(rename = "aggregatedDatapoints", default)]
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    #[serde(rename = "timestamp", with = "wire_time::required")]
    pub at: SystemTime,
    pub value: f64,
}

/// A metric of our own to post. Times must be within the last two hours and at most ten minutes ahead.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewMetric<'a> {
    #[serde(rename = "compartmentId")]
    pub compartment: &'a Ocid,
    /// Not beginning with `oci_` or `oracle_`.
    pub namespace: &'a str,
    pub name: &'a str,
    /// At least one; such as `resourceId`.
    pub dimensions: &'a BTreeMap<String, String>,
    #[serde(rename = "datapoints")]
    pub points: &'a [Point],
}

/// What became of posted metrics.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Posted {
    pub failed_metrics_count: u32,
    #[serde(rename = "failedMetrics", default)]
    failed: Vec<FailedMetric>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct FailedMetric {
    message: String,
}

impl Posted {
    /// Why some were refused.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.failed.iter().map(|failed| failed.message.as_str())
    }
}

impl Monitoring {
    pub(crate) fn new(api: Api) -> Monitoring {
        Monitoring { api }
    }

    pub async fn summarize(&self, query: &MetricQuery<'_>) -> Result<Vec<Series>, Error> {
        let mut body = json!({
            "namespace": query.namespace,
            "query": query.query,
            "startTime": wire_time::to_rfc3339(query.start),
            "endTime": wire_time::to_rfc3339(query.end),
        });
        if let Some(resolution) = query.resolution {
            body["resolution"] = resolution.into();
        }
        let path = path(["20180401", "metrics", "actions", "summarizeMetricsData"]);
        let call = Call::post("SummarizeMetricsData", Service::Telemetry, path)
            .query("compartmentId", query.compartment)
            .json(&body)
            .idempotent();
        let mut all: Vec<Series> = self.api.json(call).await?;
        all.iter_mut().for_each(|series| series.points.sort_by_key(|point| point.at));
        Ok(all)
    }

    /// All or as many as are valid; the same point posted twice counts once.
    pub async fn post(&self, metrics: &[NewMetric<'_>]) -> Result<Posted, Error> {
        let call = Call::post("PostMetricData", Service::TelemetryIngestion, path(["20180401", "metrics"]))
            .json(&json!({ "metricData": metrics, "batchAtomicity": "NON_ATOMIC" }))
            .idempotent();
        self.api.json(call).await
    }
}
