//! The processes of the cluster: started, watched, signalled, and gone when this process is.
//!
//! Nothing outlives `sala cluster up`: each child is in a process group of its own (Ctrl-C reaches only us, and we
//! stop them in order), and `setpriv --pdeathsig` has the kernel kill it should we be killed ourselves.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::plan::{ProcessName, Program};

/// How to start a process.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// Network namespace to run in.
    pub(crate) namespace: Option<String>,
    /// Gets both outputs, appended. Readable by us alone.
    pub(crate) log: PathBuf,
}

/// Where a process is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Running,
    /// By SIGSTOP: it holds its sockets and does nothing.
    Stopped,
    Ended,
}

/// One that was started.
#[derive(Debug)]
struct Process {
    spec: Spec,
    pid: Pid,
    state: State,
    started: Instant,
    /// Tells the end of this run from that of one before.
    run: u64,
    /// How it ended, in words.
    end: String,
    /// The end was asked for.
    expected: bool,
}

/// A process has ended.
#[derive(Debug)]
pub(crate) struct Exit {
    name: ProcessName,
    run: u64,
    status: std::io::Result<ExitStatus>,
}

/// What an [`Exit`] turned out to be.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) name: ProcessName,
    /// Such as `exit status 1` or `signal 9`.
    pub(crate) how: String,
    /// Whether a command asked for it.
    pub(crate) expected: bool,
}

/// All processes.
#[derive(Debug)]
pub(crate) struct Processes {
    all: HashMap<ProcessName, Process>,
    exits: mpsc::Sender<Exit>,
    runs: u64,
    setpriv: bool,
    /// Killed a moment ago.
    killed: Vec<Pid>,
}

/// Ends that wait for the main loop. There are at most 34 processes.
const EXIT_QUEUE: usize = 64;

impl Processes {
    /// None yet. The receiver's items belong to [`Processes::ended`].
    pub(crate) fn new() -> (Processes, mpsc::Receiver<Exit>) {
        let (exits, receiver) = mpsc::channel(EXIT_QUEUE);
        let setpriv = find_program("setpriv").is_some();
        (Processes { all: HashMap::new(), exits, runs: 0, setpriv, killed: Vec::new() }, receiver)
    }

