//! What was asked of the cloud, for tests to count.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

/// A call and its end.
#[derive(Clone, Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Call {
    pub(crate) n: u64,
    pub(crate) unix_ms: i64,
    pub(crate) operation: String,
    pub(crate) method: String,
    pub(crate) path: String,
    /// Display name of an instance, else the OCID; blank when it is not known.
    pub(crate) caller: String,
    pub(crate) caller_id: String,
    /// None when there was no answer.
    pub(crate) status: Option<u16>,
    /// Of an error, with its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
}

/// Calls kept; the counts know of all.
const MAX: usize = 20_000;

#[derive(Default)]
pub(crate) struct Calls {
    log: VecDeque<Call>,
    counts: BTreeMap<String, u64>,
    last: u64,
}

impl Calls {
    pub(crate) fn add(&mut self, mut call: Call) {
        self.last += 1;
        call.n = self.last;
        *self.counts.entry(call.operation.clone()).or_default() += 1;
        if self.log.len() >= MAX {
            self.log.pop_front();
        }
        self.log.push_back(call);
    }

    /// How often each operation was called since the last reset.
    pub(crate) fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// Calls after number `since`.
    pub(crate) fn after(&self, since: u64) -> impl Iterator<Item = &Call> {
        self.log.iter().filter(move |call| call.n > since)
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn reset(&mut self) {
        self.log.clear();
        self.counts.clear();
    }
}
