//! Where boot is, in a file that outlives it: whoever looks at the machine, and the next run, can read what it waited
//! for.

use serde::{Deserialize, Serialize};

use super::host::{Host, HostError, Mode};

/// The file, under the machine's root.
pub const FILE: &str = "/var/lib/sala/boot.json";

/// In order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Identity,
    Access,
    Secrets,
    Address,
    Masters,
    Store,
    Settings,
    Start,
    Done,
}

impl Step {
    /// As a line says it: "boot stopped while …".
    pub fn doing(self) -> &'static str {
        match self {
            Step::Identity => "reading the instance metadata",
            Step::Access => "reaching the Vault",
            Step::Secrets => "getting the cluster's secrets",
            Step::Address => "publishing this master's address",
            Step::Masters => "waiting for the other masters",
            Step::Store => "forming the store",
            Step::Settings => "writing the configuration",
            Step::Start => "starting the node",
            Step::Done => "running",
        }
    }
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Of the deployment; empty until the metadata was read.
    pub generation: String,
    pub step: Step,
    /// Unix seconds.
    pub started_at: u64,
    pub step_since: u64,
    /// Absent while nothing is awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Why the last run ended, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub what: String,
    pub state: String,
    pub since: u64,
    pub until: u64,
    pub check: String,
}

impl Progress {
    pub fn begin(now: u64) -> Progress {
        Progress {
            generation: String::new(),
            step: Step::Identity,
            started_at: now,
            step_since: now,
            waiting: None,
            failed: None,
        }
    }

    /// The last run's. A file that cannot be understood counts as none: it is a note, not a truth.
    pub async fn load(host: &impl Host) -> Result<Option<Progress>, HostError> {
        let text = host.read(FILE).await?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    pub async fn store(&self, host: &impl Host) -> Result<(), HostError> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        host.write(FILE, &text, Mode::All).await.map(drop)
    }
}
