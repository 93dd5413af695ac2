//! Compute Management: instance pools.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Context, Refusal, Reply, Route};
use crate::cloud::calendar;
use crate::cloud::pools::{MAX_SIZE, Pool};
use crate::iam::Target;
use crate::ocid;

pub(super) const ROUTES: &[Route] = &[
    Route::new("GET", "20160918/instancePools", "ListInstancePools", list),
    Route::new("GET", "20160918/instancePools/{}", "GetInstancePool", get),
    Route::new("PUT", "20160918/instancePools/{}", "UpdateInstancePool", update),
    Route::new("GET", "20160918/instancePools/{}/instances", "ListInstancePoolInstances", list_instances),
    Route::new(
        "POST",
        "20160918/instancePools/{}/actions/detachInstance",
        "DetachInstancePoolInstance",
        detach,
    ),
];

fn pool_json(context: &Context<'_>, pool: &Pool) -> Value {
    let placement = json!({
        "availabilityDomain": super::compute::availability_domain(context), "faultDomains": [],
        "primarySubnetId": ocid::named("subnet", &context.cloud.settings.region_key, "primary"),
    });
    json!({
        "id": pool.id, "displayName": pool.display_name, "compartmentId": pool.compartment,
        "instanceConfigurationId": pool.configuration, "lifecycleState": pool.state.name(), "size": pool.size,
        "placementConfigurations": [placement], "loadBalancers": [], "freeformTags": pool.freeform_tags,
        "definedTags": {}, "timeCreated": calendar::rfc3339(pool.created_unix_ms),
    })
}

fn list(context: &mut Context<'_>) -> Reply {
    let compartment = context.compartment()?;
    context.authorize(
        &["INSTANCE_POOL_INSPECT"],
        &Target { compartment: &compartment, variables: Vec::new() },
    )?;
    let query = |name| context.request.query(name);
    let pools = context.cloud.pools.all.values().filter(|pool| {
        pool.compartment == compartment
            && query("displayName").is_none_or(|name| name == pool.display_name)
            && query("lifecycleState").is_none_or(|state| state == pool.state.name())
    });
    let pools = pools.map(|pool| pool_json(context, pool)).collect();
    Ok(Answer::list(context, pools)?.into())
}

fn found<'a>(context: &'a Context<'_>, permission: &str) -> Result<&'a Pool, Refusal> {
    let pool = context.cloud.pools.all.get(context.parameter(0)).ok_or_else(Refusal::not_found)?;
    context.authorize(&[permission], &Target { compartment: &pool.compartment, variables: Vec::new() })?;
    Ok(pool)
}

fn whole(context: &Context<'_>, pool: &Pool) -> Answer {
    Answer::json(&pool_json(context, pool)).with("etag", &*pool.etag)
}

fn get(context: &mut Context<'_>) -> Reply {
    let pool = found(context, "INSTANCE_POOL_READ")?;
    Ok(whole(context, pool).into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdatePool {
    display_name: Option<String>,
    size: Option<usize>,
}

fn update(context: &mut Context<'_>) -> Reply {
    let (id, etag) = {
        let pool = found(context, "INSTANCE_POOL_UPDATE")?;
        (pool.id.clone(), pool.etag.clone())
    };
    context.if_match(&etag)?;
    let wanted: UpdatePool = context.request.json()?;
    let until = context.cloud_now() + context.cloud.settings.after(|delays| delays.pool_seconds);
    let pool = context.cloud.pools.all.get_mut(&id).ok_or_else(Refusal::not_found)?;
    if let Some(size) = wanted.size {
        if size > MAX_SIZE {
            return Err(Refusal::new(
                400,
                "LimitExceeded",
                format!("size: at most {MAX_SIZE} instances here."),
            ));
        }
        pool.must_be_running()?;
        pool.resize(size, until);
    }
    if let Some(name) = wanted.display_name {
        pool.display_name = name;
    }
    context.cloud.tick(context.now);
    let pool = context.cloud.pools.all.get(&id).ok_or_else(Refusal::not_found)?;
    Ok(whole(context, pool).into())
}

fn list_instances(context: &mut Context<'_>) -> Reply {
    context.compartment()?;
    let pool = found(context, "INSTANCE_POOL_READ")?;
    let members = pool.members.iter().filter_map(|member| context.cloud.compute.get(member));
    let members = members.map(|instance| {
        // Here, unlike everywhere else, the state is a word with a capital.
        let state = instance.state.name();
        let state = format!("{}{}", &state[..1], state[1..].to_ascii_lowercase());
        json!({
            "id": instance.id, "instancePoolId": pool.id, "compartmentId": instance.compartment,
            "availabilityDomain": super::compute::availability_domain(context), "displayName": instance.display_name,
            "faultDomain": instance.fault_domain, "instanceConfigurationId": pool.configuration,
            "region": context.cloud.settings.region_key, "shape": instance.machine.shape, "state": state,
            "timeCreated": calendar::rfc3339(instance.created_unix_ms), "loadBalancerBackends": [],
        })
    });
    Ok(Answer::list(context, members.collect())?.into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detach {
    instance_id: String,
    is_decrement_size: Option<bool>,
    is_auto_terminate: Option<bool>,
}

fn detach(context: &mut Context<'_>) -> Reply {
    let (id, etag) = {
        let pool = found(context, "INSTANCE_POOL_INSTANCE_DETACH")?;
        (pool.id.clone(), pool.etag.clone())
    };
    context.if_match(&etag)?;
    let wanted: Detach = context.request.json()?;
    let is_decrement = wanted.is_decrement_size.unwrap_or(true);
    let is_terminate = wanted.is_auto_terminate.unwrap_or(false);
    context.cloud.detach(&id, &wanted.instance_id, is_decrement, is_terminate, context.now)?;
    let region_key = context.cloud.settings.region_key.clone();
    Ok(Answer::empty(202)
        .with("opc-work-request-id", ocid::fresh("coreservicesworkrequest", &region_key))
        .into())
}
