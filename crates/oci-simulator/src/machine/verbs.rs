//! What `systemctl` understands.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dependencies::full_name;
use super::manager::{Manager, Power};
use super::service::{Order, Phase, Status};

/// What the client sends: its arguments.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Request {
    pub(super) arguments: Vec<String>,
}

/// What it is to print, and how to end.
#[derive(Serialize, Deserialize, Default, Debug)]
pub(super) struct Response {
    pub(super) out: String,
    pub(super) error: String,
    pub(super) code: i32,
}

/// Arguments, sorted.
#[derive(Default, Debug)]
struct Words {
    verb: String,
    units: Vec<String>,
    is_now: bool,
    is_not_waiting: bool,
    is_quiet: bool,
    is_value: bool,
    properties: Vec<String>,
    signal: Option<String>,
}

fn sorted(arguments: &[String]) -> Words {
    let mut words = Words::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--now" => words.is_now = true,
            "--no-block" => words.is_not_waiting = true,
            "-q" | "--quiet" => words.is_quiet = true,
            "--value" => words.is_value = true,
            "-p" | "--property" => {
                words.properties.extend(arguments.next().map(|list| split(list)).into_iter().flatten())
            }
            "-s" | "--signal" => words.signal = arguments.next().cloned(),
            other => match other.split_once('=') {
                Some(("--property", list)) => words.properties.extend(split(list)),
                Some(("--signal", signal)) => words.signal = Some(signal.to_owned()),
                // Options such as --no-pager change nothing here.
                _ if other.starts_with('-') => {}
                _ if words.verb.is_empty() => words.verb = other.to_owned(),
                _ => words.units.push(full_name(other)),
            },
        }
    }
    words
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(str::to_owned).collect()
}

/// Does what is asked.
pub(super) async fn answer(manager: &Arc<Manager>, request: &Request) -> Response {
    let words = sorted(&request.arguments);
    let mut response = Response::default();
    match words.verb.as_str() {
        "daemon-reload" | "daemon-reexec" => manager.reload_files(),
        "poweroff" | "halt" => manager.power.send_replace(Power::Off).ignore(),
        "reboot" => manager.power.send_replace(Power::Reboot).ignore(),
        "is-system-running" => response.out.push_str("running\n"),
        "list-units" | "" => {
            for (name, status) in manager.all().await {
                response.out.push_str(&format!("{name} loaded {} {}\n", status.phase.name(), status.sub));
            }
        }
        "reset-failed" if words.units.is_empty() => {
            for (name, _) in manager.all().await {
                let _ = manager.tell(&name, Order::ResetFailed, true).await;
            }
        }
        _ if words.units.is_empty() => {
            response.error = "Too few arguments.\n".into();
            response.code = 1;
        }
        "start" | "restart" => {
            let how = if words.verb == "start" { Order::Start } else { Order::Restart };
            if let Err(error) = manager.start(&words.units, how, !words.is_not_waiting).await {
                response.error = format!("{error}\n");
                response.code = 1;
            }
        }
        _ => {
            for unit in &words.units {
                one(manager, &words, unit, &mut response).await;
            }
        }
    }
    if words.is_quiet {
        response.out.clear();
    }
    response
}

/// Drops a value that does not matter.
trait Ignore: Sized {
    fn ignore(self) {}
}

impl Ignore for Power {}

async fn one(manager: &Arc<Manager>, words: &Words, unit: &String, response: &mut Response) {
    let wait = !words.is_not_waiting;
    let is_running = async || manager.status(unit).await.is_some_and(|status| is_up(&status));
    let done = match words.verb.as_str() {
        "try-restart" | "condrestart" => match is_running().await {
            true => manager.start(std::slice::from_ref(unit), Order::Restart, wait).await,
            false => Ok(()),
        },
        "reload" => manager.tell(unit, Order::Reload, wait).await,
        "reload-or-restart" => match (is_running().await, has_reload(manager, unit)) {
            (true, true) => manager.tell(unit, Order::Reload, wait).await,
            _ => manager.start(std::slice::from_ref(unit), Order::Restart, wait).await,
        },
        "stop" => manager.tell(unit, Order::Stop, wait).await,
        "reset-failed" => manager.tell(unit, Order::ResetFailed, true).await,
        "enable" | "reenable" => match manager.enable(unit) {
            Ok(()) if words.is_now => manager.start(std::slice::from_ref(unit), Order::Start, wait).await,
            other => other,
        },
        "disable" | "mask" => {
            manager.disable(unit);
            if words.is_now { manager.tell(unit, Order::Stop, wait).await } else { Ok(()) }
        }
        "unmask" => Ok(()),
        "kill" => kill(manager, words, unit),
        "is-active" | "is-failed" | "is-enabled" | "status" | "show" | "cat" => {
            show(manager, words, unit, response).await;
            Ok(())
        }
        other => Err(format!("The simulated systemctl has no verb {other}; add it in machine/verbs.rs.")),
    };
    if let Err(error) = done {
        response.error.push_str(&error);
        response.error.push('\n');
        response.code = 1;
    }
}

