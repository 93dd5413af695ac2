//! Monitoring: reading metrics, and posting one's own.
//!
//! Clients count in real time while the cloud may run faster: a window of the last five minutes is the last five
//! minutes of the cloud, and its points come back with the dates that the client expects.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Context, Refusal, Reply, Route};
use crate::cloud::calendar;
use crate::cloud::query::{self, Query};
use crate::iam::Target;

pub(super) const ROUTES: &[Route] = &[
    Route::new("POST", "20180401/metrics/actions/summarizeMetricsData", "SummarizeMetricsData", summarize),
    Route::new("POST", "20180401/metrics/actions/listMetrics", "ListMetrics", list),
    Route::new("POST", "20180401/metrics", "PostMetricData", post),
];

const AGENT: &str = "oci_computeagent";
const CPU: &str = "CpuUtilization";
/// Points in one answer.
const MAX_POINTS: i64 = 100_000;

fn target<'a>(compartment: &'a str, namespace: &str) -> Target<'a> {
    Target { compartment, variables: vec![("target.metrics.namespace", namespace.to_owned())] }
}

/// A stream's dimensions, and its points by real time in milliseconds, as the client counts.
type Series = (String, BTreeMap<String, String>, Vec<(i64, f64)>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summarize {
    namespace: String,
    query: String,
    start_time: Option<String>,
    end_time: Option<String>,
    resolution: Option<String>,
}

fn date(text: Option<&str>, name: &str) -> Result<Option<i64>, Refusal> {
    let parsed = text.map(|text| {
        calendar::parse_rfc3339(text).ok_or_else(|| Refusal::invalid(format!("{name} is no RFC 3339 date.")))
    });
    parsed.transpose()
}

fn summarize(context: &mut Context<'_>) -> Reply {
    let compartment = context.compartment()?;
    let wanted: Summarize = context.request.json()?;
    context.authorize(&["METRIC_INSPECT", "METRIC_READ"], &target(&compartment, &wanted.namespace))?;
    let query =
        query::parse(&wanted.query).map_err(|reason| Refusal::invalid(format!("query: {reason}.")))?;
    let unix_ms = context.now.unix_ms;
    let end = date(wanted.end_time.as_deref(), "endTime")?.unwrap_or(unix_ms);
    let start = date(wanted.start_time.as_deref(), "startTime")?.unwrap_or(end - 3 * 3_600_000);
    let resolution = match &wanted.resolution {
        None => query.interval_seconds,
        Some(text) => {
            query::parse(&format!("x[{text}].mean()"))
                .map_err(|_| Refusal::invalid("resolution: 1m to 60m, 1h to 24h and 1d are."))?
                .interval_seconds
        }
    };
    let step = resolution as i64 * 1000;
    if start >= end || (end - start) / step > MAX_POINTS {
        return Err(Refusal::invalid(
            "startTime must lie before endTime, and not too many intervals before.",
        ));
    }
    let series = series(context, &compartment, &wanted.namespace);
    let series =
        series.into_iter().filter(|(name, dimensions, _)| *name == query.metric && query.fits(dimensions));
    let mut groups: BTreeMap<BTreeMap<String, String>, Vec<(i64, f64)>> = BTreeMap::new();
    for (_, dimensions, points) in series {
        groups.entry(query.group(&dimensions)).or_default().extend(points);
    }
    let streams = groups.into_iter().map(|(dimensions, points)| {
        json!({
            "namespace": wanted.namespace, "compartmentId": compartment, "name": query.metric,
            "dimensions": dimensions, "metadata": {"unit": "percent"}, "resolution": wanted.resolution,
            "aggregatedDatapoints": aggregated(&query, &points, (start, end, step)),
        })
    });
    // A stream without a point in the window is not there at all.
    let streams = streams.filter(|stream| stream["aggregatedDatapoints"] != json!([]));
    Ok(Answer::json(&Value::Array(streams.collect())).into())
}

/// One value for each step, of the interval that ends with it.
fn aggregated(query: &Query, points: &[(i64, f64)], (start, end, step): (i64, i64, i64)) -> Vec<Value> {
    let interval = query.interval_seconds as i64 * 1000;
    let mut out = Vec::new();
    // Steps are aligned as the service does it, to multiples of themselves.
    let mut at = start.div_euclid(step) * step + step;
    while at < end + step {
        let within = points.iter().filter(|(when, _)| *when >= at - interval && *when < at && *when < end);
        let values: Vec<f64> = within.map(|(_, value)| *value).collect();
        if let Some(value) = query.statistic.of(&values) {
            out.push(json!({"timestamp": calendar::rfc3339(at.min(end)), "value": value}));
        }
        at += step;
    }
    out
}

fn series(context: &Context<'_>, compartment: &str, namespace: &str) -> Vec<Series> {
    let is_deep = context.request.query("compartmentIdInSubtree") == Some("true");
    let is_meant = |of: &str| of == compartment || is_deep && context.cloud.iam.is_within(of, compartment);
    if namespace == AGENT {
        let instances = context.cloud.compute.iter().filter(|instance| is_meant(&instance.compartment));
        return instances
            .map(|instance| {
                (CPU.to_owned(), dimensions(context, instance), cpu_points(context, &instance.id))
            })
            .collect();
    }
    let posted = context.cloud.metrics.posted.iter();
    posted
        .filter(|stream| stream.namespace == namespace && is_meant(&stream.compartment))
        .map(|stream| {
            (stream.name.clone(), stream.dimensions.clone(), stream.points.iter().copied().collect())
        })
        .collect()
}

fn dimensions(context: &Context<'_>, instance: &crate::cloud::compute::Instance) -> BTreeMap<String, String> {
    let settings = &context.cloud.settings;
    let mut dimensions = BTreeMap::from(
        [
            ("resourceId", instance.id.clone()),
            ("resourceDisplayName", instance.display_name.clone()),
            ("region", settings.region.clone()),
            ("shape", instance.machine.shape.clone()),
            ("availabilityDomain", super::compute::availability_domain(context)),
            ("faultDomain", instance.fault_domain.clone()),
            ("imageId", crate::ocid::named("image", &settings.region_key, "machine")),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if let Some(pool) = &instance.pool {
        dimensions.insert("instancePoolId".into(), pool.clone());
    }
    dimensions
}

/// The minutes that show, dated so that the client finds them as old as they are in the cloud.
fn cpu_points(context: &Context<'_>, instance: &str) -> Vec<(i64, f64)> {
    let lag = context.cloud.settings.after(|delays| delays.metrics_lag_seconds);
    let now = context.now;
    let shown = context.cloud.metrics.shown(instance, now.cloud, lag);
    shown
        .map(|(at, percent)| {
            let age = now.cloud.saturating_sub(at);
            (now.unix_ms - age.as_millis() as i64, percent)
        })
        .collect()
}

#[derive(Deserialize)]
struct ListMetrics {
    name: Option<String>,
    namespace: Option<String>,
}

fn list(context: &mut Context<'_>) -> Reply {
    let compartment = context.compartment()?;
    let wanted: ListMetrics = context.request.json()?;
    let namespace = wanted.namespace.as_deref().unwrap_or(AGENT);
    context.authorize(&["METRIC_INSPECT"], &target(&compartment, namespace))?;
    let series = series(context, &compartment, namespace);
    let series =
        series.into_iter().filter(|(name, _, _)| wanted.name.as_ref().is_none_or(|wanted| wanted == name));
    let metrics = series.map(|(name, dimensions, _)| {
        json!({"name": name, "namespace": namespace, "compartmentId": compartment, "dimensions": dimensions})
    });
    Ok(Answer::list(context, metrics.collect())?.into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostMetrics {
    metric_data: Vec<PostedMetric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedMetric {
    namespace: String,
    compartment_id: String,
    name: String,
    dimensions: BTreeMap<String, String>,
    datapoints: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    timestamp: String,
    value: f64,
}

fn post(context: &mut Context<'_>) -> Reply {
    let wanted: PostMetrics = context.request.json()?;
    if wanted.metric_data.is_empty() || wanted.metric_data.len() > 50 {
        return Err(Refusal::invalid("metricData has 1 to 50 streams."));
    }
    let mut failed = Vec::new();
    for metric in wanted.metric_data {
        context.authorize(&["METRIC_WRITE"], &target(&metric.compartment_id, &metric.namespace))?;
        if let Err(message) = keep(context, &metric) {
            let data = json!({
                "namespace": metric.namespace, "compartmentId": metric.compartment_id, "name": metric.name,
                "dimensions": metric.dimensions, "datapoints": [],
            });
            failed.push(json!({"message": message, "metricData": data}));
        }
    }
    Ok(Answer::json(&json!({"failedMetricsCount": failed.len(), "failedMetrics": failed})).into())
}

fn keep(context: &mut Context<'_>, metric: &PostedMetric) -> Result<(), String> {
    let is_reserved = ["oci_", "oracle_"].iter().any(|prefix| metric.namespace.starts_with(prefix));
    if is_reserved {
        return Err("the namespace must not start with oci_ or oracle_".into());
    }
    if metric.dimensions.is_empty() || metric.dimensions.len() > 20 {
        return Err("a metric has 1 to 20 dimensions".into());
    }
    for point in &metric.datapoints {
        let at = calendar::parse_rfc3339(&point.timestamp).ok_or("a timestamp is no RFC 3339 date")?;
        let age = context.now.unix_ms - at;
        if !(-600_000..=7_200_000).contains(&age) {
            return Err("a timestamp is older than two hours or more than ten minutes ahead".into());
        }
        let metrics = &mut context.cloud.metrics;
        if !metrics.post(
            &metric.namespace,
            &metric.compartment_id,
            &metric.name,
            &metric.dimensions,
            (at, point.value),
        ) {
            return Err("the simulated cloud is full of metrics".into());
        }
    }
    Ok(())
}
