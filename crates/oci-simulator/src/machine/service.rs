//! A service's life: one task per unit, which takes orders and watches its processes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::command_line::{self, CommandLine};
use super::environment_file::{placed, variables};
use super::notify::{Message, Socket};
use super::spawn::{Host, Process};
use super::unit_file::UnitFile;

/// As `systemctl is-active` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Active {
    Inactive,
    Activating,
    Active,
    Deactivating,
    Failed,
}

impl Active {
    pub(super) fn name(self) -> &'static str {
        match self {
            Active::Inactive => "inactive",
            Active::Activating => "activating",
            Active::Active => "active",
            Active::Deactivating => "deactivating",
            Active::Failed => "failed",
        }
    }

    /// A job that led here is over.
    pub(super) fn is_settled(self) -> bool {
        matches!(self, Active::Inactive | Active::Active | Active::Failed)
    }
}

/// What is shown of a service.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) active: Active,
    pub(super) sub: &'static str,
    pub(super) main_pid: i32,
    pub(super) result: String,
    pub(super) restarts: u64,
    pub(super) text: String,
    /// Orders that are done.
    pub(super) done: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Start,
    Stop,
    Restart,
    Reload,
    ResetFailed,
}

/// The handle of a service.
#[derive(Clone)]
pub(super) struct Service {
    orders: mpsc::Sender<(Order, u64)>,
    pub(super) status: watch::Receiver<Status>,
}

/// Orders that wait.
const MAX_ORDERS: usize = 32;

impl Service {
    /// A service that does not run. `definition` is asked at each start.
    pub(super) fn new(
        host: Arc<Host>,
        unit: String,
        definition: impl Fn() -> Option<UnitFile> + Send + Sync + 'static,
    ) -> Service {
        let (orders, receiver) = mpsc::channel(MAX_ORDERS);
        let status = Status {
            active: Active::Inactive,
            sub: "dead",
            main_pid: 0,
            result: "success".into(),
            restarts: 0,
            text: String::new(),
            done: 0,
        };
        let (sender, status) = watch::channel(status);
        let actor = Actor {
            host,
            unit,
            definition: Box::new(definition),
            orders: receiver,
            status: sender,
            starts: Vec::new(),
        };
        tokio::spawn(actor.run());
        Service { orders, status }
    }

    /// Gives an order. Its number shows in [`Status::done`] when it is done.
    pub(super) async fn order(&self, order: Order, number: u64) {
        let _ = self.orders.send((order, number)).await;
    }

    /// Waits until an order is done and its effect is there.
    pub(super) async fn done(&self, number: u64) -> Status {
        let mut status = self.status.clone();
        match status.wait_for(|status| status.done >= number).await {
            Ok(status) => status.clone(),
            Err(_) => self.status.borrow().clone(),
        }
    }
}

struct Actor {
    host: Arc<Host>,
    unit: String,
    definition: Box<dyn Fn() -> Option<UnitFile> + Send + Sync>,
    orders: mpsc::Receiver<(Order, u64)>,
    status: watch::Sender<Status>,
    /// When it was started lately.
    starts: Vec<Instant>,
}

/// How a run of a service came to its end.
#[derive(PartialEq, Debug)]
enum End {
    /// By order: number to acknowledge, and whether it is to start again.
    Ordered {
        number: u64,
        restart: bool,
    },
    Clean,
    /// The result as systemd names it.
    Failed(String),
}

/// What one start needs.
struct Run {
    file: UnitFile,
    environment: BTreeMap<String, String>,
    directory: PathBuf,
    kind: String,
}

impl Actor {
    async fn run(mut self) {
        while let Some((order, number)) = self.orders.recv().await {
            match order {
                Order::Start | Order::Restart => self.runs(number).await,
                Order::ResetFailed => {
                    self.starts.clear();
                    self.set(Active::Inactive, "dead", "success");
                    self.acknowledge(number);
                }
                Order::Stop => {
                    if self.status.borrow().active != Active::Failed {
                        self.set(Active::Inactive, "dead", "success");
                    }
                    self.acknowledge(number);
                }
                Order::Reload => self.acknowledge(number),
            }
        }
    }

    fn set(&self, active: Active, sub: &'static str, result: &str) {
        self.status.send_modify(|status| {
            (status.active, status.sub, status.result) = (active, sub, result.into());
            if !matches!(active, Active::Active | Active::Deactivating) {
                status.main_pid = 0;
            }
        });
    }

    fn acknowledge(&self, number: u64) {
        self.status.send_modify(|status| status.done = status.done.max(number));
    }