fn is_up(status: &Status) -> bool {
    matches!(status.phase, Phase::Active | Phase::Activating)
}

fn has_reload(manager: &Manager, unit: &str) -> bool {
    manager.file(unit).is_some_and(|file| file.last("Service", "ExecReload").is_some())
}

fn kill(manager: &Manager, words: &Words, unit: &str) -> Result<(), String> {
    let name = words.signal.as_deref().unwrap_or("TERM");
    let signal = super::signal_named(name).ok_or_else(|| format!("Failed to parse signal string {name}."))?;
    manager.host.signal(unit, signal);
    Ok(())
}

async fn show(manager: &Arc<Manager>, words: &Words, unit: &str, response: &mut Response) {
    let status = manager.status(unit).await;
    let active = status.as_ref().map_or("inactive", |status| status.phase.name());
    match words.verb.as_str() {
        "is-active" => {
            response.out.push_str(&format!("{active}\n"));
            let is_target = unit.ends_with(".target");
            if active != "active" && !is_target {
                response.code = if status.is_some() { 3 } else { 4 };
            }
        }
        "is-failed" => {
            response.out.push_str(&format!("{active}\n"));
            response.code = i32::from(active != "failed");
        }
        "is-enabled" => {
            let is_enabled = manager.is_enabled(unit);
            response.out.push_str(if is_enabled { "enabled\n" } else { "disabled\n" });
            response.code = i32::from(!is_enabled);
        }
        "cat" => match super::unit_file::path(&manager.host.root, unit) {
            Some(path) => {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                response.out.push_str(&format!("# {}\n{text}", path.display()));
            }
            None => {
                response.error.push_str(&format!("No files found for {unit}.\n"));
                response.code = 1;
            }
        },
        "show" => response.out.push_str(&properties(manager, words, unit, status.as_ref())),
        _ => {
            let Some(status) = status else {
                response.error.push_str(&format!("Unit {unit} could not be found.\n"));
                response.code = 4;
                return;
            };
            let enabled = if manager.is_enabled(unit) { "enabled" } else { "disabled" };
            response.out.push_str(&format!("● {unit}\n     Loaded: loaded ({unit}; {enabled})\n"));
            response
                .out
                .push_str(&format!("     Active: {active} ({}) (Result: {})\n", status.sub, status.result));
            if status.main_pid > 0 {
                response.out.push_str(&format!("   Main PID: {}\n", status.main_pid));
            }
            if !status.text.is_empty() {
                response.out.push_str(&format!("     Status: \"{}\"\n", status.text));
            }
            if active != "active" {
                response.code = 3;
            }
        }
    }
}

fn properties(manager: &Manager, words: &Words, unit: &str, status: Option<&Status>) -> String {
    let text = |of: &dyn Fn(&Status) -> String| status.map(of).unwrap_or_default();
    let all = [
        ("Id", unit.to_owned()),
        ("LoadState", if status.is_some() { "loaded" } else { "not-found" }.to_owned()),
        ("ActiveState", status.map_or("inactive", |status| status.phase.name()).to_owned()),
        ("SubState", status.map_or("dead", |status| status.sub).to_owned()),
        ("MainPID", text(&|status| status.main_pid.to_string())),
        ("Result", text(&|status| status.result.clone())),
        ("NRestarts", text(&|status| status.restarts.to_string())),
        ("StatusText", text(&|status| status.text.clone())),
        ("UnitFileState", if manager.is_enabled(unit) { "enabled" } else { "disabled" }.to_owned()),
    ];
    let wanted = all.iter().filter(|(name, _)| {
        words.properties.is_empty() || words.properties.iter().any(|property| property == name)
    });
    wanted
        .map(|(name, value)| if words.is_value { format!("{value}\n") } else { format!("{name}={value}\n") })
        .collect()
}
