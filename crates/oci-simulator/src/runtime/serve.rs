//! Starts the whole: configuration in, sockets open, until a signal comes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{Shared, containers, dispatch, listener, machines, timer};
use crate::cloud::{Cloud, Now, StartError};
use crate::config::Config;

/// Why the simulator does not run.
#[derive(thiserror::Error, Debug)]
pub enum ServeError {
    #[error("cannot listen on {address}: {source}; choose a free address in the configuration")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(
        "cannot use the state directory {path}: {source}; give a directory that can be written in stateDir"
    )]
    Directory { path: PathBuf, source: std::io::Error },
    #[error(
        "the state directory {0} holds other things; give an empty one, or one that a simulator has made"
    )]
    ForeignDirectory(PathBuf),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot wait for signals: {0}")]
    Signal(std::io::Error),
}

/// Says that a simulator made the directory, so that it may be emptied.
const MARK: &str = ".oci-simulator";

/// Runs until SIGTERM or SIGINT, then ends all machines.
///
/// # Errors
/// When something of the configuration cannot be had.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    let directory = config.state_dir.clone();
    prepare(&directory)?;
    let bind = async |address: SocketAddr| {
        TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
    };
    let (api, admin) = (bind(config.listen).await?, bind(config.admin_listen).await?);
    let start = Instant::now();
    let now = Now { cloud: std::time::Duration::ZERO, unix_ms: super::unix_ms() };
    let unusable = |source| ServeError::Directory { path: directory.clone(), source };
    let shared = Arc::new(Shared {
        cloud: Mutex::new(Cloud::new(&config, now)?),
        start,
        machines: machines::Machines::new(&directory).map_err(unusable)?,
        containers: containers::Containers::new(&directory).map_err(unusable)?,
    });
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    tracing::info!(api = %config.listen, admin = %config.admin_listen, "the simulated cloud is up");
    tokio::select! {
        () = listener::listen(api, shared.clone(), dispatch::answer) => {}
        () = listener::listen(admin, shared.clone(), crate::admin::answer) => {}
        () = timer::run(shared.clone()) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    shared.machines.power_off_all();
    shared.containers.end_all();
    Ok(())
}

/// Empties what a former simulator left.
fn prepare(directory: &Path) -> Result<(), ServeError> {
    let unusable = |source| ServeError::Directory { path: directory.to_owned(), source };
    std::fs::create_dir_all(directory).map_err(unusable)?;
    let mark = directory.join(MARK);
    if !mark.exists() {
        let is_empty = std::fs::read_dir(directory).map_err(unusable)?.next().is_none();
        if !is_empty {
            return Err(ServeError::ForeignDirectory(directory.to_owned()));
        }
        std::fs::write(&mark, "made by oci-simulator, which empties it when it starts\n")
            .map_err(unusable)?;
    }
    for part in ["machines", "functions"] {
        match std::fs::remove_dir_all(directory.join(part)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(unusable(error)),
            _ => {}
        }
    }
    Ok(())
}
