//! Functions as processes that keep the Fn contract: HTTP over a Unix socket which the function opens, one request at
//! a time in a container, warm for a while.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout_at};

use super::Shared;
use super::processes::kill_marked;
use crate::api::{Answer, Invocation, Refusal};
use crate::auth::authority::Key;
use crate::auth::token;
use crate::cloud::calendar;
use crate::ocid;

/// Containers of all functions at a time.
const MAX_CONTAINERS: usize = 30;
/// How long a container may take until its socket is there.
const START_SECONDS: u64 = 20;
/// Of an answer.
const MAX_ANSWER_BYTES: usize = 6 << 20;
/// What a function's processes have in their environment.
const MARK: &str = "SIM_CONTAINER";

/// A container that runs.
struct Container {
    name: String,
    socket: PathBuf,
    child: Child,
    /// Its token is good for a while only.
    expires: Instant,
}

impl Drop for Container {
    fn drop(&mut self) {
        kill_marked(&[(MARK, &self.name)]);
        let _ = std::fs::remove_dir_all(self.socket.parent().unwrap_or(Path::new("/nonexistent")));
    }
}

#[derive(Default)]
struct State {
    /// Warm ones by function, with the time when they were used last.
    idle: HashMap<String, Vec<(Instant, Container)>>,
    busy: usize,
    started: u64,
}

/// All of them.
pub(crate) struct Containers {
    state: Mutex<State>,
    directory: PathBuf,
}

