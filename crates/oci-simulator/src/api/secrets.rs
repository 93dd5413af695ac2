//! Vault secrets, their management.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Context, Refusal, Reply, Route};
use crate::cloud::calendar;
use crate::cloud::secrets::{Content, MAX_CONTENT_BYTES, NewSecret, Secret, State, Version};
use crate::iam::Target;

pub(super) const ROUTES: &[Route] = &[
    Route::new("GET", "20180608/secrets", "ListSecrets", list),
    Route::new("POST", "20180608/secrets", "CreateSecret", create),
    Route::new("GET", "20180608/secrets/{}", "GetSecret", get),
    Route::new("PUT", "20180608/secrets/{}", "UpdateSecret", update),
    Route::new("GET", "20180608/secrets/{}/versions", "ListSecretVersions", list_versions),
    Route::new(
        "POST",
        "20180608/secrets/{}/actions/scheduleDeletion",
        "ScheduleSecretDeletion",
        schedule_deletion,
    ),
    Route::new("POST", "20180608/secrets/{}/actions/cancelDeletion", "CancelSecretDeletion", cancel_deletion),
    Route::new(
        "POST",
        "20180608/secrets/{}/version/{}/actions/scheduleDeletion",
        "ScheduleSecretVersionDeletion",
        schedule_version_deletion,
    ),
];

pub(super) fn target(secret: &Secret) -> Target<'_> {
    let variables = vec![
        ("target.secret.name", secret.name.clone()),
        ("target.secret.id", secret.id.clone()),
        ("target.vault.id", secret.vault.clone()),
    ];
    Target { compartment: &secret.compartment, variables }
}

fn summary(secret: &Secret) -> Value {
    let mut value = json!({
        "id": secret.id, "secretName": secret.name, "vaultId": secret.vault, "keyId": secret.key,
        "compartmentId": secret.compartment, "lifecycleState": secret.state.name(),
        "description": secret.description, "freeformTags": secret.freeform_tags, "definedTags": {},
        "timeCreated": calendar::rfc3339(secret.created_unix_ms), "isAutoGenerationEnabled": false,
    });
    if let State::PendingDeletion { at_unix_ms, .. } = secret.state {
        value["timeOfDeletion"] = json!(calendar::rfc3339(at_unix_ms));
    }
    value
}

fn whole(context: &Context<'_>, secret: &Secret) -> Answer {
    let mut value = summary(secret);
    value["currentVersionNumber"] = json!(secret.current(context.cloud_now()).map(|version| version.number));
    Answer::json(&value).with("etag", &*secret.etag)
}

fn list(context: &mut Context<'_>) -> Reply {
    let compartment = context.compartment()?;
    context.authorize(&["SECRET_INSPECT"], &Target { compartment: &compartment, variables: Vec::new() })?;
    let query = |name| context.request.query(name);
    let secrets = context.cloud.secrets.all.values().filter(|secret| {
        let fits = |name, value: &str| query(name).is_none_or(|wanted| wanted == value);
        secret.is_visible(context.cloud_now())
            && secret.compartment == compartment
            && fits("vaultId", &secret.vault)
            && fits("name", &secret.name)
            && fits("lifecycleState", secret.state.name())
    });
    let secrets = secrets.map(summary).collect();
    Ok(Answer::list(context, secrets)?.into())
}

/// The secret of the path, if the caller has that permission.
fn found<'a>(context: &'a Context<'_>, permissions: &[&str]) -> Result<&'a Secret, Refusal> {
    let secret = context.cloud.secrets.all.get(context.parameter(0));
    let secret = secret.filter(|secret| secret.state != State::Deleted).ok_or_else(Refusal::not_found)?;
    context.authorize(permissions, &target(secret))?;
    Ok(secret)
}

