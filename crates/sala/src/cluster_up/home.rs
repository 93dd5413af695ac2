//! The directory that a cluster lives in while it runs: certificates, secrets, configurations, logs, the store's
//! data and the control socket. Only its owner may read it. A new cluster in the same place starts from nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use auth::Secret;
use cluster::security::{Ca, write_ca};

use super::plan::Plan;

/// Marks a directory as ours, and is locked while a cluster lives in it.
const LOCK: &str = "cluster.lock";
/// Where commands are sent to.
const SOCKET: &str = "control.sock";
/// Longest path of a Unix socket, with the zero at its end.
const MAX_SOCKET_PATH: usize = 107;

/// What the operator logs in with.
#[derive(Debug)]
pub(crate) struct Secrets {
    pub(crate) api_key: String,
    pub(crate) api_secret: Secret,
    pub(crate) admin_password: Secret,
    /// Of the store's user `sala`.
    pub(crate) store_password: Secret,
    /// Of the store's user `root`.
    pub(crate) store_root_password: Secret,
}

/// The directory, for as long as the cluster runs.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    /// Released when the process ends, however it does.
    _lock: File,
    pub(crate) secrets: Secrets,
    pub(crate) authority: Ca,
}

/// Where a cluster lives unless `--dir` says otherwise.
pub(crate) fn default_path() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => Path::new(&dir).join("sala-cluster"),
        None => std::env::temp_dir().join(format!("sala-cluster-{user}")),
    }
}

/// The control socket of the cluster in a directory.
pub(crate) fn socket_path(home: &Path) -> PathBuf {
    home.join(SOCKET)
}

impl Home {
    /// Makes it anew, with new secrets.
    ///
    /// # Errors
    /// When a cluster runs there, when it is somebody else's, or holds what is not ours.
    pub(crate) fn create(path: &Path, plan: &Plan) -> anyhow::Result<Home> {
        let path = std::path::absolute(path)?;
        if socket_path(&path).as_os_str().len() > MAX_SOCKET_PATH {
            bail!("{} is too long a path for the control socket; choose a shorter --dir", path.display());
        }
        let lock = claim(&path)?;
        for name in ["certificates", "configurations", "logs", "etcd"] {
            make_directory(&path.join(name))?;
        }
        let (api_key, api_secret) = auth::random_key_pair();
        let random = || auth::random_key_pair().1;
        let secrets = Secrets {
            api_key,
            api_secret,
            // Short enough to be typed from the screen; the gateway listens on this machine alone.
            admin_password: random()
                .reveal()
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .take(12)
                .collect::<String>()
                .into(),
            store_password: random(),
            store_root_password: random(),
        };
        let authority = write_ca(&path.join("certificates"), &plan.id)?;
        let home = Home { path, _lock: lock, secrets, authority };
        home.write("certificates/keys.yaml", &home.keys_line())?;
        home.write("certificates/admin-password", home.secrets.admin_password.reveal())?;
        home.write("certificates/store-password", home.secrets.store_password.reveal())?;
        home.write("environment", &home.environment(plan))?;
        home.issue("gateway", &[plan.front_https.ip()])?;
        Ok(home)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file that its owner alone may read.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.file(name);
        write_private(&path, text)?;
        Ok(path)
    }

    /// A certificate of our authority for what is no node of Sala: `certificates/NAME.pem` and `.key`.
    pub(crate) fn issue(&self, name: &str, addresses: &[IpAddr]) -> anyhow::Result<(PathBuf, PathBuf)> {
        self.authority.issue_files(&self.file("certificates"), name, addresses)?;
        Ok((self.file(&format!("certificates/{name}.pem")), self.file(&format!("certificates/{name}.key"))))
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.file("certificates/ca.pem")
    }

    pub(crate) fn ca_key_file(&self) -> PathBuf {
        self.file("certificates/ca.key")
    }

    fn keys_line(&self) -> String {
        format!("{}: {}\n", self.secrets.api_key, self.secrets.api_secret.reveal())
    }

    /// What a shell evaluates to talk to the cluster: `eval "$(sala cluster env)"`.
    fn environment(&self, plan: &Plan) -> String {
        let Secrets { api_key, api_secret, admin_password, .. } = &self.secrets;
        format!(
            "export LIVEKIT_URL=http://{}\nexport LIVEKIT_API_KEY={api_key}\nexport LIVEKIT_API_SECRET={}\n\
             export SALA_ADMIN_USER=admin\nexport SALA_ADMIN_PASSWORD={}\n",
            plan.front_http,
            api_secret.reveal(),
            admin_password.reveal(),
        )
    }
}

/// Takes a directory for us: makes it, or empties it if it was ours and nobody is in it.
fn claim(path: &Path) -> anyhow::Result<File> {
    if !path.exists() {
        make_directory(path)?;
    }
    let shown = path.display();
    let about = fs::symlink_metadata(path).with_context(|| format!("cannot use {shown}"))?;
    if !about.is_dir() || about.uid() != rustix::process::geteuid().as_raw() {
        bail!("{shown} is no directory of yours; choose another --dir");
    }
    let empty = fs::read_dir(path)?.next().is_none();
    if !empty && !path.join(LOCK).exists() {
        bail!("{shown} holds other files; choose an empty --dir");
    }
    let mut options = OpenOptions::new();
    let lock = options.create(true).truncate(false).write(true).mode(0o600).open(path.join(LOCK))?;
    if lock.try_lock().is_err() {
        bail!(
            "a cluster runs in {shown}; stop it (Ctrl-C there, or `sala cluster down`), or choose another --dir"
        );
    }
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        let removed = match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path()),
            false => fs::remove_file(entry.path()),
        };
        removed.with_context(|| format!("cannot remove {}", entry.path().display()))?;
    }
    Ok(lock)
}

fn make_directory(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

/// Writes a file that its owner alone may read, also if one was there with wider rights.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sala-home-test-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn secrets_are_for_their_owner_only_and_two_clusters_do_not_share_a_directory() {
        let path = scratch("rights");
        let plan = Plan::new(1, 1, false, None).unwrap();
        let home = Home::create(&path, &plan).unwrap();
        for name in
            ["certificates/ca.key", "certificates/keys.yaml", "certificates/admin-password", "environment"]
        {
            let mode = fs::metadata(home.file(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(Home::create(&path, &plan).unwrap_err().to_string().contains("a cluster runs in"));
        drop(home);
        Home::create(&path, &plan).unwrap();
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_directory_with_other_files_is_left_alone() {
        let path = scratch("other");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("thesis.txt"), "three years of work").unwrap();
        let plan = Plan::new(1, 1, false, None).unwrap();
        assert!(Home::create(&path, &plan).unwrap_err().to_string().contains("holds other files"));
        assert!(path.join("thesis.txt").exists());
        fs::remove_dir_all(path).unwrap();
    }
}