impl Containers {
    /// # Errors
    /// When the state directory cannot be written.
    pub(super) fn new(directory: &Path) -> std::io::Result<Containers> {
        let directory = directory.join("functions");
        std::fs::create_dir_all(&directory)?;
        Ok(Containers { state: Mutex::default(), directory })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end_all(&self) {
        self.state().idle.clear();
    }

    /// How many containers were ever started.
    pub(crate) fn started(&self) -> u64 {
        self.state().started
    }

    /// Where the functions' output goes.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// A warm one that still runs.
    fn take_idle(&self, function: &str, idle: Duration) -> Option<Container> {
        let mut state = self.state();
        let waiting = state.idle.get_mut(function)?;
        waiting.retain(|(used, container)| used.elapsed() < idle && Instant::now() < container.expires);
        while let Some((_, mut container)) = waiting.pop() {
            if matches!(container.child.try_wait(), Ok(None)) {
                return Some(container);
            }
        }
        None
    }
}

/// Calls a function, and gives the answer as the service would.
pub(super) async fn call(shared: &Arc<Shared>, invocation: &Invocation) -> Answer {
    let deadline = {
        let (cloud, _) = shared.cloud();
        let Some(function) = cloud.functions.functions.get(&invocation.function) else {
            return Refusal::not_found().into();
        };
        Duration::from_secs(function.config.timeout_seconds)
    };
    let is_room = {
        let mut state = shared.containers.state();
        state.busy += 1;
        state.busy <= MAX_CONTAINERS
    };
    let outcome = match is_room {
        true => called(shared, invocation, deadline).await,
        false => Err(Refusal::new(429, "TooManyRequests", "All containers are busy.")),
    };
    shared.containers.state().busy -= 1;
    outcome.unwrap_or_else(Answer::from)
}

async fn called(
    shared: &Arc<Shared>,
    invocation: &Invocation,
    patience: Duration,
) -> Result<Answer, Refusal> {
    let idle = {
        let (cloud, _) = shared.cloud();
        let function = cloud.functions.functions.get(&invocation.function).ok_or_else(Refusal::not_found)?;
        Duration::from_secs(function.config.idle_seconds)
    };
    let container = match shared.containers.take_idle(&invocation.function, idle) {
        Some(container) => container,
        None => started(shared, &invocation.function).await?,
    };
    let deadline = Instant::now() + patience;
    let asked = timeout_at(deadline, ask(&container.socket, invocation, patience)).await;
    match asked {
        Ok(Ok(answer)) => {
            let mut state = shared.containers.state();
            let waiting = state.idle.entry(invocation.function.clone()).or_default();
            if waiting.len() < MAX_CONTAINERS {
                waiting.push((Instant::now(), container));
            }
            Ok(answer)
        }
        Ok(Err(error)) => {
            let text = format!("function failed: {error}");
            Err(Refusal::new(502, "FunctionInvokeExecutionFailed", text))
        }
        Err(_) => Err(Refusal::new(504, "FunctionInvokeExecutionTimeout", "function timed out")),
    }
}

/// Starts a container and waits for its socket.
async fn started(shared: &Arc<Shared>, id: &str) -> Result<Container, Refusal> {
    let failed = |text: String| Refusal::new(502, "FunctionInvokeContainerInitFail", text);
    let name = ocid::hex(4);
    let directory = shared.containers.directory.join(&name);
    let socket = directory.join("lsnr.sock");
    let credentials = directory.join("credentials");
    std::fs::create_dir_all(&credentials).map_err(|error| failed(error.to_string()))?;
    let (command, environment) = prepared(shared, id, &credentials, &socket)?;
    let log = std::fs::OpenOptions::new().create(true).append(true).open(shared.containers.log());
    let log = log.and_then(|log| Ok((log.try_clone()?, log))).map_err(|error| failed(error.to_string()))?;
    // Should the simulator be killed, the kernel ends the function with it.
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .args(&command)
        .env_clear()
        .envs(environment)
        .env(MARK, &name)
        .stdin(Stdio::null())
        .stdout(log.0)
        .stderr(log.1)
        .current_dir(&directory)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("setpriv does not run: {error}; install util-linux")))?;
    shared.containers.state().started += 1;
    // The platform renews credentials; here a container is renewed with them, at half of their life.
    let life = shared.cloud().0.settings.tokens.session_seconds.max(0) as u64 / 2;
    let expires = Instant::now() + Duration::from_secs(life);
    let mut container = Container { name, socket, child, expires };
    let deadline = Instant::now() + Duration::from_secs(START_SECONDS);
    while UnixStream::connect(&container.socket).await.is_err() {
        if let Ok(Some(status)) = container.child.try_wait() {
            return Err(failed(format!("the function ended before it opened its socket: {status}")));
        }
        if Instant::now() >= deadline {
            return Err(failed(format!("the function has not opened its socket within {START_SECONDS} s")));
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(container)
}

/// An environment.
type Variables = Vec<(String, String)>;

/// Command and environment of a container, its resource principal included.
fn prepared(
    shared: &Shared,
    id: &str,
    credentials: &Path,
    socket: &Path,
) -> Result<(Vec<String>, Variables), Refusal> {
    let broken = |text: String| Refusal::new(500, "InternalServerError", text);
    let key = Key::generate().map_err(|error| broken(error.to_string()))?;
    let public = key.public().ok_or_else(|| broken("a key is no key".into()))?;
    let (cloud, now) = shared.cloud();
    let function = cloud.functions.functions.get(id).ok_or_else(Refusal::not_found)?;
    let application =
        cloud.functions.applications.get(&function.application).ok_or_else(Refusal::not_found)?;
    let times = (now.unix(), cloud.settings.tokens.session_seconds);
    let tenancy = &cloud.settings.tenancy.id;
    let rpst =
        token::of_resource(&cloud.authority, ("fnfunc", id), &function.compartment, tenancy, &public, times);
    let (rpst_file, key_file) = (credentials.join("rpst"), credentials.join("private.pem"));
    let written = std::fs::write(&rpst_file, rpst).and_then(|()| std::fs::write(&key_file, key.pem()));
    written.map_err(|error| broken(error.to_string()))?;
    let text = |path: &Path| path.display().to_string();
    let mut environment: Variables = [
        ("PATH", std::env::var("PATH").unwrap_or_default()),
        ("HOME", "/".into()),
        ("FN_LISTENER", format!("unix:{}", text(socket))),
        ("FN_FORMAT", "http-stream".into()),
        ("FN_APP_ID", application.id.clone()),
        ("FN_APP_NAME", application.display_name.clone()),
        ("FN_FN_ID", function.id.clone()),
        ("FN_FN_NAME", function.config.display_name.clone()),
        ("FN_MEMORY", "256".into()),
        ("FN_TYPE", "sync".into()),
        ("OCI_RESOURCE_PRINCIPAL_VERSION", "2.2".into()),
        ("OCI_RESOURCE_PRINCIPAL_RPST", text(&rpst_file)),
        ("OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM", text(&key_file)),
        ("OCI_RESOURCE_PRINCIPAL_REGION", cloud.settings.region.clone()),
        ("SALA_OCI_ENDPOINT", cloud.settings.base_url.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for variables in [&application.config, &function.config.config, &function.config.environment] {
        environment.extend(variables.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    Ok((function.config.command.clone(), environment))
}

/// `POST /call` on the function's socket.
async fn ask(socket: &Path, invocation: &Invocation, patience: Duration) -> Result<Answer, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = UnixStream::connect(socket).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    tokio::spawn(connection);
    let deadline_ms = super::unix_ms() + patience.as_millis() as i64;
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let mut request = http::Request::post("/call")
        .header("host", "localhost")
        .header("date", date)
        .header("fn-call-id", ocid::hex(13))
        .header("fn-deadline", calendar::rfc3339(deadline_ms));
    for (name, value) in &invocation.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(invocation.body.clone())).map_err(|error| text(&error))?;
    let response = sender.send_request(request).await.map_err(|error| text(&error))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|error| text(&error))?.to_bytes();
    match head.status.as_u16() {
        // 200 is the only good one; the caller's status comes in a header.
        200 => Ok(answered(&head.headers, body)),
        504 => Err("it says that it timed out (504)".into()),
        status => {
            Err(format!("it answered {status}: {}", String::from_utf8_lossy(&body[..body.len().min(300)])))
        }
    }
}

fn answered(headers: &http::HeaderMap, body: Bytes) -> Answer {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let content_type = header("content-type").unwrap_or("application/octet-stream");
    let status = header("fn-http-status").and_then(|status| status.parse().ok());
    Answer::bytes(content_type, body)
        .status(status.filter(|status| (200..600).contains(status)).unwrap_or(200))
}
