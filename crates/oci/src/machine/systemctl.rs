//! `systemctl`, found by PATH: the real one, or the rehearsal's.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::boot::{HostError, UnitState};

/// Nothing is waited for that takes longer: units are started with `--no-block`.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest text of an error that is shown.
const MAX_REASON: usize = 400;

/// How units are managed.
#[derive(Clone, Debug, Default)]
pub struct Systemctl {}

impl Systemctl {
    /// # Errors
    /// With what systemctl said.
    pub async fn run(&self, arguments: &[&str]) -> Result<(), HostError> {
        let (success, text) = self.output(arguments).await?;
        if success { Ok(()) } else { Err(error(arguments, &text)) }
    }

    pub async fn state(&self, unit: &str) -> Result<UnitState, HostError> {
        // Its exit code tells the same; the text tells more.
        let (_, text) = self.output(&["is-active", unit]).await?;
        Ok(match text.trim() {
            "active" | "reloading" => UnitState::Active,
            "activating" => UnitState::Starting,
            "failed" => UnitState::Failed,
            _ => UnitState::Inactive,
        })
    }

    async fn output(&self, arguments: &[&str]) -> Result<(bool, String), HostError> {
        let output =
            Command::new("systemctl").args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE, output)
            .await
            .map_err(|_| error(arguments, &format!("no answer within {PATIENCE:?}")))?
            .map_err(|reason| error(arguments, &reason.to_string()))?;
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }
}

fn error(arguments: &[&str], reason: &str) -> HostError {
    HostError {
        doing: format!("systemctl {}", arguments.join(" ")),
        reason: reason.trim().chars().take(MAX_REASON).collect(),
        remedy: "run it by hand as root, and see `journalctl -xe`".to_owned(),
    }
}
