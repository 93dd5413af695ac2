//! Carries out what [`super::race`] asks for, on Object Storage.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::race::{Lost, Progress, Race, Request};
use super::{Attempt, Held, MAX_BODY_BYTES, Object, Seen, Terms, Written, free_lock};
use crate::services::{self, Bucket, Condition, Etag, ObjectStorage};
use crate::{Cloud, Patience};

/// The object of one lock.
#[derive(Clone)]
pub struct LockObject {
    objects: ObjectStorage,
    bucket: Bucket,
    name: &'static str,
}

/// An answer of the store.
#[derive(Clone, Debug)]
pub enum Reply {
    /// `None`: there was none.
    Read(Option<Seen>),
    Written(Written),
}

impl LockObject {
    /// Each request may take as long as `within`.
    pub fn new(cloud: &Cloud, bucket: Bucket, name: &'static str, within: Duration) -> LockObject {
        let cloud = cloud.patient(Patience { within: Some(within), ..Patience::default() });
        LockObject { objects: cloud.objects(), bucket, name }
    }

    /// Sends one request.
    pub async fn ask(&self, request: &Request) -> Reply {
        match request {
            Request::Read => Reply::Read(self.read().await),
            Request::Write(attempt) => Reply::Written(self.write(attempt).await),
        }
    }

    /// Tries to take the lock once.
    pub async fn take(&self, me: &str, terms: Terms) -> Result<Held, Lost> {
        let mut progress = Race::take(me, terms, None);
        loop {
            progress = match progress {
                Progress::Won(held) => return Ok(held),
                Progress::Lost(lost) => return Err(lost),
                Progress::Ask(race, request) => match self.ask(&request).await {
                    Reply::Read(seen) => race.read(seen.as_ref()),
                    Reply::Written(written) => race.written(written),
                },
            };
        }
    }

    async fn read(&self) -> Option<Seen> {
        // The second time after the object was made.
        for _ in 0..2 {
            let asked_at = Instant::now();
            match self.objects.find_dated(&self.bucket, self.name).await {
                Ok(Some((object, time))) => {
                    return Some(Seen { asked_at, store_now: unix(time), object: of(&object) });
                }
                Ok(None) => self.create().await,
                Err(error) => {
                    tracing::warn!(lock = self.name, %error, "the lock cannot be read");
                    return None;
                }
            }
        }
        None
    }

    /// Makes the object that everybody then competes for.
    async fn create(&self) {
        match self.put(free_lock(), Condition::Absent).await {
            Ok(_) => tracing::info!(lock = self.name, "made the lock: there was none"),
            Err(error) if error.is_conflict() => {}
            Err(error) => tracing::warn!(lock = self.name, %error, "the lock cannot be made"),
        }
    }

    async fn write(&self, attempt: &Attempt) -> Written {
        let replaces = Etag::from(attempt.replaces.as_str());
        match self.put(attempt.bytes.clone(), Condition::Matches(&replaces)).await {
            Ok(etag) => Written::Yes(etag.as_str().to_owned()),
            Err(error) if error.is_conflict() => Written::No,
            Err(error) => {
                tracing::warn!(lock = self.name, %error, "the lock cannot be written");
                Written::Unknown
            }
        }
    }

    async fn put(&self, bytes: Vec<u8>, condition: Condition<'_>) -> Result<Etag, crate::Error> {
        self.objects.put(&self.bucket, self.name, "application/json", bytes, condition).await
    }
}

fn of(object: &services::Object) -> Object {
    Object {
        etag: object.etag.as_str().to_owned(),
        last_modified: object.modified.map(unix),
        bytes: object.bytes[..object.bytes.len().min(MAX_BODY_BYTES)].to_vec(),
    }
}

fn unix(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
