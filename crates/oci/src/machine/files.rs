//! Files that a crash leaves whole: the old one or the new one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// A user and its group, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub user: u32,
    pub group: u32,
}

impl Owner {
    /// From the machine's user database; `None`: there is no such user.
    pub fn named(name: &str, root: &Path) -> Option<Owner> {
        let users = fs::read_to_string(root.join("etc/passwd")).ok()?;
        let entry = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        // After the name: password, user, group.
        let mut numbers = entry.split(':').skip(1);
        Some(Owner { user: numbers.next()?.parse().ok()?, group: numbers.next()?.parse().ok()? })
    }
}

/// The content; `None`: no such file.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Makes the file so, with its mode and owner, in a directory that it makes too. Returns whether the content is new.
pub(super) fn write(path: &Path, content: &[u8], mode: u32, owner: Option<Owner>) -> io::Result<bool> {
    if read(path)?.as_deref() == Some(content) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        give(path, owner)?;
        return Ok(false);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    make_directory(directory, 0o755)?;
    let beside = beside(path);
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&beside)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    give(&beside, owner)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // The name must be on the disk, too.
    File::open(directory)?.sync_all()?;
    Ok(true)
}

pub(super) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

pub(super) fn give(path: &Path, owner: Option<Owner>) -> io::Result<()> {
    match owner {
        Some(owner) => chown(path, Some(owner.user), Some(owner.group)),
        None => Ok(()),
    }
}

/// Moves a file or directory to `<path>.<suffix>`, with a number behind it if that is taken. None there is no error.
pub(super) fn set_aside(path: &Path, suffix: &str) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let free = (0_u32..).map(|count| match count {
        0 => path.with_file_name(format!("{name}.{suffix}")),
        count => path.with_file_name(format!("{name}.{suffix}-{count}")),
    });
    let free = free.take(1000).find(|candidate| !candidate.exists());
    let free = free.ok_or_else(|| io::Error::other("a thousand former ones are there; delete some"))?;
    fs::rename(path, free)
}

pub(super) fn is_filled(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sala-machine-files-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        path
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_secret_is_for_its_owner_only_from_the_first_moment_and_after_each_rewrite() {
        let place = scratch("modes");
        let path = place.join("etc/sala/store-password");
        assert!(write(&path, b"one", 0o600, None).unwrap());
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(!write(&path, b"one", 0o600, None).unwrap(), "the content is not new");
        assert_eq!(mode(&path), 0o600);
        assert!(write(&path, b"two", 0o600, None).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"two");
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn what_a_crash_left_half_written_does_not_stop_the_next_write() {
        let place = scratch("crash");
        let path = place.join("sala.yaml");
        fs::write(place.join(".sala.yaml.new"), "half a con").unwrap();
        assert!(write(&path, b"whole", 0o600, None).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert!(!place.join(".sala.yaml.new").exists());
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn data_is_set_aside_and_never_overwritten() {
        let place = scratch("aside");
        for content in ["a", "b"] {
            fs::create_dir(place.join("etcd")).unwrap();
            fs::write(place.join("etcd/wal"), content).unwrap();
            set_aside(&place.join("etcd"), "old").unwrap();
        }
        assert_eq!(fs::read(place.join("etcd.old/wal")).unwrap(), b"a");
        assert_eq!(fs::read(place.join("etcd.old-1/wal")).unwrap(), b"b");
        set_aside(&place.join("etcd"), "old").unwrap();
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn an_owner_is_found_by_its_whole_name() {
        let place = scratch("owner");
        fs::create_dir(place.join("etc")).unwrap();
        let users =
            "root:x:0:0:root:/root:/bin/sh\nsalamander:x:7:8::/:/bin/false\nsala:x:990:991::/:/bin/false\n";
        fs::write(place.join("etc/passwd"), users).unwrap();
        assert_eq!(Owner::named("sala", &place), Some(Owner { user: 990, group: 991 }));
        assert_eq!(Owner::named("nobody", &place), None);
        fs::remove_dir_all(place).unwrap();
    }
}
