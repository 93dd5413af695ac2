//! The machine a node runs on: files with their modes under a root directory, systemd units, the store's member, and
//! what an install puts in place. Knows no cloud.

mod authority;
mod etcd;
mod files;
mod firewall;
mod host;
mod install;
mod systemctl;
pub mod units;

use std::path::{Path, PathBuf};

pub use files::Owner;
pub use install::{Install, InstallError};
pub use systemctl::Systemctl;

/// The user that nodes and the store run as.
pub const USER: &str = "sala";

/// A machine, or a directory that stands for one.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
    owner: Option<Owner>,
    systemctl: Systemctl,
}

impl Machine {
    /// The machine whose files are under `root`. On a real one, that is `/` and we are its administrator, what nodes
    /// read is given to their user.
    pub fn new(root: &Path) -> Machine {
        let owner = if is_real(root) { Owner::named(USER, root) } else { None };
        Machine { root: root.to_owned(), owner, systemctl: Systemctl::default() }
    }

    /// Where a path of the product is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn systemctl(&self) -> &Systemctl {
        &self.systemctl
    }
}

/// Whether users and packages of this machine are meant, not a directory with a cluster on one host.
fn is_real(root: &Path) -> bool {
    root == Path::new("/") && rustix::process::geteuid().is_root()
}