    fn log(&self, text: &str) {
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
                self.set(Active::Failed, "failed", "resources");
                self.acknowledge(number);
                return;
            };
            if let Some(path) = unmet_condition(&file, &self.host) {
                self.log(&format!("condition check failed: {path}"));
                self.set(Active::Inactive, "dead", "success");
                self.acknowledge(number);
                return;
            }
            if self.is_too_often(&file) {
                self.log("start request repeated too quickly");
                self.set(Active::Failed, "failed", "start-limit-hit");
                self.acknowledge(number);
                return;
            }
            let end = self.once(&file, number).await;
            // A start that never got to the point of being active is done now.
            self.acknowledge(number);
            let (restart, result) = match end {
                End::Ordered { number: ordered, restart } => {
                    self.set(Active::Inactive, "dead", "success");
                    if !restart {
                        self.acknowledge(ordered);
                        return;
                    }
                    number = ordered;
                    self.set(Active::Activating, "start", "success");
                    continue;
                }
                End::Clean => (
                    matches!(file.last("Service", "Restart"), Some("always" | "on-success")),
                    "success".into(),
                ),
                End::Failed(result) => (restarts_after(&file, &result), result),
            };
            if !restart {
                let (active, sub) =
                    if result == "success" { (Active::Inactive, "dead") } else { (Active::Failed, "failed") };
                self.log(&format!("ended: {result}"));
                self.set(active, sub, &result);
                return;
            }
            let pause = file.span("Service", "RestartSec", Duration::from_millis(100)).unwrap_or_default();
            self.log(&format!("ended: {result}; starts again in {pause:?}"));
            self.set(Active::Activating, "auto-restart", &result);
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
                        self.set(Active::Inactive, "dead", "success");
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

    fn prepared(&self, file: &UnitFile) -> Result<Run, String> {
        let root = &self.host.root;
        let environment = variables(file, root)?;
        for (key, base) in
            [("RuntimeDirectory", "run"), ("StateDirectory", "var/lib"), ("LogsDirectory", "var/log")]
        {
            for name in file.words("Service", key) {
                let directory = root.join(base).join(name);
                std::fs::create_dir_all(&directory)
                    .map_err(|error| format!("{}: {error}", directory.display()))?;
            }
        }
        let directory = file
            .last("Service", "WorkingDirectory")
            .map_or_else(|| root.clone(), |path| placed(root, path.trim_start_matches('-')));
        let kind = file.last("Service", "Type").unwrap_or("simple").to_owned();
        Ok(Run { file: file.clone(), environment, directory, kind })
    }

    fn commands(&self, run: &Run, key: &str) -> Result<Vec<CommandLine>, String> {
        let mut known: BTreeMap<String, String> = std::env::vars().collect();
        known.extend(run.environment.clone());
        if let pid @ 1.. = self.status.borrow().main_pid {
            known.insert("MAINPID".into(), pid.to_string());
        }
        let texts = run.file.all("Service", key);
        texts.map(|text| command_line::parse(text, &self.unit, &self.host.root, &known)).collect()
    }

    /// Runs commands one after the other.
    async fn all_of(&self, run: &Run, key: &str) -> Result<(), String> {
        for command in self.commands(run, key)? {
            let mut environment = run.environment.clone();
            if let pid @ 1.. = self.status.borrow().main_pid {
                environment.insert("MAINPID".into(), pid.to_string());
            }
            let mut process = Process::start(&self.host, &self.unit, &command, &environment, &run.directory)?;
            let status = process.wait().await.map_err(|error| error.to_string())?;
            if !status.success() && !command.may_fail {
                return Err(format!("{key} {}: {status}", command.argv[0]));
            }
        }
        Ok(())
    }

    /// One start, up to its end.
    async fn once(&mut self, file: &UnitFile, number: u64) -> End {
        self.set(Active::Activating, "start", "success");
        let end = match self.prepared(file) {
            Ok(run) => {
                let end = self.started(&run, number).await;
                self.cleaned(&run).await;
                end
            }
            Err(error) => {
                self.log(&error);
                End::Failed("resources".into())
            }
        };
        self.status.send_modify(|status| status.text.clear());
        end
    }

    async fn started(&mut self, run: &Run, number: u64) -> End {
        if let Err(error) = self.all_of(run, "ExecStartPre").await {
            self.log(&error);
            return End::Failed("exit-code".into());
        }
        let commands = match self.commands(run, "ExecStart") {
            Ok(commands) => commands,
            Err(error) => {
                self.log(&error);
                return End::Failed("resources".into());
            }
        };
        if run.kind == "oneshot" {
            return self.oneshot(run, commands, number).await;
        }
        let [command] = &commands[..] else {
            self.log("a service that is not oneshot needs exactly one ExecStart");
            return End::Failed("resources".into());
        };
        self.long_running(run, command, number).await
    }