    /// Starts one.
    ///
    /// # Errors
    /// When it runs already, or cannot be started.
    pub(crate) fn start(&mut self, name: ProcessName, spec: Spec) -> anyhow::Result<()> {
        if self.all.get(&name).is_some_and(|process| process.state != State::Ended) {
            bail!("{name} runs already");
        }
        let mut child = self.spawn(&spec).with_context(|| format!("cannot start {name}"))?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid as i32)).context("it ended at once")?;
        self.runs += 1;
        let run = self.runs;
        let (exits, exit_of) = (self.exits.clone(), name.clone());
        tokio::spawn(async move {
            let status = child.wait().await;
            let _ = exits.send(Exit { name: exit_of, run, status }).await;
        });
        let started = Instant::now();
        let process =
            Process { spec, pid, state: State::Running, started, run, end: String::new(), expected: false };
        self.all.insert(name, process);
        Ok(())
    }

    fn spawn(&self, spec: &Spec) -> anyhow::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&spec.log);
        let log = log.with_context(|| format!("cannot write {}", spec.log.display()))?;
        let mut words: Vec<OsString> = Vec::new();
        if let Some(namespace) = &spec.namespace {
            words.extend(["ip", "netns", "exec", namespace].map(OsString::from));
        }
        if self.setpriv {
            words.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from));
        }
        words.push(spec.program.clone().into());
        words.extend(spec.arguments.iter().cloned());
        Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not run", words[0].to_string_lossy()))
    }

    /// Starts it again as it was.
    ///
    /// # Errors
    /// When it was never started, runs still, or cannot be started.
    pub(crate) fn restart(&mut self, name: &ProcessName) -> anyhow::Result<()> {
        let process = self.all.get(name).with_context(|| format!("{name} was never started"))?;
        self.start(name.clone(), process.spec.clone())
    }

    /// Books an end. None if it was that of an earlier run.
    pub(crate) fn ended(&mut self, exit: Exit) -> Option<Ended> {
        let process = self.all.get_mut(&exit.name).filter(|process| process.run == exit.run)?;
        process.state = State::Ended;
        process.end = match exit.status {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit status {code}"),
                (_, Some(signal)) => format!("signal {signal}"),
                _ => "unknown end".into(),
            },
            Err(error) => error.to_string(),
        };
        Some(Ended { name: exit.name, how: process.end.clone(), expected: process.expected })
    }

    /// Sends a signal. Stop and continue are remembered for the view.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn signal(&mut self, name: &ProcessName, signal: Signal) -> anyhow::Result<()> {
        let process = self.all.get_mut(name).with_context(|| format!("{name} was never started"))?;
        if process.state == State::Ended {
            bail!("{name} has ended ({}); `sala cluster restart {name}` starts it again", process.end);
        }
        kill_process(process.pid, signal).with_context(|| format!("cannot signal {name}"))?;
        match signal {
            Signal::STOP => process.state = State::Stopped,
            Signal::CONT => process.state = State::Running,
            Signal::KILL => {
                (process.expected, process.state) = (true, State::Ended);
                process.end = format!("signal {}", Signal::KILL.as_raw());
                self.killed.push(process.pid);
            }
            Signal::TERM | Signal::INT => process.expected = true,
            _ => {}
        }
        Ok(())
    }

    /// Waits until the kernel has taken apart what was killed: a matter of milliseconds.
    pub(crate) fn killed_are_gone(&mut self) -> impl Future<Output = ()> + use<> {
        let wait = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let killed = std::mem::take(&mut self.killed);
        async move {
            for pid in killed {
                while matches!(waitid(WaitId::Pid(pid), wait), Ok(None)) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }

    /// State, process id, and time since the start.
    pub(crate) fn get(&self, name: &ProcessName) -> Option<(State, i32, Duration)> {
        let process = self.all.get(name)?;
        Some((process.state, process.pid.as_raw_nonzero().get(), process.started.elapsed()))
    }

    /// How it ended, if it did.
    pub(crate) fn end_of(&self, name: &ProcessName) -> Option<&str> {
        let process = self.all.get(name)?;
        (process.state == State::Ended).then_some(&process.end)
    }

    /// Ends all: first `sala` with SIGINT (leave at once, no drain) and SIGKILL for what is slow, then etcd, whose
    /// data is of no use any more.
    pub(crate) async fn stop_all(&mut self, exits: &mut mpsc::Receiver<Exit>) {
        /// What a node may take to tell its clients.
        const PATIENCE: Duration = Duration::from_secs(3);
        let gentle = &[Signal::INT, Signal::CONT][..];
        for (program, signals) in
            [(Program::Sala, gentle), (Program::Sala, &[Signal::KILL]), (Program::Etcd, &[Signal::KILL])]
        {
            let left = self.alive(program);
            for (name, signal) in left.iter().flat_map(|name| signals.iter().map(move |s| (name, *s))) {
                let _ = self.signal(name, signal);
            }
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while !self.alive(program).is_empty() {
                match tokio::time::timeout_at(deadline, exits.recv()).await {
                    Ok(Some(exit)) => drop(self.ended(exit)),
                    _ => break,
                }
            }
        }
    }

    fn alive(&self, program: Program) -> Vec<ProcessName> {
        let alive = self
            .all
            .iter()
            .filter(|(name, process)| name.program == program && process.state != State::Ended);
        alive.map(|(name, _)| name.clone()).collect()
    }
}

/// Where a program is on the PATH, or in the places of administration that a user's PATH lacks.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/bin"].map(PathBuf::from));
    places.map(|place| place.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(log: PathBuf) -> Spec {
        Spec { program: find_program("sleep").unwrap(), arguments: vec!["1000".into()], namespace: None, log }
    }

    #[tokio::test]
    async fn a_stopped_process_is_ended_too() {
        let log = std::env::temp_dir().join(format!("sala-process-test-{}", std::process::id()));
        let (mut processes, mut exits) = Processes::new();
        let names = [Program::Sala, Program::Etcd].map(|program| ProcessName { host: "m1".into(), program });
        for name in &names {
            processes.start(name.clone(), sleeper(log.clone())).unwrap();
        }
        assert!(processes.start(names[0].clone(), sleeper(log.clone())).is_err(), "it runs already");
        processes.signal(&names[0], Signal::STOP).unwrap();
        assert_eq!(processes.get(&names[0]).unwrap().0, State::Stopped);

        processes.stop_all(&mut exits).await;
        for name in &names {
            assert_eq!(processes.get(name).unwrap().0, State::Ended);
            assert!(processes.end_of(name).is_some());
            assert!(
                processes.signal(name, Signal::KILL).is_err(),
                "no signal goes to a process id that is free"
            );
        }
        let _ = std::fs::remove_file(log);
    }
}
