//! Networking: virtual network cards, public addresses, network load balancers.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Context, Refusal, Reply, Route};
use crate::cloud::balancers::Balancer;
use crate::cloud::calendar;
use crate::cloud::compute::Instance;
use crate::iam::Target;
use crate::ocid;

pub(super) const ROUTES: &[Route] = &[
    Route::new("GET", "20160918/vnicAttachments", "ListVnicAttachments", list_attachments),
    Route::new("GET", "20160918/vnics/{}", "GetVnic", get_vnic),
    Route::new("GET", "20160918/publicIps/{}", "GetPublicIp", get_public_ip),
    Route::new("POST", "20160918/publicIps/actions/getByIpAddress", "GetPublicIpByIpAddress", find_public_ip),
    Route::new("GET", "20200501/networkLoadBalancers", "ListNetworkLoadBalancers", list_balancers),
    Route::new("GET", "20200501/networkLoadBalancers/{}", "GetNetworkLoadBalancer", get_balancer),
    Route::new("GET", "20200501/networkLoadBalancers/{}/health", "GetNetworkLoadBalancerHealth", get_health),
];

fn list_attachments(context: &mut Context<'_>) -> Reply {
    let compartment = context.compartment()?;
    let permissions = ["VNIC_ATTACHMENT_READ", "INSTANCE_INSPECT"];
    context.authorize(&permissions, &Target { compartment: &compartment, variables: Vec::new() })?;
    let query = |name| context.request.query(name);
    let instances = context.cloud.compute.iter().filter(|instance| {
        instance.compartment == compartment
            && !instance.state.is_gone()
            && query("instanceId").is_none_or(|id| id == instance.id)
            && query("vnicId").is_none_or(|id| id == instance.vnic)
    });
    let region_key = &context.cloud.settings.region_key;
    let attachments = instances.map(|instance| {
        json!({
            "id": ocid::named("vnicattachment", region_key, &instance.id), "instanceId": instance.id,
            "compartmentId": instance.compartment, "lifecycleState": "ATTACHED", "vnicId": instance.vnic,
            "availabilityDomain": super::compute::availability_domain(context), "nicIndex": 0,
            "subnetId": ocid::named("subnet", region_key, "primary"),
            "timeCreated": calendar::rfc3339(instance.created_unix_ms),
        })
    });
    Ok(Answer::list(context, attachments.collect())?.into())
}

fn vnic_json(context: &Context<'_>, instance: &Instance) -> Value {
    json!({
        "id": instance.vnic, "compartmentId": instance.compartment, "lifecycleState": "AVAILABLE",
        "availabilityDomain": super::compute::availability_domain(context), "isPrimary": true,
        "displayName": instance.display_name, "hostnameLabel": instance.display_name,
        "privateIp": instance.private_ip, "publicIp": instance.public_ip, "macAddress": "02:00:17:00:00:01",
        "subnetId": ocid::named("subnet", &context.cloud.settings.region_key, "primary"),
        "timeCreated": calendar::rfc3339(instance.created_unix_ms), "freeformTags": {}, "definedTags": {},
    })
}

fn get_vnic(context: &mut Context<'_>) -> Reply {
    let mut instances = context.cloud.compute.iter().filter(|instance| !instance.state.is_gone());
    let instance = instances.find(|instance| instance.vnic == context.parameter(0));
    let instance = instance.ok_or_else(Refusal::not_found)?;
    context.authorize(&["VNIC_READ"], &super::compute::target(instance))?;
    Ok(Answer::json(&vnic_json(context, instance)).with("etag", &*instance.etag).into())
}

/// The address of a load balancer that was reserved.
fn public_ip(context: &Context<'_>, balancer: &Balancer) -> Reply {
    let target = Target { compartment: &balancer.compartment, variables: Vec::new() };
    context.authorize(&["PUBLIC_IP_READ"], &target)?;
    let body = json!({
        "id": balancer.config.reserved_ip, "compartmentId": balancer.compartment, "lifetime": "RESERVED",
        "ipAddress": balancer.config.address, "lifecycleState": "ASSIGNED", "scope": "REGION",
        "assignedEntityId": balancer.id, "displayName": balancer.config.display_name,
        "timeCreated": calendar::rfc3339(balancer.created_unix_ms),
    });
    Ok(Answer::json(&body).with("etag", ocid::named("etag", "", &balancer.id)).into())
}

