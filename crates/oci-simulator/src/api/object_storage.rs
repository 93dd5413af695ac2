//! Object Storage.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};
use serde_json::json;

use super::{Answer, Context, Refusal, Reply, Route};
use crate::cloud::calendar;
use crate::cloud::storage::{Condition, MAX_OBJECT_BYTES, Object, Put};
use crate::iam::Target;

pub(super) const ROUTES: &[Route] = &[
    Route::new("GET", "n", "GetNamespace", get_namespace),
    Route::new("GET", "n/{}/b/{}", "GetBucket", get_bucket),
    Route::new("HEAD", "n/{}/b/{}", "HeadBucket", get_bucket),
    Route::new("GET", "n/{}/b", "ListBuckets", list_buckets),
    Route::new("GET", "n/{}/b/{}/o", "ListObjects", list_objects),
    Route::new("GET", "n/{}/b/{}/o/{*}", "GetObject", get_object),
    Route::new("HEAD", "n/{}/b/{}/o/{*}", "HeadObject", head_object),
    Route::new("PUT", "n/{}/b/{}/o/{*}", "PutObject", put_object).unsigned_body(),
    Route::new("DELETE", "n/{}/b/{}/o/{*}", "DeleteObject", delete_object),
];

fn get_namespace(context: &mut Context<'_>) -> Reply {
    Ok(Answer::json(&json!(context.cloud.settings.tenancy.namespace)).into())
}

/// The bucket of the path and what a condition may ask of it, if there is one.
fn target<'a>(context: &'a Context<'_>) -> Result<Target<'a>, Refusal> {
    let (namespace, bucket) = (context.parameter(0), context.parameter(1));
    let found = context.cloud.storage.buckets.get(bucket);
    let found = found.filter(|_| namespace == context.cloud.settings.tenancy.namespace);
    let compartment = &found.ok_or_else(|| no_bucket(bucket, namespace))?.compartment;
    let mut variables = vec![("target.bucket.name", bucket.to_owned())];
    if let Some(object) = context.matched.parameters.get(2) {
        variables.push(("target.object.name", object.clone()));
    }
    Ok(Target { compartment, variables })
}

/// What the unauthorised get here too.
fn no_bucket(bucket: &str, namespace: &str) -> Refusal {
    let text = format!(
        "Either the bucket named '{bucket}' does not exist in the namespace '{namespace}' or you are not authorized \
         to access it"
    );
    Refusal::new(404, "BucketNotFound", text)
}

fn authorize(context: &Context<'_>, permission: &str) -> Result<(), Refusal> {
    let target = target(context)?;
    context
        .authorize(&[permission], &target)
        .map_err(|_| no_bucket(context.parameter(1), context.parameter(0)))
}

fn get_bucket(context: &mut Context<'_>) -> Reply {
    let permission =
        if context.matched.route.operation == "GetBucket" { "BUCKET_READ" } else { "BUCKET_INSPECT" };
    authorize(context, permission)?;
    let name = context.parameter(1);
    let bucket = &context.cloud.storage.buckets[name];
    let body = json!({
        "namespace": context.parameter(0), "name": name, "compartmentId": bucket.compartment, "etag": bucket.etag,
        "timeCreated": calendar::rfc3339(bucket.created_unix_ms), "createdBy": context.cloud.settings.tenancy.id,
        "metadata": {}, "publicAccessType": "NoPublicAccess", "storageTier": "Standard", "freeformTags": {},
        "definedTags": {}, "versioning": "Disabled", "autoTiering": "Disabled",
    });
    Ok(Answer::json(&body).with("etag", &*bucket.etag).into())
}

