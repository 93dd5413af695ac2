//! Functions: applications, functions, and what was called. Running them is outside.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::config;

pub(crate) struct Application {
    pub(crate) id: String,
    pub(crate) display_name: String,
    pub(crate) compartment: String,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) created_unix_ms: i64,
}

pub(crate) struct Function {
    pub(crate) id: String,
    pub(crate) application: String,
    pub(crate) compartment: String,
    pub(crate) config: config::Function,
    pub(crate) created_unix_ms: i64,
}

/// A call, for tests to look at.
#[derive(Clone, Serialize, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Invoked {
    pub(crate) n: u64,
    pub(crate) function: String,
    pub(crate) caller: String,
    pub(crate) caller_type: &'static str,
    pub(crate) unix_ms: i64,
    pub(crate) request: String,
    pub(crate) status: Option<u16>,
    pub(crate) response: Option<String>,
}

/// Calls kept.
const MAX_INVOKED: usize = 1000;
/// Of a body, in the log.
const MAX_TEXT: usize = 16 << 10;

/// All of them, by OCID.
#[derive(Default)]
pub(crate) struct Functions {
    pub(crate) applications: BTreeMap<String, Application>,
    pub(crate) functions: BTreeMap<String, Function>,
    pub(crate) invoked: VecDeque<Invoked>,
    count: u64,
}

impl Functions {
    /// Notes a call, and gives its number.
    pub(crate) fn begin(
        &mut self,
        function: &str,
        (caller, caller_type): (&str, &'static str),
        request: &[u8],
        unix_ms: i64,
    ) -> u64 {
        if self.invoked.len() >= MAX_INVOKED {
            self.invoked.pop_front();
        }
        self.count += 1;
        self.invoked.push_back(Invoked {
            n: self.count,
            function: function.into(),
            caller: caller.into(),
            caller_type,
            unix_ms,
            request: text(request),
            status: None,
            response: None,
        });
        self.count
    }

    pub(crate) fn end(&mut self, n: u64, status: u16, response: &[u8]) {
        if let Some(invoked) = self.invoked.iter_mut().rev().find(|invoked| invoked.n == n) {
            invoked.status = Some(status);
            invoked.response = Some(text(response));
        }
    }

    /// All calls ever.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(MAX_TEXT)]).into_owned()
}
