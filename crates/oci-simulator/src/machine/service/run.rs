//! One start of a service: commands before, the process itself until it ends or is told to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep_until};

use super::actor::{Actor, End};
use super::{Order, Phase};
use crate::machine::command_line::{self, CommandLine};
use crate::machine::environment_file::{placed, variables};
use crate::machine::notify::{Message, Socket};
use crate::machine::spawn::Process;
use crate::machine::unit_file::UnitFile;

/// What one start needs.
pub(super) struct Run {
    pub(super) file: UnitFile,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) directory: PathBuf,
    pub(super) kind: String,
}

impl Actor {
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
    pub(super) async fn all_of(&self, run: &Run, key: &str) -> Result<(), String> {
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
    pub(super) async fn once(&mut self, file: &UnitFile, number: u64) -> End {
        self.set(Phase::Activating, "start", "success");
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
        self.set(Phase::Active, "exited", "success");
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
        self.status.send_modify(|status| (status.phase, status.sub) = (Phase::Active, "running"));
        self.acknowledge(number);
    }

    /// Waits for an order that ends this run.
    pub(super) async fn told(&mut self, run: &Run) -> End {
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
                    if self.status.borrow().phase == Phase::Active {
                        self.acknowledge(number);
                    } else {
                        let sender = self.status.clone();
                        let mut status = self.status.subscribe();
                        tokio::spawn(async move {
                            let _ = status.wait_for(|status| status.phase.is_settled()).await;
                            sender.send_modify(|status| status.done = status.done.max(number));
                        });
                    }
                }
                Some((Order::ResetFailed, number)) => self.acknowledge(number),
            }
        }
    }
}

/// At a time, or never.
pub(super) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

pub(super) async fn received(socket: Option<&Socket>) -> Vec<Message> {
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
