//! The machine itself: boots, answers `systemctl`, shuts down.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use clap::Args;
use rustix::process::set_child_subreaper;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;

use super::REBOOT;
use super::manager::{Manager, Power};
use super::reaper::Reaper;
use super::service::Order;
use super::spawn::Host;
use super::verbs::{self, Request};
use crate::runtime::processes::{INSTANCE, kill_marked};

/// How the simulator starts a machine.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Where the machine's file system begins
    #[arg(long)]
    root: PathBuf,
    /// A directory for its sockets
    #[arg(long)]
    run: PathBuf,
    /// Run once, as cloud-init
    #[arg(last = true)]
    boot: Vec<String>,
}

/// A line to the control socket is no longer.
const MAX_LINE: u64 = 64 << 10;

/// Runs the machine until it is shut down. Gives the code to end with.
///
/// # Errors
/// When its sockets cannot be had.
pub async fn run(arguments: Arguments) -> std::io::Result<i32> {
    // Everything that is started below stays below, whatever it does.
    set_child_subreaper(rustix::process::Pid::from_raw(std::process::id() as i32))?;
    let instance = std::env::var(INSTANCE).unwrap_or_default();
    let host = Arc::new(Host {
        root: arguments.root.clone(),
        run: arguments.run.clone(),
        instance: instance.clone(),
        reaper: Reaper::default(),
    });
    let manager = Arc::new(Manager::new(host.clone()));
    let control = arguments.run.join("ctl");
    let _ = std::fs::remove_file(&control);
    let control = UnixListener::bind(&control)?;
    let mut enabled = manager.enabled();
    enabled.retain(|unit| manager.file(unit).is_some());
    manager.start(&enabled, Order::Start, false).await.unwrap_or_else(|error| eprintln!("{error}"));
    let mut power = manager.power.subscribe();
    let is_alive = tokio::select! {
        () = serve(&manager, control) => true,
        () = host.reaper.run() => true,
        () = boot(&host, &arguments.boot) => true,
        is_alive = button(&manager) => is_alive,
        _ = power.wait_for(|power| *power != Power::On) => true,
    };
    if is_alive {
        // `systemctl` must answer while services stop: some call it then.
        let control = arguments.run.join("ctl");
        let _ = std::fs::remove_file(&control);
        let control = UnixListener::bind(&control)?;
        tokio::select! {
            () = manager.stop_all() => {}
            () = serve(&manager, control) => {}
            () = host.reaper.run() => {}
            // The simulator may die meanwhile.
            _ = button(&manager) => {}
        }
    }
    let is_reboot = *manager.power.borrow() == Power::Reboot;
    kill_marked(&[(INSTANCE, &instance)]);
    Ok(if is_reboot { REBOOT } else { 0 })
}

/// Waits for the power button. False when the simulator is gone.
async fn button(manager: &Manager) -> bool {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        match lines.next_line().await {
            Ok(Some(line)) if line == "poweroff" => {
                if *manager.power.borrow() == Power::On {
                    manager.power.send_replace(Power::Off);
                }
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return false,
        }
    }
}

/// Runs the boot command, and then waits for ever.
async fn boot(host: &Arc<Host>, command: &[String]) {
    if let Some((program, arguments)) = command.split_first()
        && let Err(error) = cloud_init(host, program, arguments).await
    {
        eprintln!("boot: {program}: {error}");
    }
    std::future::pending().await
}

async fn cloud_init(host: &Arc<Host>, program: &str, arguments: &[String]) -> std::io::Result<()> {
    let log = open(&host.root.join("var/log/cloud-init-output.log"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .process_group(0)
        .spawn()?;
    let pid = child.id().unwrap_or_default() as i32;
    host.reaper.expect(pid);
    let status = child.wait().await;
    host.reaper.forget(pid);
    use std::io::Write;
    let mut log = log;
    writeln!(log, "cloud-init: the boot command ended with {}", status?)
}

fn open(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().create(true).append(true).open(path)
}

async fn serve(manager: &Arc<Manager>, control: UnixListener) {
    loop {
        let Ok((stream, _)) = control.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let manager = manager.clone();
        tokio::spawn(async move {
            let _ = one(&manager, stream).await;
        });
    }
}

async fn one(manager: &Arc<Manager>, stream: UnixStream) -> std::io::Result<()> {
    use tokio::io::AsyncReadExt;
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(MAX_LINE)).read_line(&mut line).await?;
    let Ok(request) = serde_json::from_str::<Request>(&line) else { return Ok(()) };
    let response = verbs::answer(manager, &request).await;
    let mut line = serde_json::to_string(&response)?;
    line.push('\n');
    write.write_all(line.as_bytes()).await
}
