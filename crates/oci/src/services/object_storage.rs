//! Object Storage: small objects, with the conditions that make an object a lock.

use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;
use serde::Deserialize;

use super::Etag;
use crate::endpoints::Service;
use crate::error::{Error, Failure};
use crate::transport::{Answer, Api, Call, path};
use crate::wire_time;

/// The largest object that is read; what we keep in buckets is far smaller.
const MAX_OBJECT: usize = 64 << 20;

/// The most rows that a listing gathers.
const MAX_LISTED: usize = 10_000;

/// Object Storage of the principal's region.
#[derive(Clone)]
pub struct ObjectStorage {
    api: Api,
}

/// A bucket of a tenancy's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub namespace: String,
    pub name: String,
}

/// An object as read.
#[derive(Debug, Clone)]
pub struct Object {
    pub bytes: Bytes,
    pub etag: Etag,
    pub content_type: Option<String>,
    pub modified: Option<SystemTime>,
}

/// When a write is to happen.
#[derive(Debug, Clone, Copy)]
pub enum Condition<'a> {
    Always,
    /// Only if there is no such object: `If-None-Match: *`.
    Absent,
    /// Only if it is still the one that was read: `If-Match`.
    Matches(&'a Etag),
}

/// A row of a listing.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectSummary {
    pub name: String,
    #[serde(default)]
    pub size: Option<u64>,
    #[serde(default)]
    pub etag: Option<String>,
    #[serde(default, with = "wire_time::optional")]
    pub time_modified: Option<SystemTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    objects: Vec<ObjectSummary>,
    #[serde(default)]
    next_start_with: Option<String>,
}

impl ObjectStorage {
    pub(crate) fn new(api: Api) -> ObjectStorage {
        ObjectStorage { api }
    }

    /// The namespace of the principal's tenancy.
    pub async fn namespace(&self) -> Result<String, Error> {
        self.api.json(Call::get("GetNamespace", Service::ObjectStorage, path(["n"]))).await
    }

    /// Whether the bucket is there for us; the error says if not.
    pub async fn head_bucket(&self, bucket: &Bucket) -> Result<(), Error> {
        let path = path(["n", &bucket.namespace, "b", &bucket.name]);
        self.api.send(Call::new("HeadBucket", Service::ObjectStorage, Method::HEAD, path)).await.map(drop)
    }

    /// The object; 404 if there is none.
    pub async fn get(&self, bucket: &Bucket, name: &str) -> Result<Object, Error> {
        self.dated(bucket, name).await.map(|(object, _)| object)
    }

    /// The object, or none. A bucket that is missing or hidden is an error, not none.
    pub async fn find(&self, bucket: &Bucket, name: &str) -> Result<Option<Object>, Error> {
        none_if_absent(self.get(bucket, name).await)
    }

    /// The object or none, and the service's time then: who competes for an object by time goes by that clock.
    pub async fn find_dated(
        &self,
        bucket: &Bucket,
        name: &str,
    ) -> Result<Option<(Object, SystemTime)>, Error> {
        let undated =
            || Error::new("GetObject", Failure::BadAnswer { cause: "an answer without its date".into() });
        match none_if_absent(self.dated(bucket, name).await)? {
            Some((object, date)) => Ok(Some((object, date.ok_or_else(undated)?))),
            None => Ok(None),
        }
    }

    async fn dated(&self, bucket: &Bucket, name: &str) -> Result<(Object, Option<SystemTime>), Error> {
        let call = Call::get("GetObject", Service::ObjectStorage, object(bucket, name)).limit(MAX_OBJECT);
        let answer = self.api.send(call).await?;
        let etag = etag("GetObject", &answer)?;
        let date = |name| answer.header(name).and_then(|date| httpdate::parse_http_date(date).ok());
        let (modified, served) = (date("last-modified"), date("date"));
        let content_type = answer.header(CONTENT_TYPE.as_str()).map(str::to_owned);
        Ok((Object { etag, modified, content_type, bytes: answer.body }, served))
    }

    /// Writes the object under `condition`; 412 ([`Error::is_precondition_failed`]) if that does not hold.
    ///
    /// If an earlier attempt's answer was lost, that attempt may have made the condition fail; the object is then read,
    /// and being the same bytes it counts as written. So contents that compete must differ by writer.
    pub async fn put(
        &self,
        bucket: &Bucket,
        name: &str,
        content_type: &'static str,
        bytes: impl Into<Bytes>,
        condition: Condition<'_>,
    ) -> Result<Etag, Error> {
        let bytes = bytes.into();
        let call = Call::put("PutObject", Service::ObjectStorage, object(bucket, name))
            .bytes(content_type, bytes.clone());
        let call = match condition {
            Condition::Always => call,
            Condition::Absent => call.if_absent(),
            Condition::Matches(etag) => call.if_match(Some(etag.as_str())),
        };
        match self.api.send(call).await {
            Ok(answer) => etag("PutObject", &answer),
            Err(error) if error.is_precondition_failed() && error.attempts() > 1 => {
                match self.find(bucket, name).await? {
                    Some(there) if there.bytes == bytes => Ok(there.etag),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Whether there was one to delete.
    pub async fn delete(&self, bucket: &Bucket, name: &str, only: Option<&Etag>) -> Result<bool, Error> {
        let call = Call::delete("DeleteObject", Service::ObjectStorage, object(bucket, name))
            .if_match(only.map(Etag::as_str));
        none_if_absent(self.api.send(call).await).map(|deleted| deleted.is_some())
    }

    /// All objects whose name begins with `prefix`.
    pub async fn list(&self, bucket: &Bucket, prefix: &str) -> Result<Vec<ObjectSummary>, Error> {
        let mut all = Vec::new();
        let mut start = None::<String>;
        while all.len() < MAX_LISTED {
            let path = path(["n", &bucket.namespace, "b", &bucket.name, "o"]);
            let call = Call::get("ListObjects", Service::ObjectStorage, path)
                .query("fields", "name,size,etag,timeModified")
                .query_if("prefix", (!prefix.is_empty()).then_some(prefix))
                .query_if("start", start);
            let page: Listing = self.api.json(call).await?;
            all.extend(page.objects);
            start = page.next_start_with;
            if start.is_none() {
                return Ok(all);
            }
        }
        let cause = format!("a listing of more than {MAX_LISTED} objects");
        Err(Error::new("ListObjects", Failure::BadAnswer { cause }))
    }
}

fn object(bucket: &Bucket, name: &str) -> String {
    path(["n", &bucket.namespace, "b", &bucket.name, "o", name])
}

/// The services tell a missing object from a bucket that is missing or hidden.
fn none_if_absent<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() && error.code() == "ObjectNotFound" => Ok(None),
        Err(error) => Err(error),
    }
}

fn etag(operation: &'static str, answer: &Answer) -> Result<Etag, Error> {
    answer.header("etag").map(Etag::from).ok_or_else(|| {
        Error::new(operation, Failure::BadAnswer { cause: "an object without an ETag".into() })
            .with_request_id(answer.header("opc-request-id").map(str::to_owned))
    })
}