    async fn oneshot(&mut self, run: &Run, commands: Vec<CommandLine>, number: u64) -> End {
        let limit = run
            .file
            .span("Service", "TimeoutStartSec", Duration::MAX)
            .filter(|limit| *limit != Duration::MAX);
        let deadline = limit.map(|limit| Instant::now() + limit);
        for command in commands {
            let started = Process::start(&self.host, &self.unit, &command, &run.environment, &run.directory);
            let mut process = match started {
                Ok(process) => process,
                Err(error) => {
                    self.log(&error);
                    return End::Failed("exit-code".into());
                }
            };
            self.status.send_modify(|status| status.main_pid = process.pid);
            let ended = tokio::select! {
                status = process.wait() => Ok(status),
                () = at(deadline) => Err(End::Failed("timeout".into())),
                end = self.told(run) => Err(end),
            };
            match ended {
                Ok(status) => match result_of(&status) {
                    Some(result) if !command.may_fail => return End::Failed(result),
                    _ => {}
                },
                Err(end) => {
                    self.stopped(run, Some(process)).await;
                    return end;
                }
            }
        }
        if let Err(error) = self.all_of(run, "ExecStartPost").await {
            self.log(&error);
            return End::Failed("exit-code".into());
        }
        if !run.file.is_true("Service", "RemainAfterExit") {
            return End::Clean;
        }
        self.set(Active::Active, "exited", "success");
        self.acknowledge(number);
        let end = self.told(run).await;
        self.stopped(run, None).await;
        end
    }

    async fn long_running(&mut self, run: &Run, command: &CommandLine, number: u64) -> End {
        let mut environment = run.environment.clone();
        let watchdog = run.file.span("Service", "WatchdogSec", Duration::ZERO).filter(|span| !span.is_zero());
        let mut socket = None;
        if run.kind == "notify" || watchdog.is_some() || run.file.last("Service", "NotifyAccess").is_some() {
            let path = self.host.run.join(format!("n-{}", self.unit));
            match Socket::bind(&path) {
                Ok(bound) => socket = Some(bound),
                Err(error) => {
                    self.log(&format!("notify socket {}: {error}", path.display()));
                    return End::Failed("resources".into());
                }
            }
            environment.insert("NOTIFY_SOCKET".into(), path.display().to_string());
        }
        if let Some(span) = watchdog {
            environment.insert("WATCHDOG_USEC".into(), span.as_micros().to_string());
        }
        let mut main = match Process::start(&self.host, &self.unit, command, &environment, &run.directory) {
            Ok(main) => main,
            Err(error) => {
                self.log(&error);
                return End::Failed("exit-code".into());
            }
        };
        self.status.send_modify(|status| status.main_pid = main.pid);
        let mut is_ready = run.kind != "notify";
        let start_limit = run.file.span("Service", "TimeoutStartSec", Duration::from_secs(90));
        let mut start_deadline = start_limit.map(|limit| Instant::now() + limit);
        let mut watchdog_deadline = None;
        if is_ready {
            self.activated(run, number).await;
            watchdog_deadline = watchdog.map(|span| Instant::now() + span);
        }
        let end = loop {
            tokio::select! {
                status = main.wait() => match result_of(&status) {
                    Some(result) => return End::Failed(result),
                    None if !is_ready => return End::Failed("protocol".into()),
                    None => return End::Clean,
                },
                messages = received(socket.as_ref()) => for message in messages {
                    match message {
                        Message::Ready if !is_ready => {
                            is_ready = true;
                            self.activated(run, number).await;
                            watchdog_deadline = watchdog.map(|span| Instant::now() + span);
                        }
                        Message::Watchdog => watchdog_deadline = watchdog.map(|span| Instant::now() + span),
                        Message::WatchdogTrigger => watchdog_deadline = Some(Instant::now()),
                        Message::Status(text) => self.status.send_modify(|status| status.text = text),
                        Message::ExtendTimeout(by) if !is_ready => start_deadline = Some(Instant::now() + by),
                        Message::MainPid(pid) => self.status.send_modify(|status| status.main_pid = pid),
                        Message::Ready | Message::Stopping | Message::ExtendTimeout(_) => {}
                    }
                },
                () = at(start_deadline.filter(|_| !is_ready)) => {
                    self.log("start operation timed out");
                    break End::Failed("timeout".into());
                }
                () = at(watchdog_deadline) => {
                    self.log("watchdog timeout");
                    // As systemd does, so that a core says where it hung.
                    main.signal(Signal::ABORT);
                    break End::Failed("watchdog".into());
                }
                end = self.told(run) => break end,
            }
        };
        self.stopped_notifying(run, Some(main), socket).await;
        end
    }