fn list_buckets(context: &mut Context<'_>) -> Reply {
    let compartment = context.compartment()?;
    context.authorize(&["BUCKET_INSPECT"], &Target { compartment: &compartment, variables: Vec::new() })?;
    let buckets =
        context.cloud.storage.buckets.iter().filter(|(_, bucket)| bucket.compartment == compartment);
    let namespace = context.parameter(0);
    let buckets = buckets.map(|(name, bucket)| {
        json!({
            "namespace": namespace, "name": name, "compartmentId": bucket.compartment, "etag": bucket.etag,
            "timeCreated": calendar::rfc3339(bucket.created_unix_ms), "createdBy": context.cloud.settings.tenancy.id,
        })
    });
    Ok(Answer::list(context, buckets.collect())?.into())
}

fn list_objects(context: &mut Context<'_>) -> Reply {
    authorize(context, "OBJECT_INSPECT")?;
    let query = |name| context.request.query(name);
    let limit = match query("limit").map(str::parse::<usize>) {
        None => 1000,
        Some(Ok(limit)) => limit.clamp(1, 1000),
        Some(Err(_)) => return Err(Refusal::invalid("limit is no number.")),
    };
    let fields = query("fields").unwrap_or("name");
    let prefix = query("prefix").unwrap_or_default();
    let start = query("start").unwrap_or_default();
    let objects = &context.cloud.storage.buckets[context.parameter(1)].objects;
    let within = objects.range(start.to_owned()..).filter(|(name, _)| name.starts_with(prefix));
    let mut within =
        within.skip_while(|(name, _)| query("startAfter").is_some_and(|after| name.as_str() <= after));
    let found: Vec<serde_json::Value> = within
        .by_ref()
        .take(limit)
        .map(|(name, object)| {
            let mut item = json!({"name": name});
            for field in fields.split(',') {
                match field.trim() {
                    "size" => item["size"] = json!(object.body.len()),
                    "etag" => item["etag"] = json!(object.etag),
                    "md5" => item["md5"] = json!(object.md5),
                    "timeCreated" | "timeModified" => {
                        item[field.trim()] = json!(calendar::rfc3339(object.modified_unix_ms));
                    }
                    _ => {}
                }
            }
            item
        })
        .collect();
    let mut body = json!({"objects": found});
    if let Some((next, _)) = within.next() {
        body["nextStartWith"] = json!(next);
    }
    Ok(Answer::json(&body).into())
}

fn object<'a>(context: &'a Context<'_>) -> Result<&'a Object, Refusal> {
    let (bucket, name) = (context.parameter(1), context.parameter(2));
    let found = context.cloud.storage.buckets.get(bucket).and_then(|bucket| bucket.objects.get(name));
    found.ok_or_else(|| {
        let text = format!("The object '{name}' was not found in the bucket '{bucket}'");
        Refusal::new(404, "ObjectNotFound", text)
    })
}

fn condition<'a>(context: &Context<'a>) -> Condition<'a> {
    let header = |name| context.request.header(name);
    Condition { if_match: header("if-match"), if_none_match: header("if-none-match") }
}

fn get_object(context: &mut Context<'_>) -> Reply {
    authorize(context, "OBJECT_READ")?;
    read(context, true)
}

fn head_object(context: &mut Context<'_>) -> Reply {
    authorize(context, "OBJECT_INSPECT")?;
    read(context, false)
}

fn read(context: &Context<'_>, with_body: bool) -> Reply {
    let object = object(context)?;
    let condition = condition(context);
    condition.check_match(Some(&object.etag))?;
    if condition.if_none_match.is_some_and(|wanted| wanted == "*" || wanted.trim_matches('"') == object.etag)
    {
        return Ok(Answer::empty(304).with("etag", &*object.etag).into());
    }
    let mut answer = match (with_body, context.request.header("range")) {
        (true, Some(range)) => ranged(object, range)?,
        (true, None) => {
            Answer::bytes(&object.content_type, object.body.clone()).with("content-md5", &*object.md5)
        }
        (false, _) => Answer::bytes(&object.content_type, Bytes::new())
            .with("content-length", object.body.len().to_string())
            .with("content-md5", &*object.md5),
    };
    answer = answer.with("etag", &*object.etag).with("accept-ranges", "bytes");
    let modified =
        std::time::UNIX_EPOCH + std::time::Duration::from_millis(object.modified_unix_ms.max(0) as u64);
    answer = answer.with("last-modified", httpdate::fmt_http_date(modified));
    for (name, value) in &object.metadata {
        answer = answer.with(format!("opc-meta-{name}"), &**value);
    }
    Ok(answer.into())
}

