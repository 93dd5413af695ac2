//! `sala oci install`: what a fresh machine needs before it can boot into its cluster. May be repeated.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::units::{self, On, Rendering};
use super::{Machine, Owner, USER, files, is_real};
use crate::boot::{Host, HostError, Line};

/// A fresh machine updates itself at its first start, and holds the package manager's lock meanwhile.
const PACKAGES: Duration = Duration::from_secs(15 * 60);
const PACKAGES_PAUSE: Duration = Duration::from_secs(10);
/// One run of the package manager.
const PACKAGE_RUN: Duration = Duration::from_secs(10 * 60);

/// Variables that change where the cloud is; the units keep them.
const KEPT: [&str; 2] = ["SALA_OCI_ENDPOINT", "SALA_OCI_METADATA_URL"];

/// What to install.
#[derive(Clone, Debug)]
pub struct Install {
    pub master: bool,
    /// This binary.
    pub sala: PathBuf,
}

/// Why a machine could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("the user `{USER}` cannot be made: {0}; make it by hand: useradd --system {USER}")]
    User(String),
    #[error(
        "the package etcd-server cannot be installed: {0}; install it by hand (`apt-get install etcd-server`) and run `sala oci install` again"
    )]
    Packages(String),
    #[error("the program etcd is not on PATH; install it (`apt-get install etcd-server`)")]
    NoEtcd,
}

impl Machine {
    /// Puts units, directories, the user and the store's program in place, and starts the boot.
    pub async fn install(&mut self, install: &Install) -> Result<(), InstallError> {
        let real = is_real(&self.root);
        if real {
            self.make_user().await?;
            if self.open_firewall().await? {
                self.say(Line::Step(
                    "the image's packet filter lets through what the security groups let in".into(),
                ));
            }
        }
        self.make_directories()?;
        let etcd = match (install.master, find("etcd")) {
            (false, found) => found.unwrap_or_else(|| "/usr/bin/etcd".into()),
            (true, Some(found)) => found,
            (true, None) if real => self.install_etcd().await?,
            (true, None) => return Err(InstallError::NoEtcd),
        };
        self.write_units(install, &etcd, real).await?;
        self.systemctl.run(&["daemon-reload"]).await?;
        self.systemctl.run(&["enable", "sala-boot.service"]).await?;
        // A boot that runs goes on; one that is over begins anew.
        self.systemctl.run(&["restart", "--no-block", "sala-boot.service"]).await?;
        Ok(())
    }

    async fn make_user(&mut self) -> Result<(), InstallError> {
        if self.owner.is_none() {
            let arguments = [
                "--system",
                "--user-group",
                "--home-dir",
                "/var/lib/sala",
                "--shell",
                "/usr/sbin/nologin",
                USER,
            ];
            let output = Command::new("useradd").args(arguments).stdin(Stdio::null()).output().await;
            let output = output.map_err(|error| InstallError::User(error.to_string()))?;
            self.owner = Owner::named(USER, &self.root);
            if self.owner.is_none() {
                return Err(InstallError::User(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
            }
            self.say(Line::Step(format!("the user {USER} is made")));
        }
        Ok(())
    }

    fn make_directories(&self) -> Result<(), InstallError> {
        // The last two are the services' own.
        let wanted = [
            ("/etc/sala", 0o755, None),
            ("/opt/openvidu/config", 0o755, None),
            ("/var/lib/sala", 0o755, None),
            ("/var/lib/sala/node", 0o700, self.owner),
        ];
        for (path, mode, owner) in wanted {
            let there = self.path(path);
            let made = files::make_directory(&there, mode).and_then(|()| files::give(&there, owner));
            made.map_err(|error| self.failed("making", path, &error))?;
        }
        Ok(())
    }

    async fn install_etcd(&self) -> Result<PathBuf, InstallError> {
        // The package starts a member of its own, which nobody asked for.
        self.systemctl.run(&["mask", "etcd.service"]).await?;
        let begun = self.now();
        loop {
            let problem = match packages().await {
                Ok(()) => match find("etcd") {
                    Some(found) => return Ok(found),
                    None => "the package is there, the program is not".to_owned(),
                },
                Err(problem) => problem,
            };
            if self.now() >= begun + PACKAGES.as_secs() {
                return Err(InstallError::Packages(problem));
            }
            self.say(Line::Wait(format!("waiting for the package etcd-server: {problem}")));
            tokio::time::sleep(PACKAGES_PAUSE).await;
        }
    }

    async fn write_units(&self, install: &Install, etcd: &Path, real: bool) -> Result<(), InstallError> {
        let kept = KEPT.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let environment: Vec<(String, String)> = kept.filter(|(_, value)| !value.is_empty()).collect();
        let rendering =
            Rendering { root: &self.root, sala: &install.sala, etcd, users: real, environment: &environment };
        for unit in units::ALL {
            let wanted = match unit.on {
                On::All => true,
                On::Masters => install.master,
                On::Media => !install.master,
            };
            if wanted {
                let path = format!("{}/{}", units::DIRECTORY, unit.name);
                let text = unit.render(&rendering);
                let written = files::write(&self.path(&path), text.as_bytes(), 0o644, None);
                written.map_err(|error| self.failed("writing", &path, &error))?;
            }
        }
        Ok(())
    }
}

async fn packages() -> Result<(), String> {
    for arguments in [
        &["update"][..],
        &["install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "etcd-server"],
    ] {
        let run = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PACKAGE_RUN, run).await;
        let output = output.map_err(|_| format!("apt-get took longer than {PACKAGE_RUN:?}"))?;
        let output = output.map_err(|error| format!("apt-get: {error}"))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given");
            return Err(format!("apt-get {}: {last}", arguments[0]));
        }
    }
    Ok(())
}

/// A program of PATH.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|candidate| candidate.is_file())
}
