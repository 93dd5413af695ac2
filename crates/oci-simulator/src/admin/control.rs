//! Time, delays, faults, policies, and what is created while the cloud runs.

use std::sync::Arc;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answered, body, done, unknown};
use crate::api::{Answer, Refusal, Request};
use crate::cloud::seconds;
use crate::config::{Autoscaling, Delays, IamDocument, Resources};
use crate::faults::Fault;
use crate::runtime::Shared;

pub(super) fn faults(shared: &Arc<Shared>, request: &Request, path: &[&str]) -> Answered {
    let (mut cloud, _) = shared.cloud();
    match (&request.method, path) {
        (&Method::GET, []) => Ok(Answer::json(&json!(cloud.faults.all()))),
        (&Method::DELETE, []) => {
            cloud.faults.clear();
            done()
        }
        (&Method::POST, []) => {
            let fault: Fault = request.json()?;
            let id = cloud.faults.add(fault);
            let id = id.ok_or_else(|| Refusal::invalid("there are too many faults; delete some"))?;
            Ok(Answer::json(&json!({"id": id})))
        }
        (&Method::DELETE, [id]) => {
            let is_gone = id.parse().is_ok_and(|id| cloud.faults.remove(id));
            if is_gone { done() } else { Err(Refusal::not_found()) }
        }
        _ => Err(unknown(request)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetTime {
    scale: Option<f64>,
    advance_seconds: Option<f64>,
}

pub(super) fn time(shared: &Arc<Shared>, request: &Request) -> Answered {
    let wanted: SetTime = request.json()?;
    {
        let (mut cloud, _) = shared.cloud();
        if let Some(scale) = wanted.scale {
            cloud.clock.set_scale(shared.elapsed(), scale);
        }
        if let Some(by) = wanted.advance_seconds {
            cloud.clock.advance(seconds(by));
        }
    }
    let (cloud, now) = shared.cloud();
    Ok(Answer::json(&json!({"cloudSeconds": now.cloud.as_secs_f64(), "scale": cloud.clock.scale()})))
}

pub(super) fn delays(shared: &Arc<Shared>, request: &Request) -> Answered {
    // What is not named goes back to its default: a test says what it means.
    let wanted: Delays = request.json()?;
    shared.cloud().0.settings.delays = wanted;
    done()
}

pub(super) fn create(shared: &Arc<Shared>, request: &Request) -> Answered {
    let wanted: Resources = request.json()?;
    let (mut cloud, now) = shared.cloud();
    let created = cloud.create(&wanted, now).map_err(|error| Refusal::invalid(error.to_string()))?;
    let created = created.into_iter().map(|(kind, name, id)| {
        let mut entry = json!({"kind": kind, "displayName": name, "id": id});
        if let Some(instance) = cloud.compute.get(&id) {
            let imds = format!("{}/imds/{}/opc/v2", cloud.settings.base_url, instance.imds_token);
            entry["imdsUrl"] = json!(imds);
            entry["privateIp"] = json!(instance.private_ip);
        }
        entry
    });
    Ok(Answer::json(&json!({"created": created.collect::<Vec<Value>>()})))
}

pub(super) fn show_iam(shared: &Arc<Shared>) -> Answer {
    let (cloud, now) = shared.cloud();
    let groups = cloud.iam.document().dynamic_groups.iter();
    let groups =
        groups.map(|group| json!({"name": group.name, "id": group.id, "matchingRule": group.matching_rule}));
    let policies = cloud.iam.document().policies.iter();
    let policies = policies.map(|policy| json!({"name": policy.name, "statements": policy.statements}));
    Answer::json(&json!({
        "dynamicGroups": groups.collect::<Vec<Value>>(), "policies": policies.collect::<Vec<Value>>(),
        "counting": cloud.iam.overview(now.cloud),
    }))
}

pub(super) fn replace_iam(shared: &Arc<Shared>, request: &Request) -> Answered {
    let wanted: IamDocument = request.json()?;
    let (mut cloud, now) = shared.cloud();
    let delay = cloud.settings.after(|delays| delays.iam_seconds);
    cloud.iam.replace(&wanted, now.cloud, delay).map_err(|error| Refusal::invalid(error.to_string()))?;
    done()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetPool {
    size: Option<usize>,
    autoscaling: Option<Autoscaling>,
}

/// As `terraform apply` changes a pool.
pub(super) fn pool(shared: &Arc<Shared>, request: &Request, name: &str) -> Answered {
    let wanted: SetPool = body(request)?;
    let (mut cloud, now) = shared.cloud();
    let until = now.cloud + cloud.settings.after(|delays| delays.pool_seconds);
    let id = cloud.pools.find(name).map(|pool| pool.id.clone()).ok_or_else(Refusal::not_found)?;
    let pool = cloud.pools.all.get_mut(&id).ok_or_else(Refusal::not_found)?;
    if let Some(size) = wanted.size {
        pool.resize(size, until);
    }
    if wanted.autoscaling.is_some() {
        pool.autoscaling = wanted.autoscaling;
    }
    done()
}