/// `bytes=first-last`, `bytes=first-` or `bytes=-count`.
fn ranged(object: &Object, range: &str) -> Result<Answer, Refusal> {
    let length = object.body.len();
    let refused =
        || Refusal::new(416, "InvalidRange", format!("The range {range} is not within {length} bytes."));
    let (first, last) =
        range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(refused)?;
    let number = |text: &str| text.parse::<usize>().map_err(|_| refused());
    let (first, end) = match (first, last) {
        ("", count) => (length.saturating_sub(number(count)?), length),
        (first, "") => (number(first)?, length),
        (first, last) => (number(first)?, number(last)?.saturating_add(1).min(length)),
    };
    if first >= end {
        return Err(refused());
    }
    let body = object.body.slice(first..end);
    let range = format!("bytes {first}-{}/{length}", end - 1);
    Ok(Answer::bytes(&object.content_type, body).status(206).with("content-range", range))
}

fn put_object(context: &mut Context<'_>) -> Reply {
    let exists = {
        let target = target(context)?;
        let exists = object(context).is_ok();
        let permission = if exists { "OBJECT_OVERWRITE" } else { "OBJECT_CREATE" };
        if !context.may(permission, &target) {
            return Err(no_bucket(context.parameter(1), context.parameter(0)));
        }
        exists
    };
    let body = context.request.body.clone();
    if body.len() > MAX_OBJECT_BYTES {
        return Err(Refusal::new(413, "RequestEntityTooLarge", "The simulator takes objects up to 64 MiB."));
    }
    let md5 = STANDARD.encode(Md5::digest(&body));
    if context.request.header("content-md5").is_some_and(|sent| sent != md5) {
        return Err(Refusal::new(
            400,
            "UnmatchedContentMD5",
            "The body is not the one that Content-MD5 tells of.",
        ));
    }
    let header = |name| context.request.header(name).map(str::to_owned);
    let content_type = header("content-type").unwrap_or_else(|| "application/octet-stream".into());
    let metadata = context.request.headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("opc-meta-")?;
        Some((name.to_owned(), value.to_str().ok()?.to_owned()))
    });
    let put = Put { body, content_type, md5: md5.clone(), metadata: metadata.collect() };
    let (bucket, name) = (context.parameter(1).to_owned(), context.parameter(2).to_owned());
    if name.len() > 1024 || name.contains(['\n', '\r', '\0']) {
        return Err(Refusal::new(
            400,
            "InvalidObjectName",
            "The name is longer than 1024 bytes, or has line ends.",
        ));
    }
    let (condition, unix_ms) = (condition(context), context.now.unix_ms);
    let found = context.cloud.storage.buckets.get_mut(&bucket).ok_or_else(Refusal::not_found)?;
    let object = found.put(&name, put, condition, unix_ms)?;
    tracing::debug!(bucket, name, exists, "put");
    Ok(Answer::empty(200).with("etag", &*object.etag).with("opc-content-md5", md5).into())
}

fn delete_object(context: &mut Context<'_>) -> Reply {
    authorize(context, "OBJECT_DELETE")?;
    let etag = object(context)?.etag.clone();
    condition(context).check_match(Some(&etag))?;
    let (bucket, name) = (context.parameter(1).to_owned(), context.parameter(2).to_owned());
    if let Some(bucket) = context.cloud.storage.buckets.get_mut(&bucket) {
        bucket.objects.remove(&name);
    }
    Ok(Answer::empty(204).into())
}
