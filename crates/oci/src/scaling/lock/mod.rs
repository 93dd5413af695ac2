//! A lock that one master at a time holds: an object in a bucket, taken by compare-and-set on its ETag.
//!
//! Whose turn it is is judged by the store's clock alone: the `Date` of its answers against the `expires_at` that a
//! holder computed from such a `Date`. The clocks of the masters play no part, however wrong they are. A holder knows
//! the end of its own lease by its steady clock, counted from before it *asked* for the time and [`Terms::margin`] less
//! than the whole TTL. So no two masters hold it at once as long as
//!
//! - the store's front ends disagree about the time by less than `margin` − 1 s (`Date` has whole seconds), and
//! - a steady clock drifts less than that over a TTL (36 s in 180 s for `scalein.lock`).
//!
//! A process that was stopped in mid-lease may wake up late: what it does then must not hurt, see `invoker`.
//!
//! Here is what a read or a write means; [`race`] puts them in order, [`client`] carries them out.

pub mod client;
pub mod race;
#[cfg(test)]
pub(super) mod sim;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Object of the masters' turn to call the function.
pub const SCALE_IN: &str = "scalein.lock";

/// Object of the masters' turn to raise the pool's size.
pub const SCALE_OUT: &str = "scaleout.lock";

/// A lock is some hundred bytes; whoever wrote more did not write a lock.
pub const MAX_BODY_BYTES: usize = 4 << 10;

/// How long a lock lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// After that others may take it. Whole seconds.
    pub ttl: Duration,
    /// A holder stops this much earlier.
    pub margin: Duration,
}

impl Terms {
    /// Three minutes: a holder that crashed is replaced within a cycle.
    pub const SCALE_IN: Terms = Terms::new(180);

    /// Raising a size takes a few seconds. Short, so that need is met within 30 s even when a holder crashes.
    pub const SCALE_OUT: Terms = Terms::new(15);

    /// A TTL in seconds, at least 10, with a margin of a fifth.
    pub const fn new(ttl_s: u64) -> Terms {
        let ttl_s = if ttl_s < 10 { 10 } else { ttl_s };
        Terms { ttl: Duration::from_secs(ttl_s), margin: Duration::from_millis(ttl_s * 200) }
    }
}

/// What the object says: readable by people, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    pub holder: String,
    /// Unix time of the store, in seconds.
    pub expires_at: i64,
    /// The cycle that it was taken for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cycle: Option<u64>,
    /// Whether the function is being, or was, called for that cycle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<bool>,
}

impl Body {
    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The reader's steady clock before it asked.
    pub asked_at: Instant,
    /// `Date` of the answer, Unix time in seconds.
    pub store_now: i64,
    pub object: Object,
}

/// An object as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub etag: String,
    /// Unix time in seconds.
    pub last_modified: Option<i64>,
    pub bytes: Vec<u8>,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// With the new ETag.
    Yes(String),
    /// The condition did not hold.
    No,
    /// Nobody knows: no answer, or an error of the service.
    Unknown,
}

/// A write that makes the lock ours, or changes ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The ETag of the object that it replaces: `If-Match`.
    pub replaces: String,
    body: Body,
    pub bytes: Vec<u8>,
    until: Instant,
}

/// The lock is ours until `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    etag: String,
    body: Body,
    pub until: Instant,
}

/// Why the lock is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody has it, `left` by the store's clock.
    HeldBy { holder: String, left: Duration },
    /// The function was called in this cycle already.
    Called { holder: String },
}

/// A lock that nobody has: what is written where there is no object yet.
pub(crate) fn free_lock() -> Vec<u8> {
    Body { holder: String::new(), expires_at: 0, cycle: None, called: None }.to_bytes()
}

/// For how long somebody still has the lock at the moment of `seen`.
fn left(seen: &Seen, body: &Body, terms: Terms) -> Option<Duration> {
    let ttl = terms.ttl.as_secs() as i64;
    // Nobody holds it for longer than a TTL after its write, whatever the text says.
    let written_until = seen.object.last_modified.map(|written| written.saturating_add(ttl));
    let expires = written_until.map_or(body.expires_at, |until| body.expires_at.min(until));
    let left = expires.saturating_sub(seen.store_now).min(ttl);
    (left > 0).then(|| Duration::from_secs(left as u64))
}

/// The lock in an object, if it is one.
pub fn read(object: &Object) -> Option<Body> {
    serde_json::from_slice(&object.bytes).ok()
}

/// The write by which `me` takes the lock, after a read.
pub fn take(seen: &Seen, me: &str, terms: Terms, cycle: Option<u64>) -> Result<Attempt, Refusal> {
    // What is no lock was put there by hand: nobody acts on it, so it need not be waited for.
    if let Some(last) = read(&seen.object) {
        let called = last.cycle.filter(|_| last.called == Some(true));
        if called.zip(cycle).is_some_and(|(called, cycle)| called >= cycle) {
            return Err(Refusal::Called { holder: last.holder });
        }
        if let Some(left) = left(seen, &last, terms) {
            return Err(Refusal::HeldBy { holder: last.holder, left });
        }
    }
    let body = Body {
        holder: me.to_owned(),
        expires_at: seen.store_now.saturating_add(terms.ttl.as_secs() as i64),
        cycle,
        called: cycle.map(|_| false),
    };
    let replaces = seen.object.etag.clone();
    let until = seen.asked_at + (terms.ttl - terms.margin);
    Ok(Attempt { replaces, bytes: body.to_bytes(), body, until })
}

impl Attempt {
    /// The lock, after the write was confirmed.
    pub fn won(self, etag: String) -> Held {
        Held { etag, body: self.body, until: self.until }
    }

    /// The ETag if what is stored now is exactly what we wrote: then our write happened although its answer was
    /// lost, or although a repetition of it met itself.
    pub fn is_stored(&self, seen: &Seen) -> Option<String> {
        let ours = seen.object.bytes == self.bytes && seen.object.etag != self.replaces;
        ours.then(|| seen.object.etag.clone())
    }
}

impl Held {
    /// The write that says for everybody that the function is being called. `None`: the lease is over.
    pub fn mark_called(&self, now: Instant) -> Option<Attempt> {
        let body = Body { called: Some(true), ..self.body.clone() };
        let replaces = self.etag.clone();
        (now < self.until).then(|| Attempt { replaces, bytes: body.to_bytes(), body, until: self.until })
    }

    pub fn cycle(&self) -> Option<u64> {
        self.body.cycle
    }

    pub fn is_called(&self) -> bool {
        self.body.called == Some(true)
    }
}
