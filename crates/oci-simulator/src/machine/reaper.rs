//! Orphans of the machine come to its init, which must bury them.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, waitpid};

/// How often it looks.
const EVERY: Duration = Duration::from_millis(500);

/// Children that somebody waits for.
#[derive(Default)]
pub(super) struct Reaper {
    awaited: Mutex<HashSet<i32>>,
}

impl Reaper {
    pub(super) fn expect(&self, pid: i32) {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).insert(pid);
    }

    pub(super) fn forget(&self, pid: i32) {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
    }

    /// Buries orphans for ever. One that somebody waits for is left alone.
    pub(super) async fn run(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            for pid in children() {
                let is_awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner).contains(&pid);
                if !is_awaited && is_dead(pid) {
                    let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
                }
            }
        }
    }
}

fn children() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .collect()
}

fn is_dead(pid: i32) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    text.rfind(')').and_then(|at| text[at + 1..].split_whitespace().next()) == Some("Z")
}