fn get_public_ip(context: &mut Context<'_>) -> Reply {
    let mut reserved = context.cloud.balancers.all.values();
    let balancer = reserved.find(|balancer| balancer.config.reserved_ip == context.parameter(0));
    public_ip(context, balancer.ok_or_else(Refusal::not_found)?)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ByIpAddress {
    ip_address: std::net::IpAddr,
}

fn find_public_ip(context: &mut Context<'_>) -> Reply {
    let wanted: ByIpAddress = context.request.json()?;
    let mut reserved = context.cloud.balancers.all.values();
    let balancer = reserved.find(|balancer| {
        balancer.config.address == wanted.ip_address && !balancer.config.reserved_ip.is_empty()
    });
    public_ip(context, balancer.ok_or_else(Refusal::not_found)?)
}

fn balancer_json(context: &Context<'_>, balancer: &Balancer) -> Value {
    let config = &balancer.config;
    let is_active = balancer.is_active(context.cloud_now());
    let mut address = json!({"ipAddress": config.address, "isPublic": true, "ipVersion": "IPV4"});
    if !config.reserved_ip.is_empty() {
        address["reservedIp"] = json!({"id": config.reserved_ip});
    }
    let backends: Vec<Value> = config
        .backends
        .iter()
        .filter_map(|name| context.cloud.compute.find(name))
        .map(|instance| {
            json!({
                "name": instance.display_name, "targetId": instance.id, "ipAddress": instance.private_ip, "port": 0,
                "weight": 1, "isDrain": false, "isBackup": false, "isOffline": false,
            })
        })
        .collect();
    let check = &config.health_check;
    let health = json!({
        "protocol": check.protocol, "port": check.port, "intervalInMillis": check.interval_millis,
        "timeoutInMillis": check.timeout_millis, "retries": check.retries, "urlPath": check.url_path,
    });
    let mut listeners = serde_json::Map::new();
    let mut sets = serde_json::Map::new();
    for listener in &config.listeners {
        let entry = json!({
            "name": listener.name, "defaultBackendSetName": listener.name, "port": listener.port, "protocol": "TCP",
            "isPpv2Enabled": listener.is_ppv2_enabled, "ipVersion": "IPV4",
        });
        listeners.insert(listener.name.clone(), entry);
        let set = json!({
            "name": listener.name, "policy": "FIVE_TUPLE", "isPreserveSource": false, "healthChecker": health,
            "backends": backends, "ipVersion": "IPV4",
        });
        sets.insert(listener.name.clone(), set);
    }
    json!({
        "id": balancer.id, "compartmentId": balancer.compartment, "displayName": config.display_name,
        "lifecycleState": if is_active { "ACTIVE" } else { "CREATING" }, "nlbIpVersion": "IPV4",
        "timeCreated": calendar::rfc3339(balancer.created_unix_ms),
        "ipAddresses": if is_active { vec![address] } else { vec![] }, "isPrivate": false,
        "isPreserveSourceDestination": false,
        "subnetId": ocid::named("subnet", &context.cloud.settings.region_key, "primary"),
        "listeners": listeners, "backendSets": sets, "freeformTags": {}, "definedTags": {},
    })
}

fn balancer_target(balancer: &Balancer) -> Target<'_> {
    Target { compartment: &balancer.compartment, variables: Vec::new() }
}

fn list_balancers(context: &mut Context<'_>) -> Reply {
    let compartment = context.compartment()?;
    let target = Target { compartment: &compartment, variables: Vec::new() };
    context.authorize(&["NETWORK_LOAD_BALANCER_INSPECT"], &target)?;
    let name = context.request.query("displayName");
    let balancers = context.cloud.balancers.all.values().filter(|balancer| {
        balancer.compartment == compartment && name.is_none_or(|name| name == balancer.config.display_name)
    });
    let balancers = balancers.map(|balancer| balancer_json(context, balancer)).collect();
    Ok(Answer::items(context, balancers)?.into())
}

fn found<'a>(context: &'a Context<'_>) -> Result<&'a Balancer, Refusal> {
    let balancer = context.cloud.balancers.all.get(context.parameter(0)).ok_or_else(Refusal::not_found)?;
    context.authorize(&["NETWORK_LOAD_BALANCER_READ"], &balancer_target(balancer))?;
    Ok(balancer)
}

fn get_balancer(context: &mut Context<'_>) -> Reply {
    let balancer = found(context)?;
    let etag = ocid::named("etag", "", &balancer.id);
    Ok(Answer::json(&balancer_json(context, balancer)).with("etag", etag).into())
}

fn get_health(context: &mut Context<'_>) -> Reply {
    let balancer = found(context)?;
    let status = match balancer.healthy.len() {
        0 => "CRITICAL",
        well if well == balancer.config.backends.len() => "OK",
        _ => "WARNING",
    };
    let sets: Vec<&str> = balancer.config.listeners.iter().map(|listener| listener.name.as_str()).collect();
    let (mut warning, mut critical): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    match status {
        "CRITICAL" => critical = sets.clone(),
        "WARNING" => warning = sets.clone(),
        _ => {}
    }
    let body = json!({
        "status": status, "warningStateBackendSetNames": warning, "criticalStateBackendSetNames": critical,
        "unknownStateBackendSetNames": [], "totalBackendSetCount": sets.len(),
    });
    Ok(Answer::json(&body).into())
}
