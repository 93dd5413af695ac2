//! A lease on doing something for the whole cluster: an object of the cluster-data bucket, written by compare-and-set,
//! with its holder and its end readable. A holder that died is followed by another one when the lease has ended.
//!
//! Clocks may differ: a lease that is taken too early costs work, never correctness. Who holds one proves it with
//! [`Lease::confirm`] between reading what it will change and changing it: then whoever took over later reads what we
//! wrote, or our write finds that it changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::api::{Api, ApiError, ETag, Expected, Object};
use super::host::Host;
use super::identity::Place;

/// The object.
pub const OBJECT: &str = "boot.lock";

/// Longer than any single step under the lease takes with its retries.
pub const TTL_S: u64 = 180;

/// What the object says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub holder: String,
    /// Unix seconds.
    pub expires_at: u64,
    #[serde(flatten)]
    pub done: Done,
}

/// What was done once for a deployment. It stands here, not in the Vault, because here nobody reads an old version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The deployment whose secrets have all been written, in which versions: nobody may make others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets_made: Option<SecretsMade>,
    /// The deployment whose store was formed: no second one may ever begin beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_formed: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretsMade {
    pub generation: String,
    pub versions: BTreeMap<String, u64>,
}

/// Held. What is noted in `done` is written with the next write.
#[derive(Debug)]
pub(super) struct Lease {
    holder: String,
    etag: ETag,
    pub done: Done,
}

/// How an attempt to get it ended.
#[derive(Debug)]
pub(super) enum Attempt {
    Held(Lease),
    /// Somebody else has it.
    By(Record),
    /// Somebody else was faster just now.
    Raced,
}

impl Lease {
    /// Takes it if it is free, ended, or was ours before a crash.
    pub(super) async fn acquire(
        api: &impl Api,
        host: &impl Host,
        place: &Place,
        holder: &str,
    ) -> Result<Attempt, ApiError> {
        let found = api.object(place, OBJECT).await?;
        let now = host.now();
        let record = found.as_ref().and_then(Record::read);
        if let Some(record) =
            record.as_ref().filter(|record| record.expires_at > now && record.holder != holder)
        {
            return Ok(Attempt::By(record.clone()));
        }
        let expected = found.as_ref().map_or(Expected::Absent, |object| Expected::At(&object.etag));
        let done = record.map(|record| record.done).unwrap_or_default();
        let record = Record { holder: holder.to_owned(), expires_at: now + TTL_S, done };
        Ok(match record.write(api, place, expected).await? {
            Some(etag) => Attempt::Held(Lease { holder: record.holder, etag, done: record.done }),
            None => Attempt::Raced,
        })
    }

    /// Prolongs it; `false`: somebody else has it now, so stop.
    pub(super) async fn confirm(
        &mut self,
        api: &impl Api,
        host: &impl Host,
        place: &Place,
    ) -> Result<bool, ApiError> {
        if let Some(etag) =
            self.record(host.now() + TTL_S).write(api, place, Expected::At(&self.etag)).await?
        {
            self.etag = etag;
            return Ok(true);
        }
        // The answer to our last write may have been lost. Nobody but us writes our name.
        let Some(object) = api.object(place, OBJECT).await? else { return Ok(false) };
        if Record::read(&object).is_none_or(|record| record.holder != self.holder) {
            return Ok(false);
        }
        self.etag = object.etag;
        match self.record(host.now() + TTL_S).write(api, place, Expected::At(&self.etag)).await? {
            Some(etag) => {
                self.etag = etag;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Lets the next one have it at once. Where that fails it ends by itself.
    pub(super) async fn release(self, api: &impl Api, place: &Place) {
        let _ = self.record(0).write(api, place, Expected::At(&self.etag)).await;
    }

    fn record(&self, expires_at: u64) -> Record {
        Record { holder: self.holder.clone(), expires_at, done: self.done.clone() }
    }
}

impl Record {
    /// What the object says now.
    pub async fn peek(api: &impl Api, place: &Place) -> Result<Option<Record>, ApiError> {
        Ok(api.object(place, OBJECT).await?.as_ref().and_then(Record::read))
    }

    /// One that cannot be read is nobody's.
    fn read(object: &Object) -> Option<Record> {
        serde_json::from_slice(&object.body).ok()
    }

    async fn write(
        &self,
        api: &impl Api,
        place: &Place,
        expected: Expected<'_>,
    ) -> Result<Option<ETag>, ApiError> {
        let body = serde_json::to_vec(self).unwrap_or_default();
        api.put_object(place, OBJECT, &body, expected).await
    }
}
