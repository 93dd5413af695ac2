//! Objects and secrets, as an operator sees and edits them in the console.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answered, done, unknown};
use crate::api::{Answer, Refusal, Request};
use crate::cloud::secrets::{Content, Secret, State};
use crate::cloud::storage::{Condition, Put};
use crate::runtime::Shared;

pub(super) fn object(shared: &Arc<Shared>, request: &Request, bucket: &str, name: &str) -> Answered {
    let (mut cloud, now) = shared.cloud();
    let bucket = cloud.storage.buckets.get_mut(bucket).ok_or_else(Refusal::not_found)?;
    match request.method {
        Method::GET => {
            let object = bucket.objects.get(name).ok_or_else(Refusal::not_found)?;
            Ok(Answer::bytes(&object.content_type, object.body.clone()).with("etag", &*object.etag))
        }
        Method::PUT => {
            let put = Put {
                body: request.body.clone(),
                content_type: request.header("content-type").unwrap_or("application/octet-stream").into(),
                md5: String::new(),
                metadata: Vec::new(),
            };
            bucket.put(name, put, Condition::default(), now.unix_ms)?;
            done()
        }
        Method::DELETE => {
            bucket.objects.remove(name).ok_or_else(Refusal::not_found)?;
            done()
        }
        _ => Err(unknown(request)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetSecret {
    value: String,
}

pub(super) fn secrets(shared: &Arc<Shared>, request: &Request, path: &[&str]) -> Answered {
    let (mut cloud, now) = shared.cloud();
    let pace = cloud.settings.secret_pace();
    let by_name = |secret: &&mut Secret, name: &str| secret.name == name && secret.state != State::Deleted;
    match (&request.method, path) {
        (&Method::GET, []) => {
            let readable = cloud.secrets.all.values().filter(|secret| secret.is_readable(now.cloud));
            let values = readable.filter_map(|secret| {
                let bytes = STANDARD.decode(secret.current(now.cloud)?.content()).ok()?;
                Some((secret.name.clone(), json!(String::from_utf8_lossy(&bytes))))
            });
            Ok(Answer::json(&Value::Object(values.collect())))
        }
        (&Method::PUT, [name]) => {
            let wanted: SetSecret = request.json()?;
            let secret = cloud.secrets.all.values_mut().find(|secret| by_name(secret, name));
            let secret = secret.ok_or_else(Refusal::not_found)?;
            secret.update(
                Content { base64: STANDARD.encode(wanted.value), name: None, is_current: true },
                now,
                pace,
            )?;
            done()
        }
        (&Method::DELETE, [name]) => {
            let secret = cloud.secrets.all.values_mut().find(|secret| by_name(secret, name));
            secret.ok_or_else(Refusal::not_found)?.schedule_deletion(None, now)?;
            done()
        }
        _ => Err(unknown(request)),
    }
}
