//! Faults on order: errors, throttling, delays, lost answers, hangs, and callers that die in the act.

use serde::{Deserialize, Serialize};

/// What happens to a call.
#[derive(Deserialize, Serialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub(crate) enum Kind {
    /// Answered with an error, and not done.
    #[serde(rename_all = "camelCase")]
    Error {
        status: u16,
        #[serde(default)]
        code: Option<String>,
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        retry_after_seconds: Option<u64>,
    },
    /// Done, but later.
    #[serde(rename_all = "camelCase")]
    Delay { millis: u64 },
    /// The connection ends without an answer; with `isDone` the call was done before.
    #[serde(rename_all = "camelCase")]
    Drop {
        #[serde(default)]
        is_done: bool,
    },
    /// No answer, and the connection stays.
    Hang,
    /// The instance that calls loses its processes; with `isDone` after the call was done.
    #[serde(rename_all = "camelCase")]
    KillCaller {
        #[serde(default)]
        is_done: bool,
    },
}

/// When it happens.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Fault {
    #[serde(default, skip_deserializing)]
    pub(crate) id: u64,
    /// Such as `GetObject`; `*` for all, the instance metadata (`GetInstanceMetadata`) and the federation
    /// (`FederateX509`) included.
    operation: String,
    /// Part of the caller's display name or OCID. Blank: anyone.
    #[serde(default)]
    caller: String,
    /// Part of the path. Blank: any.
    #[serde(default)]
    path: String,
    /// So many such calls pass first.
    #[serde(default)]
    skip: u64,
    /// How often. Blank: until it is taken away.
    #[serde(default)]
    times: Option<u64>,
    /// Of the calls that it could happen to.
    #[serde(default = "always")]
    probability: f64,
    #[serde(rename = "fault")]
    pub(crate) kind: Kind,
    #[serde(default, skip_deserializing)]
    hits: u64,
}

fn always() -> f64 {
    1.0
}

/// Faults at a time.
const MAX: usize = 200;

#[derive(Default)]
pub(crate) struct Faults {
    all: Vec<Fault>,
    last_id: u64,
}

/// A call that a fault might happen to.
pub(crate) struct Call<'a> {
    pub(crate) operation: &'a str,
    pub(crate) caller_id: &'a str,
    pub(crate) caller_name: &'a str,
    pub(crate) path: &'a str,
}

impl Faults {
    /// Its number; none when there are too many.
    pub(crate) fn add(&mut self, mut fault: Fault) -> Option<u64> {
        if self.all.len() >= MAX {
            return None;
        }
        self.last_id += 1;
        fault.id = self.last_id;
        self.all.push(fault);
        Some(self.last_id)
    }

    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let before = self.all.len();
        self.all.retain(|fault| fault.id != id);
        self.all.len() < before
    }

    pub(crate) fn clear(&mut self) {
        self.all.clear();
    }

    pub(crate) fn all(&self) -> &[Fault] {
        &self.all
    }

    /// What happens to this call, if anything. `dice` is a number in [0, 1).
    pub(crate) fn strike(&mut self, call: &Call<'_>, dice: f64) -> Option<Kind> {
        for fault in &mut self.all {
            let is_meant = (fault.operation == "*" || fault.operation == call.operation)
                && (call.caller_id.contains(&fault.caller) || call.caller_name.contains(&fault.caller))
                && call.path.contains(&fault.path)
                && fault.times.is_none_or(|times| fault.hits < times);
            if !is_meant {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if dice < fault.probability {
                fault.hits += 1;
                return Some(fault.kind.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        serde_json::from_str(text).unwrap()
    }

    fn strike(faults: &mut Faults, operation: &str, caller_name: &str) -> bool {
        let call = Call { operation, caller_id: "ocid1.instance.x", caller_name, path: "/n" };
        faults.strike(&call, 0.5).is_some()
    }

    #[test]
    fn a_fault_strikes_its_calls_as_often_as_ordered() {
        let mut faults = Faults::default();
        let text = r#"{"operation": "PutObject", "caller": "node-2", "skip": 1, "times": 2,
            "fault": {"kind": "error", "status": 429}}"#;
        let id = faults.add(fault(text)).unwrap();
        assert!(!strike(&mut faults, "GetObject", "node-2"));
        assert!(!strike(&mut faults, "PutObject", "node-1"));
        let struck: Vec<bool> = (0..4).map(|_| strike(&mut faults, "PutObject", "s-node-2")).collect();
        assert_eq!(struck, [false, true, true, false]);
        assert!(faults.remove(id));
        assert!(!faults.remove(id));
    }

    #[test]
    fn a_rare_fault_depends_on_the_dice() {
        let mut faults = Faults::default();
        faults.add(fault(r#"{"operation": "*", "probability": 0.4, "fault": {"kind": "hang"}}"#));
        assert!(!strike(&mut faults, "GetObject", "a"), "0.5 is not below 0.4");
        faults.add(fault(
            r#"{"operation": "*", "probability": 0.6, "fault": {"kind": "drop", "isDone": true}}"#,
        ));
        assert!(strike(&mut faults, "GetObject", "a"));
    }
}
