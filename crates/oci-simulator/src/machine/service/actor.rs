//! When a service runs: by order, and again as `Restart=` says, within its start limit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{Order, Phase, Status};
use crate::machine::spawn::Host;
use crate::machine::unit_file::UnitFile;

pub(super) struct Actor {
    pub(super) host: Arc<Host>,
    pub(super) unit: String,
    pub(super) definition: Box<dyn Fn() -> Option<UnitFile> + Send + Sync>,
    pub(super) orders: mpsc::Receiver<(Order, u64)>,
    pub(super) status: watch::Sender<Status>,
    /// When it was started lately.
    pub(super) starts: Vec<Instant>,
}

/// How a run of a service came to its end.
#[derive(PartialEq, Debug)]
pub(super) enum End {
    /// By order: number to acknowledge, and whether it is to start again.
    Ordered {
        number: u64,
        restart: bool,
    },
    Clean,
    /// The result as systemd names it.
    Failed(String),
}

impl Actor {
    pub(super) async fn run(mut self) {
        while let Some((order, number)) = self.orders.recv().await {
            match order {
                Order::Start | Order::Restart => self.runs(number).await,
                Order::ResetFailed => {
                    self.starts.clear();
                    self.set(Phase::Inactive, "dead", "success");
                    self.acknowledge(number);
                }
                Order::Stop => {
                    if self.status.borrow().phase != Phase::Failed {
                        self.set(Phase::Inactive, "dead", "success");
                    }
                    self.acknowledge(number);
                }
                Order::Reload => self.acknowledge(number),
            }
        }
    }

    pub(super) fn set(&self, phase: Phase, sub: &'static str, result: &str) {
        self.status.send_modify(|status| {
            (status.phase, status.sub, status.result) = (phase, sub, result.into());
            if !matches!(phase, Phase::Active | Phase::Deactivating) {
                status.main_pid = 0;
            }
        });
    }

    pub(super) fn acknowledge(&self, number: u64) {
        self.status.send_modify(|status| status.done = status.done.max(number));
    }

    pub(super) fn log(&self, text: &str) {
        use std::io::Write;
        if let Ok(mut log) = self.host.log(&self.unit) {
            let _ = writeln!(log, "systemd[1]: {}: {text}", self.unit);
        }
    }

    /// Starts, and starts again as `Restart=` says, until it stays down.
    async fn runs(&mut self, first: u64) {
        let mut number = first;
        self.status.send_modify(|status| status.restarts = 0);
        loop {
            let Some(file) = (self.definition)() else {
                self.set(Phase::Failed, "failed", "resources");
                self.acknowledge(number);
                return;
            };
            if let Some(path) = unmet_condition(&file, &self.host) {
                self.log(&format!("condition check failed: {path}"));
                self.set(Phase::Inactive, "dead", "success");
                self.acknowledge(number);
                return;
            }
            if self.is_too_often(&file) {
                self.log("start request repeated too quickly");
                self.set(Phase::Failed, "failed", "start-limit-hit");
                self.acknowledge(number);
                return;
            }
            let end = self.once(&file, number).await;
            // A start that never got to the point of being active is done now.
            self.acknowledge(number);
            let (restart, result) = match end {
                End::Ordered { number: ordered, restart } => {
                    self.set(Phase::Inactive, "dead", "success");
                    if !restart {
                        self.acknowledge(ordered);
                        return;
                    }
                    number = ordered;
                    self.set(Phase::Activating, "start", "success");
                    continue;
                }
                End::Clean => (
                    matches!(file.last("Service", "Restart"), Some("always" | "on-success")),
                    "success".into(),
                ),
                End::Failed(result) => (restarts_after(&file, &result), result),
            };
            if !restart {
                let (phase, sub) =
                    if result == "success" { (Phase::Inactive, "dead") } else { (Phase::Failed, "failed") };
                self.log(&format!("ended: {result}"));
                self.set(phase, sub, &result);
                return;
            }
            let pause = file.span("Service", "RestartSec", Duration::from_millis(100)).unwrap_or_default();
            self.log(&format!("ended: {result}; starts again in {pause:?}"));
            self.set(Phase::Activating, "auto-restart", &result);
            let Some(next) = self.pause(pause).await else { return };
            number = next.unwrap_or(number);
            self.status.send_modify(|status| status.restarts += 1);
        }
    }

    /// Waits before a restart. None when it was stopped meanwhile; a number when it was told to start.
    async fn pause(&mut self, pause: Duration) -> Option<Option<u64>> {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                () = sleep_until(until) => return Some(None),
                order = self.orders.recv() => match order {
                    Some((Order::Start | Order::Restart, number)) => return Some(Some(number)),
                    Some((Order::Stop | Order::ResetFailed, number)) => {
                        self.set(Phase::Inactive, "dead", "success");
                        self.acknowledge(number);
                        return None;
                    }
                    Some((Order::Reload, number)) => self.acknowledge(number),
                    None => return None,
                },
            }
        }
    }

    fn is_too_often(&mut self, file: &UnitFile) -> bool {
        let interval = file.span("Unit", "StartLimitIntervalSec", Duration::from_secs(10));
        let burst = file.last("Unit", "StartLimitBurst").and_then(|text| text.parse().ok()).unwrap_or(5);
        let Some(interval) = interval.filter(|interval| !interval.is_zero()) else { return false };
        self.starts.retain(|start| start.elapsed() < interval);
        self.starts.push(Instant::now());
        self.starts.len() > burst
    }
}

fn restarts_after(file: &UnitFile, result: &str) -> bool {
    match file.last("Service", "Restart").unwrap_or("no") {
        "always" | "on-failure" => result != "resources",
        "on-abnormal" => matches!(result, "signal" | "timeout" | "watchdog" | "core-dump"),
        "on-abort" => matches!(result, "signal" | "core-dump"),
        "on-watchdog" => result == "watchdog",
        _ => false,
    }
}

/// The first condition that does not hold.
fn unmet_condition(file: &UnitFile, host: &Host) -> Option<String> {
    let unmet = |path: &&str| {
        let (is_negated, bare) = path.strip_prefix('!').map_or((false, *path), |bare| (true, bare));
        // A unit that was written for this machine alone names the path on the host.
        let exists =
            host.root.join(bare.trim_start_matches('/')).exists() || std::path::Path::new(bare).exists();
        exists == is_negated
    };
    file.all("Unit", "ConditionPathExists").find(unmet).map(str::to_owned)
}
