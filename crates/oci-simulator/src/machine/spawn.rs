//! Starts a unit's processes, and ends what is left of them.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::UNIT;
use super::command_line::CommandLine;
use super::reaper::Reaper;
use crate::runtime::processes::{INSTANCE, kill_marked, marked};

/// What all processes of a machine share.
pub(super) struct Host {
    pub(super) root: PathBuf,
    /// Home of sockets.
    pub(super) run: PathBuf,
    pub(super) instance: String,
    pub(super) reaper: Reaper,
}

impl Host {
    /// Where a unit's output goes.
    pub(super) fn log(&self, unit: &str) -> std::io::Result<File> {
        let directory = self.root.join("var/log/units");
        std::fs::create_dir_all(&directory)?;
        OpenOptions::new().create(true).append(true).open(directory.join(format!("{unit}.log")))
    }

    /// Everything that runs for a unit.
    pub(super) fn pids(&self, unit: &str) -> Vec<Pid> {
        marked(&[(INSTANCE, &self.instance), (UNIT, unit)])
    }

    /// Ends everything that runs for a unit, at once.
    pub(super) fn kill(&self, unit: &str) {
        kill_marked(&[(INSTANCE, &self.instance), (UNIT, unit)]);
    }

    pub(super) fn signal(&self, unit: &str, signal: Signal) {
        for pid in self.pids(unit) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// A process that somebody waits for.
pub(super) struct Process {
    child: Child,
    pub(super) pid: i32,
    host: Arc<Host>,
}

impl Process {
    /// # Errors
    /// When the program does not run.
    pub(super) fn start(
        host: &Arc<Host>,
        unit: &str,
        command: &CommandLine,
        environment: &BTreeMap<String, String>,
        directory: &Path,
    ) -> Result<Process, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", command.argv[0]);
        let log = host.log(unit).map_err(failed)?;
        let child = Command::new(&command.argv[0])
            .args(&command.argv[1..])
            .envs(environment)
            .env(UNIT, unit)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let pid = child.id().unwrap_or_default() as i32;
        host.reaper.expect(pid);
        Ok(Process { child, pid, host: host.clone() })
    }

    /// Waits for its end. May be called again after it was dropped half-way.
    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.host.reaper.forget(self.pid);
    }
}