fn get(context: &mut Context<'_>) -> Reply {
    let secret = found(context, &["SECRET_READ"])?;
    Ok(whole(context, secret).into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretContent {
    content_type: String,
    content: String,
    name: Option<String>,
    stage: Option<String>,
}

impl SecretContent {
    fn checked(self) -> Result<Content, Refusal> {
        if self.content_type != "BASE64" {
            return Err(Refusal::invalid("contentType must be BASE64."));
        }
        if self.content.len() > MAX_CONTENT_BYTES || STANDARD.decode(&self.content).is_err() {
            return Err(Refusal::invalid("content must be base64 of at most 25,600 bytes."));
        }
        let is_current = match self.stage.as_deref() {
            None | Some("CURRENT") => true,
            Some("PENDING") => false,
            Some(_) => return Err(Refusal::invalid("stage must be CURRENT or PENDING.")),
        };
        Ok(Content { base64: self.content, name: self.name, is_current })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateSecret {
    compartment_id: String,
    secret_name: String,
    vault_id: String,
    key_id: Option<String>,
    description: Option<String>,
    #[serde(default)]
    freeform_tags: BTreeMap<String, String>,
    secret_content: Option<SecretContent>,
}

fn create(context: &mut Context<'_>) -> Reply {
    let wanted: CreateSecret = context.request.json()?;
    let variables = vec![
        ("target.secret.name", wanted.secret_name.clone()),
        ("target.vault.id", wanted.vault_id.clone()),
    ];
    context.authorize(&["SECRET_CREATE"], &Target { compartment: &wanted.compartment_id, variables })?;
    let vault = context.cloud.kms.vaults.get(&wanted.vault_id).ok_or_else(Refusal::not_found)?;
    let variables = vec![("target.vault.id", vault.id.clone())];
    context.authorize(&["VAULT_CREATE_SECRET"], &Target { compartment: &vault.compartment, variables })?;
    let key = wanted.key_id.ok_or_else(|| Refusal::new(400, "MissingParameter", "keyId is missing."))?;
    let key = context
        .cloud
        .kms
        .keys
        .get(&key)
        .filter(|key| key.vault == vault.id)
        .ok_or_else(Refusal::not_found)?;
    let variables = vec![("target.key.id", key.id.clone()), ("target.vault.id", key.vault.clone())];
    context
        .authorize(&["KEY_ENCRYPT", "KEY_DECRYPT"], &Target { compartment: &key.compartment, variables })?;
    if let Some(answer) = context.cloud.retries.again("CreateSecret", context.request) {
        return Ok(answer.into());
    }
    if key.state(context.cloud_now()) != "ENABLED" {
        return Err(Refusal::incorrect_state("The key is not ENABLED."));
    }
    let is_good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if wanted.secret_name.is_empty()
        || wanted.secret_name.len() > 255
        || !wanted.secret_name.chars().all(is_good)
    {
        return Err(Refusal::invalid(
            "secretName has 1 to 255 letters, digits, underscores, dots and hyphens.",
        ));
    }
    let content =
        wanted.secret_content.ok_or_else(|| Refusal::invalid("secretContent is missing."))?.checked()?;
    let new = NewSecret {
        name: wanted.secret_name,
        vault: wanted.vault_id,
        key: key.id.clone(),
        compartment: wanted.compartment_id,
        description: wanted.description,
        freeform_tags: wanted.freeform_tags,
        content,
    };
    let (now, pace) = (context.now, context.cloud.settings.secret_pace());
    let region_key = context.cloud.settings.region_key.clone();
    let id = context.cloud.secrets.create(new, &region_key, now, pace)?;
    let answer = whole(context, &context.cloud.secrets.all[&id]);
    context.cloud.retries.remember("CreateSecret", context.request, &answer);
    Ok(answer.into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateSecret {
    description: Option<String>,
    freeform_tags: Option<BTreeMap<String, String>>,
    secret_content: Option<SecretContent>,
    current_version_number: Option<u64>,
}

fn update(context: &mut Context<'_>) -> Reply {
    let (id, etag) = {
        let secret = found(context, &["SECRET_UPDATE"])?;
        (secret.id.clone(), secret.etag.clone())
    };
    context.if_match(&etag)?;
    let wanted: UpdateSecret = context.request.json()?;
    let content = wanted.secret_content.map(SecretContent::checked).transpose()?;
    let (now, pace) = (context.now, context.cloud.settings.secret_pace());
    let secret = context.cloud.secrets.all.get_mut(&id).ok_or_else(Refusal::not_found)?;
    match (content, wanted.current_version_number) {
        (Some(_), Some(_)) => {
            return Err(Refusal::invalid("secretContent and currentVersionNumber cannot be given together."));
        }
        (Some(content), None) => secret.update(content, now, pace)?,
        (None, Some(number)) => secret.promote(number, now, pace)?,
        (None, None) => {}
    }
    if wanted.description.is_some() {
        secret.description = wanted.description;
    }
    if let Some(tags) = wanted.freeform_tags {
        secret.freeform_tags = tags;
    }
    Ok(whole(context, &context.cloud.secrets.all[&id]).into())
}

fn version_json(secret: &Secret, version: &Version, now: std::time::Duration) -> Value {
    let mut value = json!({
        "secretId": secret.id, "versionNumber": version.number, "name": version.name, "contentType": "BASE64",
        "stages": secret.stages(version, now), "timeCreated": calendar::rfc3339(version.created_unix_ms),
    });
    if let Some(at) = version.deletion_unix_ms {
        value["timeOfDeletion"] = json!(calendar::rfc3339(at));
    }
    value
}

fn list_versions(context: &mut Context<'_>) -> Reply {
    let secret = found(context, &["SECRET_VERSION_INSPECT"])?;
    let now = context.cloud_now();
    let mut versions: Vec<Value> =
        secret.versions(now).map(|version| version_json(secret, version, now)).collect();
    // The newest first, as the service does.
    versions.reverse();
    Ok(Answer::list(context, versions)?.into())
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct ScheduleDeletion {
    time_of_deletion: Option<String>,
}

fn schedule_deletion(context: &mut Context<'_>) -> Reply {
    let (id, etag) = {
        let secret = found(context, &["SECRET_DELETE"])?;
        (secret.id.clone(), secret.etag.clone())
    };
    context.if_match(&etag)?;
    let wanted: ScheduleDeletion = context.request.json()?;
    let at = match wanted.time_of_deletion {
        None => None,
        Some(text) => Some(
            calendar::parse_rfc3339(&text)
                .ok_or_else(|| Refusal::invalid("timeOfDeletion is no RFC 3339 date."))?,
        ),
    };
    let now = context.now;
    let secret = context.cloud.secrets.all.get_mut(&id).ok_or_else(Refusal::not_found)?;
    secret.schedule_deletion(at, now)?;
    Ok(Answer::empty(200).with("etag", &*secret.etag).into())
}

fn cancel_deletion(context: &mut Context<'_>) -> Reply {
    let (id, etag) = {
        let secret = found(context, &["SECRET_DELETE"])?;
        (secret.id.clone(), secret.etag.clone())
    };
    context.if_match(&etag)?;
    let (now, pace) = (context.now, context.cloud.settings.secret_pace());
    let secret = context.cloud.secrets.all.get_mut(&id).ok_or_else(Refusal::not_found)?;
    secret.cancel_deletion(now, pace)?;
    Ok(Answer::empty(200).with("etag", &*secret.etag).into())
}

fn schedule_version_deletion(context: &mut Context<'_>) -> Reply {
    let id = found(context, &["SECRET_VERSION_DELETE", "SECRET_UPDATE"])?.id.clone();
    let number = context.parameter(1).parse().map_err(|_| Refusal::not_found())?;
    let now = context.now;
    let secret = context.cloud.secrets.all.get_mut(&id).ok_or_else(Refusal::not_found)?;
    secret.schedule_version_deletion(number, now)?;
    Ok(Answer::empty(200).with("etag", &*secret.etag).into())
}
