//! Commands from another terminal: one line of JSON each way over a Unix socket that only the owner may open.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::snapshot::Snapshot;

/// Longest line of a request.
const MAX_REQUEST_BYTES: u64 = 64 << 10;
/// Requests that wait for the main loop.
pub(crate) const REQUEST_QUEUE: usize = 64;

/// What can be asked for. Targets are a host (`m1`, `a`), a process (`m1.etcd`), `etcd` or `etcd-leader`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub(crate) enum Request {
    Status,
    /// SIGKILL.
    Kill {
        target: String,
    },
    /// SIGSTOP.
    Stop {
        target: String,
    },
    /// SIGCONT.
    Cont {
        target: String,
    },
    /// SIGTERM: a node drains and ends.
    Term {
        target: String,
    },
    /// Starts what has ended.
    Restart {
        target: String,
    },
    /// Cuts a host off: from these hosts, from `nodes` (all of them), from `clients`; from everybody when empty.
    Partition {
        host: String,
        from: Vec<String>,
    },
    /// Loses packets of a host, each way.
    Loss {
        host: String,
        percent: u8,
    },
    /// Ends partition and loss.
    Heal {
        host: String,
    },
    /// Starts another media node.
    AddMedia,
    Drain {
        node: String,
        deadline_ms: u64,
    },
    DrainCancel {
        node: String,
    },
    /// Ends the cluster.
    Down,
}

/// What comes back.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) ok: bool,
    /// What was done, or what was wrong.
    pub(crate) message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<Box<Snapshot>>,
}

/// A request, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// Opens the socket.
pub(crate) fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Takes requests for ever and hands them to the main loop.
pub(crate) async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let asked = asked.clone();
        tokio::spawn(async move {
            let _ = converse(stream, asked).await;
        });
    }
}

async fn converse(stream: UnixStream, asked: mpsc::Sender<Asked>) -> anyhow::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = String::new();
        if (&mut read).take(MAX_REQUEST_BYTES).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_str(&line) {
            Err(error) => Answer { message: format!("not understood: {error}"), ..Answer::default() },
            Ok(request) => {
                let (answer, answered) = oneshot::channel();
                asked.send(Asked { request, answer }).await?;
                answered.await.unwrap_or_else(|_| Answer {
                    message: "the cluster has ended".into(),
                    ..Answer::default()
                })
            }
        };
        let mut line = serde_json::to_string(&answer)?;
        line.push('\n');
        write.write_all(line.as_bytes()).await?;
    }
}

/// Sends one request to the cluster in a directory.
///
/// # Errors
/// When no cluster runs there, or when it could not do it; the text is the cluster's.
pub(crate) async fn ask(home: &Path, request: &Request) -> anyhow::Result<Answer> {
    let socket = super::home::socket_path(home);
    let mut stream = UnixStream::connect(&socket).await.with_context(|| {
        format!(
            "no cluster runs in {}; start one with `sala cluster up`, or say where with --dir",
            home.display()
        )
    })?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    let answer: Answer = serde_json::from_str(&answer).context("the cluster ended before it answered")?;
    if !answer.ok {
        bail!("{}", answer.message);
    }
    Ok(answer)
}
