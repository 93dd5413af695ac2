//! What is done to one machine.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;

use super::{Answered, body, done, unknown};
use crate::api::{Answer, Refusal, Request};
use crate::cloud::compute::Action;
use crate::machine;
use crate::runtime::{Shared, kill, processes};

pub(super) async fn act(shared: &Arc<Shared>, request: &Request, name: &str, verb: &str) -> Answered {
    let id = {
        let (cloud, _) = shared.cloud();
        let found = cloud.compute.find(name).map(|instance| instance.id.clone());
        found.ok_or_else(|| Refusal::new(404, "NotFound", format!("there is no instance {name}")))?
    };
    match (&request.method, verb) {
        (&Method::PUT, "cpu") => cpu(shared, request, &id),
        (&Method::PUT, "tags") => tags(shared, request, &id),
        (&Method::PUT, "metadata") => {
            let wanted: BTreeMap<String, String> = request.json()?;
            if let Some(instance) = shared.cloud().0.compute.get_mut(&id) {
                instance.machine.metadata = wanted;
            }
            done()
        }
        (&Method::POST, "kill") => {
            kill(shared, &id);
            done()
        }
        (&Method::POST, "terminate") => {
            let (mut cloud, now) = shared.cloud();
            cloud.terminate(&id, now)?;
            done()
        }
        (&Method::POST, "poweroff") => power(shared, &id, Action::SoftStop),
        (&Method::POST, "stop") => power(shared, &id, Action::Stop),
        (&Method::POST, "start") => power(shared, &id, Action::Start),
        (&Method::POST, "reset") => power(shared, &id, Action::Reset),
        (&Method::POST, "run") => run(shared, request, &id).await,
        (&Method::POST, "signal") => signal(request, &id),
        _ => Err(unknown(request)),
    }
}

fn power(shared: &Arc<Shared>, id: &str, action: Action) -> Answered {
    let (mut cloud, now) = shared.cloud();
    cloud.act(id, action, now)?;
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetCpu {
    percent: Option<f64>,
}

fn cpu(shared: &Arc<Shared>, request: &Request, id: &str) -> Answered {
    let wanted: SetCpu = body(request)?;
    shared.cloud().0.metrics.set_cpu(id, wanted.percent);
    done()
}

/// As `terraform apply` changes them: the metadata follows as after any change.
fn tags(shared: &Arc<Shared>, request: &Request, id: &str) -> Answered {
    let wanted: BTreeMap<String, String> = request.json()?;
    let (mut cloud, now) = shared.cloud();
    let visible = now.cloud + cloud.settings.after(|delays| delays.imds_tags_seconds);
    if let Some(instance) = cloud.compute.get_mut(id) {
        instance.set_tags(wanted, visible, now.cloud);
    }
    done()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Run {
    argv: Vec<String>,
    #[serde(default = "default_timeout")]
    timeout_seconds: u64,
}

fn default_timeout() -> u64 {
    60
}

/// Runs a command on the machine, as somebody who logs in would.
async fn run(shared: &Arc<Shared>, request: &Request, id: &str) -> Answered {
    let wanted: Run = request.json()?;
    let Some((program, arguments)) = wanted.argv.split_first() else {
        return Err(Refusal::invalid("argv is empty"));
    };
    let environment = {
        let (cloud, _) = shared.cloud();
        let instance = cloud.compute.get(id).ok_or_else(Refusal::not_found)?;
        shared.machines.environment(&cloud, instance)
    };
    // The program is looked for on the machine's PATH, not on the simulator's.
    let output = Command::new("/usr/bin/env")
        .arg(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(wanted.timeout_seconds), output).await;
    let output =
        output.map_err(|_| Refusal::new(504, "Timeout", format!("{program} has not ended in time")))?;
    let output = output.map_err(|error| Refusal::invalid(format!("{program} does not run: {error}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Answer::json(&json!({
        "code": output.status.code(), "stdout": text(&output.stdout), "stderr": text(&output.stderr),
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SendSignal {
    /// Blank: all processes of the machine, but its init.
    unit: Option<String>,
    signal: String,
}

fn signal(request: &Request, id: &str) -> Answered {
    let wanted: SendSignal = request.json()?;
    let signal = machine::signal_named(&wanted.signal).ok_or_else(|| {
        Refusal::invalid(format!("{} is no signal; TERM, KILL, STOP, CONT are", wanted.signal))
    })?;
    let mut marks = vec![(processes::INSTANCE, id)];
    if let Some(unit) = &wanted.unit {
        marks.push((machine::UNIT, unit));
    }
    let found = processes::marked(&marks);
    let found: Vec<_> =
        found.into_iter().filter(|pid| wanted.unit.is_some() || !processes::is_init(*pid)).collect();
    for pid in &found {
        let _ = rustix::process::kill_process(*pid, signal);
    }
    Ok(Answer::json(&json!({"processes": found.len()})))
}
