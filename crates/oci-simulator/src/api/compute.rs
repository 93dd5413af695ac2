//! Compute: instances.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Context, Refusal, Reply, Route};
use crate::cloud::calendar;
use crate::cloud::compute::{Action, Instance};
use crate::iam::Target;

pub(super) const ROUTES: &[Route] = &[
    Route::new("GET", "20160918/instances", "ListInstances", list),
    Route::new("GET", "20160918/instances/{}", "GetInstance", get),
    Route::new("PUT", "20160918/instances/{}", "UpdateInstance", update),
    Route::new("POST", "20160918/instances/{}", "InstanceAction", act),
    Route::new("DELETE", "20160918/instances/{}", "TerminateInstance", terminate),
];

pub(super) fn target(instance: &Instance) -> Target<'_> {
    Target { compartment: &instance.compartment, variables: Vec::new() }
}

pub(super) fn availability_domain(context: &Context<'_>) -> String {
    format!("SIM:{}-AD-1", context.cloud.settings.region.to_ascii_uppercase())
}

fn instance_json(context: &Context<'_>, instance: &Instance) -> Value {
    json!({
        "id": instance.id, "displayName": instance.display_name, "compartmentId": instance.compartment,
        "lifecycleState": instance.state.name(), "availabilityDomain": availability_domain(context),
        "faultDomain": instance.fault_domain, "region": context.cloud.settings.region_key,
        "shape": instance.machine.shape,
        "shapeConfig": {"ocpus": instance.machine.cpus, "memoryInGBs": 4.0},
        "metadata": instance.machine.metadata, "extendedMetadata": {}, "freeformTags": instance.freeform_tags(),
        "definedTags": instance.defined_tags, "systemTags": {}, "launchMode": "PARAVIRTUALIZED",
        "imageId": crate::ocid::named("image", &context.cloud.settings.region_key, "machine"),
        "timeCreated": calendar::rfc3339(instance.created_unix_ms),
    })
}

fn list(context: &mut Context<'_>) -> Reply {
    let compartment = context.compartment()?;
    context.authorize(&["INSTANCE_READ"], &Target { compartment: &compartment, variables: Vec::new() })?;
    let query = |name| context.request.query(name);
    let mut instances: Vec<&Instance> = context
        .cloud
        .compute
        .iter()
        .filter(|instance| {
            instance.compartment == compartment
                && query("displayName").is_none_or(|name| name == instance.display_name)
                && query("lifecycleState").is_none_or(|state| state == instance.state.name())
        })
        .collect();
    instances.sort_by_key(|instance| instance.created_unix_ms);
    let instances = instances.into_iter().map(|instance| instance_json(context, instance)).collect();
    Ok(Answer::list(context, instances)?.into())
}

fn found<'a>(context: &'a Context<'_>, permissions: &[&str]) -> Result<&'a Instance, Refusal> {
    let instance = context.cloud.compute.get(context.parameter(0)).ok_or_else(Refusal::not_found)?;
    context.authorize(permissions, &target(instance))?;
    Ok(instance)
}

fn whole(context: &Context<'_>, instance: &Instance) -> Answer {
    Answer::json(&instance_json(context, instance)).with("etag", &*instance.etag)
}

fn get(context: &mut Context<'_>) -> Reply {
    let instance = found(context, &["INSTANCE_READ"])?;
    Ok(whole(context, instance).into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateInstance {
    display_name: Option<String>,
    freeform_tags: Option<BTreeMap<String, String>>,
}

fn update(context: &mut Context<'_>) -> Reply {
    let (id, etag, is_gone) = {
        let instance = found(context, &["INSTANCE_UPDATE"])?;
        (instance.id.clone(), instance.etag.clone(), instance.state.is_gone())
    };
    context.if_match(&etag)?;
    if is_gone {
        return Err(Refusal::incorrect_state("The instance is being terminated."));
    }
    let wanted: UpdateInstance = context.request.json()?;
    if wanted.freeform_tags.as_ref().is_some_and(|tags| tags.len() > 64) {
        return Err(Refusal::invalid("freeformTags: a resource has at most 64 tags."));
    }
    let visible = context.cloud_now() + context.cloud.settings.after(|delays| delays.imds_tags_seconds);
    let now = context.cloud_now();
    let instance = context.cloud.compute.get_mut(&id).ok_or_else(Refusal::not_found)?;
    if let Some(name) = wanted.display_name {
        instance.display_name = name;
    }
    if let Some(tags) = wanted.freeform_tags {
        instance.set_tags(tags, visible, now);
    }
    let instance = context.cloud.compute.get(&id).ok_or_else(Refusal::not_found)?;
    Ok(whole(context, instance).into())
}

fn act(context: &mut Context<'_>) -> Reply {
    let (id, etag) = {
        let instance = found(context, &["INSTANCE_POWER_ACTIONS"])?;
        (instance.id.clone(), instance.etag.clone())
    };
    context.if_match(&etag)?;
    let action = Action::parse(context.request.required("action")?)
        .ok_or_else(|| Refusal::invalid("action must be START, STOP, SOFTSTOP, RESET or SOFTRESET."))?;
    context.cloud.act(&id, action, context.now)?;
    let instance = context.cloud.compute.get(&id).ok_or_else(Refusal::not_found)?;
    Ok(whole(context, instance).into())
}

fn terminate(context: &mut Context<'_>) -> Reply {
    let (id, etag) = {
        let instance = found(context, &["INSTANCE_DELETE", "VNIC_DELETE", "SUBNET_DETACH"])?;
        (instance.id.clone(), instance.etag.clone())
    };
    context.if_match(&etag)?;
    context.cloud.terminate(&id, context.now)?;
    Ok(Answer::empty(204).into())
}
