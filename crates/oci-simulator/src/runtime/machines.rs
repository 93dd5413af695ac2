//! Instances as processes: a supervisor each, which plays the machine's init, and everything below it.

use std::collections::HashMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, Command};
use tokio::sync::mpsc;

use super::Shared;
use super::processes::{INSTANCE, Table, kill_marked};
use crate::cloud::compute::{Instance, Power};
use crate::cloud::{Cloud, Now};
use crate::machine;

/// Names under which a machine finds the simulator's `systemctl`.
const LINKS: [&str; 2] = ["systemctl", "journalctl"];

/// A machine that runs.
struct Running {
    pid: i32,
    /// Tells this run from one before.
    run: u64,
    button: mpsc::Sender<()>,
    /// Processor seconds of each process when last looked.
    used: HashMap<i32, f64>,
}

#[derive(Default)]
struct State {
    running: HashMap<String, Running>,
    /// Directories by instance.
    homes: HashMap<String, PathBuf>,
    runs: u64,
}

/// All of them.
pub(crate) struct Machines {
    state: Mutex<State>,
    directory: PathBuf,
    program: PathBuf,
}

impl Machines {
    /// Makes the directory that machines find `systemctl` in.
    ///
    /// # Errors
    /// When the state directory cannot be written.
    pub(super) fn new(directory: &Path) -> std::io::Result<Machines> {
        let program = std::env::current_exe()?;
        let bin = directory.join("bin");
        std::fs::create_dir_all(&bin)?;
        for link in LINKS {
            let link = bin.join(link);
            let _ = std::fs::remove_file(&link);
            symlink(&program, link)?;
        }
        Ok(Machines { state: Mutex::default(), directory: directory.to_owned(), program })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where an instance's file system begins.
    pub(crate) fn root(&self, instance: &str) -> Option<PathBuf> {
        self.state().homes.get(instance).map(|home| home.join("root"))
    }

    /// `PATH` of a machine.
    fn path(&self) -> String {
        let bin = self.directory.join("bin");
        let rest =
            std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into());
        format!("{}:{rest}", bin.display())
    }

    /// A directory of its own for an instance, kept over restarts.
    fn home(&self, instance: &Instance) -> PathBuf {
        let mut state = self.state();
        if let Some(home) = state.homes.get(&instance.id) {
            return home.clone();
        }
        let name: String = instance
            .display_name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' })
            .take(60)
            .collect();
        let machines = self.directory.join("machines");
        let candidates = std::iter::once(name.clone()).chain((2..).map(|n| format!("{name}-{n}")));
        let mut free = candidates
            .map(|name| machines.join(name))
            .filter(|home| !state.homes.values().any(|taken| taken == home));
        let home = free.next().unwrap_or_else(|| machines.join(&instance.id));
        state.homes.insert(instance.id.clone(), home.clone());
        home
    }

    /// Asks it to shut down.
    pub(super) fn press_button(&self, instance: &str) {
        if let Some(running) = self.state().running.get(instance) {
            let _ = running.button.try_send(());
        }
    }

    /// Ends everything on it at once.
    pub(super) fn power_off(&self, instance: &str) {
        self.state().running.remove(instance);
        kill_marked(&[(INSTANCE, instance)]);
    }

    /// Ends everything on all of them.
    pub(super) fn power_off_all(&self) {
        let all: Vec<String> = self.state().running.drain().map(|(instance, _)| instance).collect();
        for instance in all {
            kill_marked(&[(INSTANCE, &instance)]);
        }
    }

    /// Processor seconds that each has used since last asked.
    pub(super) fn used(&self) -> Vec<(String, f64)> {
        let table = Table::read();
        let mut state = self.state();
        let each = state.running.iter_mut().map(|(instance, running)| {
            let now = table.tree(running.pid);
            let fresh = now.iter().map(|(pid, seconds)| {
                let before = running.used.get(pid).copied().unwrap_or(0.0);
                (seconds - before).max(0.0)
            });
            let used = fresh.sum();
            running.used = now;
            (instance.clone(), used)
        });
        each.collect()
    }

    /// What a process of a machine finds in its environment.
    pub(crate) fn environment(&self, cloud: &Cloud, instance: &Instance) -> Vec<(String, String)> {
        let home = self.home(instance);
        let root = home.join("root").display().to_string();
        let imds = format!("{}/imds/{}/opc/v2", cloud.settings.base_url, instance.imds_token);
        let mut all = vec![
            ("PATH".to_owned(), self.path()),
            ("HOME".to_owned(), "/root".to_owned()),
            ("SALA_ROOT".to_owned(), root),
            ("SALA_OCI_METADATA_URL".to_owned(), imds.clone()),
            ("OCI_METADATA_BASE_URL".to_owned(), imds),
            ("SALA_OCI_ENDPOINT".to_owned(), cloud.settings.base_url.clone()),
            (INSTANCE.to_owned(), instance.id.clone()),
            (machine::SOCKET.to_owned(), home.join("ctl").display().to_string()),
        ];
        all.extend(instance.machine.environment.iter().map(|(name, value)| (name.clone(), value.clone())));
        all
    }
}

