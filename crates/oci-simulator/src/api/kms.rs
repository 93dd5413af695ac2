//! Key Management: vaults, and keys at a vault's management endpoint.
//!
//! `GetVault` tells the endpoint, `<base>/management/<vault>`. Keys are answered there, and at the base itself while
//! the cloud has one vault. Before the endpoint of a new vault is up, connections end without an answer.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Context, Outcome, Refusal, Reply, Route};
use crate::cloud::calendar;
use crate::cloud::kms::{Key, MAX_KEYS, NewKey, Vault};
use crate::iam::Target;
use crate::ocid;

pub(super) const ROUTES: &[Route] = &[
    Route::new("GET", "20180608/vaults", "ListVaults", list_vaults),
    Route::new("GET", "20180608/vaults/{}", "GetVault", get_vault),
    Route::new("GET", "20180608/keys", "ListKeys", list_keys),
    Route::new("POST", "20180608/keys", "CreateKey", create_key),
    Route::new("GET", "20180608/keys/{}", "GetKey", get_key),
];

fn vault_json(context: &Context<'_>, vault: &Vault) -> Value {
    let base = &context.cloud.settings.base_url;
    json!({
        "id": vault.id, "compartmentId": vault.compartment, "displayName": vault.display_name,
        "lifecycleState": "ACTIVE", "vaultType": "DEFAULT", "timeCreated": calendar::rfc3339(vault.created_unix_ms),
        "managementEndpoint": format!("{base}/management/{}", vault.short()),
        "cryptoEndpoint": format!("{base}/crypto/{}", vault.short()),
        "wrappingkeyId": ocid::named("key", "fra", &vault.id), "freeformTags": {}, "definedTags": {},
    })
}

fn vault_target(vault: &Vault) -> Target<'_> {
    Target { compartment: &vault.compartment, variables: vec![("target.vault.id", vault.id.clone())] }
}

fn list_vaults(context: &mut Context<'_>) -> Reply {
    let compartment = context.compartment()?;
    context.authorize(&["VAULT_INSPECT"], &Target { compartment: &compartment, variables: Vec::new() })?;
    let vaults = context.cloud.kms.vaults.values().filter(|vault| vault.compartment == compartment);
    let vaults = vaults.map(|vault| vault_json(context, vault)).collect();
    Ok(Answer::list(context, vaults)?.into())
}

fn get_vault(context: &mut Context<'_>) -> Reply {
    let vault = context.cloud.kms.vaults.get(context.parameter(0)).ok_or_else(Refusal::not_found)?;
    context.authorize(&["VAULT_READ"], &vault_target(vault))?;
    Ok(Answer::json(&vault_json(context, vault)).with("etag", ocid::named("etag", "", &vault.id)).into())
}

/// The vault whose endpoint this is, if it answers yet.
fn managed<'a>(context: &'a Context<'_>) -> Result<Option<&'a Vault>, Refusal> {
    let vaults = &context.cloud.kms.vaults;
    let vault = match &context.matched.vault {
        Some(short) => vaults.values().find(|vault| vault.short() == short),
        None if vaults.len() == 1 => vaults.values().next(),
        None => {
            let text = "Keys are answered at the managementEndpoint that GetVault tells.";
            return Err(Refusal::new(404, "NotFound", text));
        }
    };
    Ok(vault.filter(|vault| vault.manageable_from <= context.cloud_now()))
}

fn key_json(context: &Context<'_>, key: &Key) -> Value {
    json!({
        "id": key.id, "vaultId": key.vault, "compartmentId": key.compartment, "displayName": key.display_name,
        "lifecycleState": key.state(context.cloud_now()), "currentKeyVersion": key.version,
        "keyShape": {"algorithm": key.algorithm, "length": key.length}, "algorithm": key.algorithm,
        "protectionMode": key.protection_mode, "timeCreated": calendar::rfc3339(key.created_unix_ms),
        "freeformTags": {}, "definedTags": {},
    })
}

fn list_keys(context: &mut Context<'_>) -> Reply {
    let Some(vault) = managed(context)? else { return Ok(Outcome::Silence) };
    let compartment = context.compartment()?;
    context.authorize(&["KEY_INSPECT"], &Target { compartment: &compartment, variables: Vec::new() })?;
    let keys = context.cloud.kms.keys.values();
    let keys = keys.filter(|key| key.vault == vault.id && key.compartment == compartment);
    let keys = keys.map(|key| key_json(context, key)).collect();
    Ok(Answer::list(context, keys)?.into())
}

fn get_key(context: &mut Context<'_>) -> Reply {
    let Some(vault) = managed(context)? else { return Ok(Outcome::Silence) };
    let key = context.cloud.kms.keys.get(context.parameter(0));
    let key = key.filter(|key| key.vault == vault.id).ok_or_else(Refusal::not_found)?;
    let variables = vec![("target.key.id", key.id.clone()), ("target.vault.id", key.vault.clone())];
    context.authorize(&["KEY_READ"], &Target { compartment: &key.compartment, variables })?;
    Ok(Answer::json(&key_json(context, key)).with("etag", ocid::named("etag", "", &key.id)).into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateKey {
    compartment_id: String,
    display_name: String,
    key_shape: KeyShape,
    protection_mode: Option<String>,
}

#[derive(Deserialize)]
struct KeyShape {
    algorithm: String,
    length: u64,
}

fn create_key(context: &mut Context<'_>) -> Reply {
    let Some(vault) = managed(context)? else { return Ok(Outcome::Silence) };
    let wanted: CreateKey = context.request.json()?;
    let target = Target { compartment: &wanted.compartment_id, variables: Vec::new() };
    context.authorize(&["KEY_CREATE"], &target)?;
    context.authorize(&["VAULT_CREATE_KEY"], &vault_target(vault))?;
    if let Some(answer) = context.cloud.retries.again("CreateKey", context.request) {
        return Ok(answer.into());
    }
    let shape = &wanted.key_shape;
    let is_possible = match shape.algorithm.as_str() {
        "AES" => matches!(shape.length, 16 | 24 | 32),
        "RSA" => matches!(shape.length, 256 | 384 | 512),
        "ECDSA" => matches!(shape.length, 32 | 48 | 66),
        _ => false,
    };
    if !is_possible {
        return Err(Refusal::invalid("keyShape: there is no such algorithm and length."));
    }
    if context.cloud.kms.keys.values().filter(|key| key.vault == vault.id).count() >= MAX_KEYS {
        return Err(Refusal::new(400, "LimitExceeded", "The simulated vault is full of keys."));
    }
    let new = NewKey {
        id: ocid::fresh("key", &context.cloud.settings.region_key),
        vault: vault.id.clone(),
        compartment: wanted.compartment_id,
        display_name: wanted.display_name,
        algorithm: wanted.key_shape.algorithm,
        length: wanted.key_shape.length,
        protection_mode: wanted.protection_mode.unwrap_or_else(|| "HSM".into()),
    };
    let enabled_from = context.cloud_now() + context.cloud.settings.after(|delays| delays.key_seconds);
    let region_key = context.cloud.settings.region_key.clone();
    let id = new.id.clone();
    context.cloud.kms.create_key(new, &region_key, context.now.unix_ms, enabled_from);
    let key = &context.cloud.kms.keys[&id];
    let answer = Answer::json(&key_json(context, key)).with("etag", ocid::named("etag", "", &key.id));
    context.cloud.retries.remember("CreateKey", context.request, &answer);
    Ok(answer.into())
}
