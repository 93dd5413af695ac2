//! Instance metadata, version 2. Each instance has its own address: `/imds/<secret>/opc/v2/…`.

use serde_json::{Value, json};

use super::{Answer, Request};
use crate::auth::authority::Identity;
use crate::cloud::compute::Instance;
use crate::cloud::{Cloud, Now};

/// The answer, and whose it is.
pub(crate) fn answer(cloud: &mut Cloud, request: &Request, now: Now) -> (Answer, String) {
    let not_found = || Answer::text(404, "404 Not Found");
    let [_, token, opc, version, path @ ..] = &request.segments[..] else {
        return (not_found(), String::new());
    };
    let Some(instance) = cloud.compute.by_imds_token(token) else { return (not_found(), String::new()) };
    let id = instance.id.clone();
    if opc != "opc" || version != "v2" || request.method != http::Method::GET {
        return (not_found(), id);
    }
    // What went through a proxy is refused, and what does not say that it means it.
    let is_forwarded = ["forwarded", "x-forwarded-for", "x-forwarded-host"];
    let is_forwarded = is_forwarded.iter().any(|name| request.header(name).is_some());
    if is_forwarded || request.header("authorization") != Some("Bearer Oracle") {
        return (
            Answer::text(401, "401 Unauthorized: IMDSv2 wants the header Authorization: Bearer Oracle"),
            id,
        );
    }
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let answer = match path[..] {
        ["identity", file] => identity(cloud, &id, file, now),
        ["instance", ref rest @ ..] => {
            cloud.compute.get(&id).and_then(|instance| at(&document(cloud, instance, now), rest))
        }
        ["vnics", ref rest @ ..] => cloud.compute.get(&id).and_then(|instance| at(&vnics(instance), rest)),
        _ => None,
    };
    (answer.unwrap_or_else(not_found), id)
}

fn identity(cloud: &mut Cloud, id: &str, file: &str, now: Now) -> Option<Answer> {
    let seconds = cloud.settings.tokens.certificate_seconds;
    let unix = now.unix();
    let instance = cloud.compute.get_mut(id)?;
    // It is renewed at half of its life.
    if instance.leaf.as_ref().is_none_or(|leaf| unix >= leaf.expires - seconds / 2) {
        let tenancy = &cloud.settings.tenancy.id;
        let who = Identity { instance: id, compartment: &instance.compartment, tenancy };
        instance.leaf = cloud.authority.leaf(&who, unix, seconds).ok();
    }
    let leaf = instance.leaf.as_ref()?;
    let text = match file {
        "cert.pem" => leaf.certificate.clone(),
        "key.pem" => leaf.key.clone(),
        "intermediate.pem" => cloud.authority.certificate_pem(),
        _ => return None,
    };
    Some(Answer::text(200, text))
}

fn document(cloud: &Cloud, instance: &Instance, now: Now) -> Value {
    let settings = &cloud.settings;
    let mut document = json!({
        "availabilityDomain": format!("SIM:{}-AD-1", settings.region.to_ascii_uppercase()), "ociAdName": "fra-ad-1",
        "faultDomain": instance.fault_domain, "compartmentId": instance.compartment,
        "displayName": instance.display_name, "hostname": instance.display_name, "id": instance.id,
        "image": crate::ocid::named("image", &settings.region_key, "machine"), "metadata": instance.machine.metadata,
        "region": settings.region, "canonicalRegionName": settings.region,
        "regionInfo": {
            "realmDomainComponent": "oraclecloud.com", "realmKey": "oc1", "regionIdentifier": settings.region,
            "regionKey": settings.region_key.to_ascii_uppercase(),
        },
        "shape": instance.machine.shape,
        "shapeConfig": {"ocpus": instance.machine.cpus, "memoryInGBs": 4.0},
        "state": imds_state(instance), "tenantId": settings.tenancy.id, "timeCreated": instance.created_unix_ms,
        "freeformTags": instance.imds_tags(now.cloud), "definedTags": instance.defined_tags,
        "agentConfig": {"monitoringDisabled": false, "managementDisabled": false, "allPluginsDisabled": false},
    });
    if let Some(pool) = &instance.pool {
        document["instancePoolId"] = json!(pool);
    }
    document
}

fn imds_state(instance: &Instance) -> String {
    let state = instance.state.name();
    format!("{}{}", &state[..1], state[1..].to_ascii_lowercase())
}

fn vnics(instance: &Instance) -> Value {
    let [a, b, c, _] = instance.private_ip.octets();
    json!([{
        "vnicId": instance.vnic, "privateIp": instance.private_ip, "vlanTag": 1, "macAddr": "02:00:17:00:00:01",
        "virtualRouterIp": format!("{a}.{b}.{c}.1"), "subnetCidrBlock": format!("{a}.{b}.{c}.0/24"),
    }])
}

/// What is at a path of a document: objects as JSON, plain values as text.
fn at(document: &Value, path: &[&str]) -> Option<Answer> {
    let mut value = document;
    for part in path {
        value = match value {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
            Value::Object(fields) => fields.get(*part)?,
            _ => return None,
        };
    }
    Some(match value {
        Value::String(text) => Answer::text(200, text.clone()),
        Value::Number(_) | Value::Bool(_) => Answer::text(200, value.to_string()),
        _ => Answer::json(value),
    })
}
