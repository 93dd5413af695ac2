//! Object Storage: buckets of objects with ETags, and writes that are made only on a condition.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::api::Refusal;
use crate::ocid;

/// An object of 64 MiB is more than anything here puts in one part.
pub(crate) const MAX_OBJECT_BYTES: usize = 64 << 20;
/// Objects in a bucket.
const MAX_OBJECTS: usize = 10_000;

/// One version of an object.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) body: Bytes,
    pub(crate) etag: String,
    pub(crate) content_type: String,
    /// Base64 of the body's MD5.
    pub(crate) md5: String,
    pub(crate) modified_unix_ms: i64,
    pub(crate) metadata: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) compartment: String,
    pub(crate) etag: String,
    pub(crate) created_unix_ms: i64,
    pub(crate) objects: BTreeMap<String, Object>,
}

/// `If-Match` and `If-None-Match`, as sent.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Condition<'a> {
    pub(crate) if_match: Option<&'a str>,
    pub(crate) if_none_match: Option<&'a str>,
}

impl Condition<'_> {
    /// Whether a write may go ahead, given the version that is there.
    ///
    /// # Errors
    /// 412 if not.
    pub(crate) fn check_write(&self, existing: Option<&str>) -> Result<(), Refusal> {
        if self.if_none_match.is_some_and(|wanted| wanted == "*") && existing.is_some() {
            let text = "The If-None-Match header is '*' but there is an existing object.";
            return Err(Refusal::new(412, "IfNoneMatchFailed", text));
        }
        self.check_match(existing)
    }

    /// Whether `If-Match` fits.
    ///
    /// # Errors
    /// 412 if not.
    pub(crate) fn check_match(&self, existing: Option<&str>) -> Result<(), Refusal> {
        let fits = |wanted: &str| match existing {
            None => false,
            Some(etag) => wanted == "*" || wanted.trim_matches('"') == etag,
        };
        match self.if_match {
            Some(wanted) if !fits(wanted) => {
                let text = "The If-Match header is not equal to the object's current ETag.";
                Err(Refusal::new(412, "IfMatchFailed", text))
            }
            _ => Ok(()),
        }
    }
}

/// What is put.
pub(crate) struct Put {
    pub(crate) body: Bytes,
    pub(crate) content_type: String,
    pub(crate) md5: String,
    pub(crate) metadata: Vec<(String, String)>,
}

/// All buckets.
#[derive(Default, Debug)]
pub(crate) struct ObjectStorage {
    pub(crate) buckets: BTreeMap<String, Bucket>,
}

impl ObjectStorage {
    pub(crate) fn create_bucket(&mut self, name: &str, compartment: &str, unix_ms: i64) {
        self.buckets.entry(name.into()).or_insert_with(|| Bucket {
            compartment: compartment.into(),
            etag: ocid::uuid(),
            created_unix_ms: unix_ms,
            objects: BTreeMap::new(),
        });
    }
}

impl Bucket {
    /// Writes an object if the condition holds, and gives its new ETag.
    ///
    /// # Errors
    /// 412 when the condition does not hold, 400 when the bucket is full.
    pub(crate) fn put(
        &mut self,
        name: &str,
        put: Put,
        condition: Condition<'_>,
        unix_ms: i64,
    ) -> Result<&Object, Refusal> {
        let existing = self.objects.get(name).map(|object| object.etag.as_str());
        condition.check_write(existing)?;
        if existing.is_none() && self.objects.len() >= MAX_OBJECTS {
            return Err(Refusal::new(400, "LimitExceeded", "The simulated bucket is full."));
        }
        let object = Object {
            body: put.body,
            etag: ocid::uuid(),
            content_type: put.content_type,
            md5: put.md5,
            modified_unix_ms: unix_ms,
            metadata: put.metadata,
        };
        self.objects.insert(name.into(), object);
        self.objects.get(name).ok_or_else(Refusal::not_found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> Bucket {
        let mut storage = ObjectStorage::default();
        storage.create_bucket("b", "c", 0);
        storage.buckets.remove("b").unwrap()
    }

    fn put(bucket: &mut Bucket, condition: Condition<'_>) -> Result<String, u16> {
        let put = Put {
            body: Bytes::from_static(b"x"),
            content_type: "text/plain".into(),
            md5: String::new(),
            metadata: Vec::new(),
        };
        bucket
            .put("lock", put, condition, 0)
            .map(|object| object.etag.clone())
            .map_err(|refusal| refusal.status)
    }

    #[test]
    fn of_two_who_create_one_wins() {
        let mut bucket = bucket();
        let create = Condition { if_none_match: Some("*"), ..Condition::default() };
        assert!(put(&mut bucket, create).is_ok());
        assert_eq!(put(&mut bucket, create), Err(412));
    }

    #[test]
    fn of_two_who_replace_the_same_version_one_wins() {
        let mut bucket = bucket();
        assert_eq!(put(&mut bucket, Condition { if_match: Some("x"), if_none_match: None }), Err(412));
        let first = put(&mut bucket, Condition::default()).unwrap();
        let replace = Condition { if_match: Some(&first), if_none_match: None };
        let second = put(&mut bucket, replace).unwrap();
        assert_ne!(first, second);
        assert_eq!(put(&mut bucket, replace), Err(412));
    }
}