    /// It is up.
    async fn activated(&mut self, run: &Run, number: u64) {
        if let Err(error) = self.all_of(run, "ExecStartPost").await {
            self.log(&error);
        }
        self.status.send_modify(|status| (status.active, status.sub) = (Active::Active, "running"));
        self.acknowledge(number);
    }

    /// Waits for an order that ends this run.
    async fn told(&mut self, run: &Run) -> End {
        loop {
            match self.orders.recv().await {
                None => return End::Ordered { number: 0, restart: false },
                Some((Order::Stop, number)) => return End::Ordered { number, restart: false },
                Some((Order::Restart, number)) => return End::Ordered { number, restart: true },
                Some((Order::Reload, number)) => {
                    if let Err(error) = self.all_of(run, "ExecReload").await {
                        self.log(&error);
                    }
                    self.acknowledge(number);
                }
                Some((Order::Start, number)) => {
                    // It runs, or is about to: then the start waits for that.
                    if self.status.borrow().active == Active::Active {
                        self.acknowledge(number);
                    } else {
                        let sender = self.status.clone();
                        let mut status = self.status.subscribe();
                        tokio::spawn(async move {
                            let _ = status.wait_for(|status| status.active.is_settled()).await;
                            sender.send_modify(|status| status.done = status.done.max(number));
                        });
                    }
                }
                Some((Order::ResetFailed, number)) => self.acknowledge(number),
            }
        }
    }

    async fn stopped(&mut self, run: &Run, main: Option<Process>) {
        self.stopped_notifying(run, main, None).await;
    }

    /// Stops what runs: `ExecStop=`, then the signal, then after the timeout the hard way.
    async fn stopped_notifying(&mut self, run: &Run, main: Option<Process>, socket: Option<Socket>) {
        self.status.send_modify(|status| (status.active, status.sub) = (Active::Deactivating, "stop"));
        let limit = run.file.span("Service", "TimeoutStopSec", Duration::from_secs(90));
        let mut deadline = limit.map(|limit| Instant::now() + limit);
        tokio::select! {
            result = self.all_of(run, "ExecStop") => if let Err(error) = result {
                self.log(&error);
            },
            () = at(deadline) => self.log("ExecStop timed out"),
        }
        let signal =
            run.file.last("Service", "KillSignal").and_then(super::signal_named).unwrap_or(Signal::TERM);
        let is_whole = !matches!(run.file.last("Service", "KillMode"), Some("mixed" | "process" | "none"));
        if let Some(mut main) = main {
            if is_whole {
                self.host.signal(&self.unit, signal);
            } else {
                main.signal(signal);
            }
            loop {
                tokio::select! {
                    _ = main.wait() => break,
                    messages = received(socket.as_ref()) => for message in messages {
                        match message {
                            Message::ExtendTimeout(by) => deadline = Some(Instant::now() + by),
                            Message::Status(text) => self.status.send_modify(|status| status.text = text),
                            _ => {}
                        }
                    },
                    () = at(deadline) => {
                        self.log("stop timed out: killed");
                        self.host.kill(&self.unit);
                        let _ = main.wait().await;
                        break;
                    }
                }
            }
        }
        // What the main process left behind gets until the deadline, too.
        while !self.host.pids(&self.unit).is_empty() {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) || !is_whole {
                self.host.kill(&self.unit);
                break;
            }
            self.host.signal(&self.unit, signal);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// After any end: nothing of the unit is left, and `ExecStopPost=` has run.
    async fn cleaned(&mut self, run: &Run) {
        if run.file.last("Service", "KillMode") != Some("process") {
            self.host.kill(&self.unit);
        }
        if let Err(error) = self.all_of(run, "ExecStopPost").await {
            self.log(&error);
        }
    }
}

/// At a time, or never.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn received(socket: Option<&Socket>) -> Vec<Message> {
    match socket {
        Some(socket) => socket.receive().await,
        None => std::future::pending().await,
    }
}

/// None if it ended well.
fn result_of(status: &std::io::Result<ExitStatus>) -> Option<String> {
    use std::os::unix::process::ExitStatusExt;
    match status {
        Ok(status) if status.success() => None,
        // These ends are what a stop looks like.
        Ok(status) if matches!(status.signal(), Some(1 | 2 | 13 | 15)) => None,
        Ok(status) if status.core_dumped() => Some("core-dump".into()),
        Ok(status) if status.signal().is_some() => Some("signal".into()),
        Ok(_) => Some("exit-code".into()),
        Err(_) => Some("resources".into()),
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
        host.root.join(bare.trim_start_matches('/')).exists() == is_negated
    };
    file.all("Unit", "ConditionPathExists").find(unmet).map(str::to_owned)
}
