//! Secret retrieval: what a secret holds.

use serde_json::json;

use super::{Answer, Context, Refusal, Reply, Route};
use crate::cloud::calendar;
use crate::cloud::secrets::Secret;

pub(super) const ROUTES: &[Route] = &[
    Route::new("POST", "20190301/secretbundles/actions/getByName", "GetSecretBundleByName", get_by_name),
    Route::new("GET", "20190301/secretbundles/{}", "GetSecretBundle", get),
];

fn get(context: &mut Context<'_>) -> Reply {
    let secret = context.cloud.secrets.all.get(context.parameter(0));
    bundle(context, secret.ok_or_else(Refusal::not_found)?)
}

fn get_by_name(context: &mut Context<'_>) -> Reply {
    let (vault, name) = (context.request.required("vaultId")?, context.request.required("secretName")?);
    let secret = context.cloud.secrets.by_name(vault, name);
    bundle(context, secret.ok_or_else(Refusal::not_found)?)
}

fn bundle(context: &Context<'_>, secret: &Secret) -> Reply {
    context.authorize(&["SECRET_BUNDLE_READ"], &super::secrets::target(secret))?;
    let now = context.cloud_now();
    if !secret.is_readable(now) {
        return Err(Refusal::not_found());
    }
    let query = |name| context.request.query(name);
    let mut versions = secret.versions(now);
    let version = match (query("versionNumber"), query("secretVersionName"), query("stage")) {
        (Some(number), _, _) => {
            let number: u64 = number.parse().map_err(|_| Refusal::invalid("versionNumber is no number."))?;
            versions.find(|version| version.number == number)
        }
        (None, Some(name), _) => versions.find(|version| version.name.as_deref() == Some(name)),
        (None, None, None | Some("CURRENT")) => secret.current(now),
        (None, None, Some(stage)) => {
            versions.filter(|version| secret.stages(version, now).contains(&stage)).last()
        }
    };
    let version =
        version.filter(|version| version.deletion_unix_ms.is_none()).ok_or_else(Refusal::not_found)?;
    let body = json!({
        "secretId": secret.id, "versionNumber": version.number, "versionName": version.name,
        "stages": secret.stages(version, now), "timeCreated": calendar::rfc3339(version.created_unix_ms),
        "secretBundleContent": {"contentType": "BASE64", "content": version.content()},
    });
    Ok(Answer::json(&body).with("etag", &*secret.etag).into())
}
