//! What there is, and what was asked.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Answered;
use crate::api::{Answer, Refusal, Request};
use crate::cloud::compute::Power;
use crate::cloud::secrets::State as SecretState;
use crate::runtime::Shared;

pub(super) fn state(shared: &Arc<Shared>) -> Answer {
    let (cloud, now) = shared.cloud();
    let instances: Vec<Value> = cloud
        .compute
        .iter()
        .map(|instance| {
            let power = match instance.power {
                Power::Off => "off",
                Power::On => "on",
                Power::Dead => "dead",
            };
            json!({
                "id": instance.id, "displayName": instance.display_name, "state": instance.state.name(),
                "power": power, "privateIp": instance.private_ip, "publicIp": instance.public_ip,
                "pool": instance.pool, "freeformTags": instance.freeform_tags(),
                "metadata": instance.machine.metadata, "createdUnixMs": instance.created_unix_ms,
                "root": shared.machines.root(&instance.id),
                "imdsUrl": format!("{}/imds/{}/opc/v2", cloud.settings.base_url, instance.imds_token),
                "cpu": {"lastMinute": cloud.metrics.measured(&instance.id), "fixed": cloud.metrics.fixed_cpu(&instance.id)},
            })
        })
        .collect();
    let pools: Vec<Value> = cloud
        .pools
        .all
        .values()
        .map(|pool| {
            json!({
                "id": pool.id, "displayName": pool.display_name, "state": pool.state.name(), "size": pool.size,
                "members": pool.members, "lastChangeSeconds": pool.rule.last_change.map(|at| at.as_secs_f64()),
            })
        })
        .collect();
    let balancers: Vec<Value> = cloud
        .balancers
        .all
        .values()
        .map(|balancer| {
            json!({
                "id": balancer.id, "displayName": balancer.config.display_name, "address": balancer.config.address,
                "isActive": balancer.is_active(now.cloud), "healthy": balancer.healthy,
            })
        })
        .collect();
    let vaults: Vec<Value> = cloud
        .kms
        .vaults
        .values()
        .map(|vault| {
            let is_manageable = vault.manageable_from <= now.cloud;
            json!({"id": vault.id, "displayName": vault.display_name, "isManageable": is_manageable})
        })
        .collect();
    let keys: Vec<Value> = cloud
        .kms
        .keys
        .values()
        .map(|key| json!({"id": key.id, "displayName": key.display_name, "vault": key.vault, "state": key.state(now.cloud)}))
        .collect();
    let secrets: Vec<Value> = cloud
        .secrets
        .all
        .values()
        .filter(|secret| secret.state != SecretState::Deleted)
        .map(|secret| {
            json!({
                "id": secret.id, "name": secret.name, "vault": secret.vault, "state": secret.state.name(),
                "versions": secret.versions(now.cloud).count(),
                "current": secret.current(now.cloud).map(|version| version.number),
            })
        })
        .collect();
    let buckets: serde_json::Map<String, Value> = cloud
        .storage
        .buckets
        .iter()
        .map(|(name, bucket)| {
            let objects = bucket.objects.iter();
            let objects = objects
                .map(|(name, object)| json!({"name": name, "etag": object.etag, "size": object.body.len()}));
            (name.clone(), Value::Array(objects.collect()))
        })
        .collect();
    Answer::json(&json!({
        "time": {"cloudSeconds": now.cloud.as_secs_f64(), "scale": cloud.clock.scale()},
        "instances": instances, "pools": pools, "networkLoadBalancers": balancers, "vaults": vaults, "keys": keys,
        "secrets": secrets, "buckets": buckets, "calls": cloud.calls.counts(), "lastCall": cloud.calls.last(),
    }))
}

pub(super) fn calls(shared: &Arc<Shared>, request: &Request) -> Answered {
    let number = |name: &str, otherwise: u64| match request.query(name) {
        None => Ok(otherwise),
        Some(text) => text.parse().map_err(|_| Refusal::invalid(format!("{name} is no number"))),
    };
    let (since, limit) = (number("since", 0)?, number("limit", 1000)?);
    let (cloud, _) = shared.cloud();
    let is_meant = |call: &&crate::calls::Call| {
        request.query("operation").is_none_or(|operation| operation == call.operation)
            && request.query("caller").is_none_or(|caller| caller == call.caller || caller == call.caller_id)
    };
    let found: Vec<&crate::calls::Call> = cloud.calls.after(since).filter(is_meant).collect();
    // The newest, if there are more than wanted.
    let shown = &found[found.len().saturating_sub(limit as usize)..];
    let body = json!({
        "counts": cloud.calls.counts(), "found": found.len(), "last": cloud.calls.last(), "calls": shown,
    });
    Ok(Answer::json(&body))
}

pub(super) fn functions(shared: &Arc<Shared>) -> Answer {
    let (log, started) = (shared.containers.log(), shared.containers.started());
    let (cloud, _) = shared.cloud();
    Answer::json(&json!({
        "count": cloud.functions.count(), "invoked": cloud.functions.invoked, "containersStarted": started,
        "log": log,
    }))
}