/// Starts a machine's supervisor.
pub(super) fn power_on(shared: &Arc<Shared>, id: String) {
    let prepared = {
        let (cloud, _) = shared.cloud();
        let instance = cloud.compute.get(&id).filter(|instance| !instance.machine.boot.is_empty());
        let Some(instance) = instance else { return };
        let home = shared.machines.home(instance);
        let environment = shared.machines.environment(&cloud, instance);
        (home, environment, placed(&instance.machine.boot, instance, &home_root(shared, instance)))
    };
    let (home, environment, boot) = prepared;
    match start(shared, &home, environment, &boot) {
        Ok((mut child, stdin)) => {
            let (button, pressed) = mpsc::channel(4);
            let pid = child.id().unwrap_or_default() as i32;
            let run = {
                let mut state = shared.machines.state();
                state.runs += 1;
                let run = state.runs;
                state.running.insert(id.clone(), Running { pid, run, button, used: HashMap::new() });
                run
            };
            tokio::spawn(press(stdin, pressed));
            let shared = shared.clone();
            tokio::spawn(async move {
                let status = child.wait().await;
                let is_reboot = status.is_ok_and(|status| status.code() == Some(machine::REBOOT));
                ended(&shared, &id, run, is_reboot);
            });
        }
        Err(error) => {
            tracing::error!(instance = id, %error, "a machine cannot be started");
            let (mut cloud, now) = shared.cloud();
            ended_in(&mut cloud, &id, now, false);
        }
    }
}

fn home_root(shared: &Shared, instance: &Instance) -> PathBuf {
    shared.machines.home(instance).join("root")
}

/// A command with what only the instance knows put in.
fn placed(command: &[String], instance: &Instance, root: &Path) -> Vec<String> {
    let (root, ip) = (root.display().to_string(), instance.private_ip.to_string());
    let put = |word: &String| {
        word.replace("{root}", &root).replace("{privateIp}", &ip).replace("{name}", &instance.display_name)
    };
    command.iter().map(put).collect()
}

fn start(
    shared: &Shared,
    home: &Path,
    environment: Vec<(String, String)>,
    boot: &[String],
) -> std::io::Result<(tokio::process::Child, Option<ChildStdin>)> {
    let root = home.join("root");
    let is_first_boot = !root.exists();
    for directory in ["etc/systemd/system", "var/log", "run", "tmp", "opt"] {
        std::fs::create_dir_all(root.join(directory))?;
    }
    let log = std::fs::OpenOptions::new().create(true).append(true).open(root.join("var/log/syslog"))?;
    let mut command = Command::new(&shared.machines.program);
    command.arg("machine").arg("--root").arg(&root).arg("--run").arg(home);
    if is_first_boot {
        command.arg("--").args(boot);
    }
    let mut child = command
        .env_clear()
        .envs(environment)
        .current_dir(&root)
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let stdin = child.stdin.take();
    Ok((child, stdin))
}

/// Holds the pipe that tells the supervisor that the simulator lives, and passes the button on.
async fn press(stdin: Option<ChildStdin>, mut pressed: mpsc::Receiver<()>) {
    let Some(mut stdin) = stdin else { return };
    while pressed.recv().await.is_some() {
        if stdin.write_all(b"poweroff\n").await.is_err() {
            return;
        }
    }
}

fn ended(shared: &Arc<Shared>, id: &str, run: u64, is_reboot: bool) {
    {
        let mut state = shared.machines.state();
        if state.running.get(id).is_none_or(|running| running.run != run) {
            return;
        }
        state.running.remove(id);
    }
    kill_marked(&[(INSTANCE, id)]);
    let (mut cloud, now) = shared.cloud();
    ended_in(&mut cloud, id, now, is_reboot);
}

fn ended_in(cloud: &mut Cloud, id: &str, now: Now, is_reboot: bool) {
    let settings = cloud.settings.clone();
    cloud.compute.machine_ended(id, now, &settings, is_reboot);
}

/// Ends a machine's processes while the API goes on saying RUNNING, as of one whose kernel has died.
pub(crate) fn kill(shared: &Arc<Shared>, id: &str) {
    if let Some(instance) = shared.cloud().0.compute.get_mut(id)
        && instance.power == Power::On
    {
        instance.power = Power::Dead;
    }
    shared.machines.power_off(id);
}
