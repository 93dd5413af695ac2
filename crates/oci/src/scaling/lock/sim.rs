//! The store and its network in virtual time, for tests: answers come late or never, requests happen without an
//! answer, front ends disagree about the time, machines' steady clocks drift.

use std::time::{Duration, Instant};

use super::race::Request;
use super::{Object, Seen, Written, free_lock};

/// A bucket with one object. Linearizable, as Object Storage is.
#[derive(Debug)]
pub(in crate::scaling) struct Bucket {
    object: (u64, Vec<u8>, i64),
    etags: u64,
    /// What its front ends' clocks are off by, in milliseconds.
    pub(in crate::scaling) skew_ms: Vec<i64>,
}

/// What a request did, with the front end's time.
#[derive(Clone, Debug)]
pub(in crate::scaling) enum Did {
    Read(i64, Object),
    Wrote(Written),
}

/// With the lock as Terraform or the first master makes it.
impl Default for Bucket {
    fn default() -> Self {
        Bucket { object: (0, free_lock(), 0), etags: 0, skew_ms: Vec::new() }
    }
}

impl Bucket {
    fn store_now(&self, now_ms: i64, front_end: usize) -> i64 {
        let skew = self.skew_ms.get(front_end % self.skew_ms.len().max(1)).copied().unwrap_or_default();
        (now_ms + skew).div_euclid(1000)
    }

    /// Carries a request out at a moment.
    pub(in crate::scaling) fn handle(&mut self, now_ms: i64, front_end: usize, request: &Request) -> Did {
        let store_now = self.store_now(now_ms, front_end);
        match request {
            Request::Read => {
                let (etag, bytes, written) = &self.object;
                let (etag, bytes) = (etag.to_string(), bytes.clone());
                Did::Read(store_now, Object { etag, last_modified: Some(*written), bytes })
            }
            Request::Write(attempt) => {
                if attempt.replaces != self.object.0.to_string() {
                    return Did::Wrote(Written::No);
                }
                self.etags += 1;
                self.object = (self.etags, attempt.bytes.clone(), store_now);
                Did::Wrote(Written::Yes(self.etags.to_string()))
            }
        }
    }

    /// The object as a person would put it there.
    pub(in crate::scaling) fn put(&mut self, now_ms: i64, bytes: &[u8]) {
        self.etags += 1;
        self.object = (self.etags, bytes.to_vec(), now_ms.div_euclid(1000));
    }

    pub(in crate::scaling) fn bytes(&self) -> &[u8] {
        &self.object.1
    }
}

/// A machine's steady clock: `rate` 1.0 is right.
#[derive(Clone, Copy, Debug)]
pub(in crate::scaling) struct Steady {
    pub(in crate::scaling) origin: Instant,
    pub(in crate::scaling) rate: f64,
}

impl Steady {
    pub(in crate::scaling) fn at(&self, now_ms: i64) -> Instant {
        self.origin + Duration::from_secs_f64(now_ms.max(0) as f64 / 1000.0 * self.rate)
    }

    /// The first true time at which the clock shows `instant`, rounded up.
    pub(in crate::scaling) fn when(&self, instant: Instant) -> i64 {
        let shown = instant.saturating_duration_since(self.origin).as_secs_f64();
        (shown / self.rate * 1000.0).ceil() as i64 + 1
    }
}

/// What a reader sees.
pub(in crate::scaling) fn seen(asked_at: Instant, store_now: i64, object: Object) -> Seen {
    Seen { asked_at, store_now, object }
}
