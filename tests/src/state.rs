//! Directories with state that is kept between runs. Each is used by one process at a time.

use std::{
    env,
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result, bail};
use rustix::{fs::statvfs, process::geteuid};

use crate::{process::command_line, workspace};

/// The maximum number of directories with the same base name, and so of concurrent runs.
const SLOTS: usize = 64;

/// The environment variable that chooses the parent of all state directories.
pub const ROOT_VARIABLE: &str = "HAVEN_STATE_DIR";

/// The file system in memory that tests use where it has room for them.
const MEMORY: &str = "/dev/shm";

/// The room that tests need in [`MEMORY`], in bytes.
const MEMORY_ROOM: u64 = 4 << 30;

/// A state directory. This process holds its lock until the value is dropped.
pub struct State {
    path: PathBuf,
    _lock: File,
}

impl State {
    /// Locks the directory `name`, and creates it if needed. Fails with the name of the holder if another process holds
    /// it.
    pub fn take(name: &str) -> Result<Self> {
        match Self::try_take(&root(), name)? {
            Some(state) => Ok(state),
            None => bail!(
                "{} is in use by {}: stop that first",
                directory(name).display(),
                holder(name).unwrap_or_default()
            ),
        }
    }

    /// Locks the first directory of `name`, `name-2`, `name-3` … that no other process holds.
    pub fn take_any(name: &str) -> Result<Self> {
        Self::take_any_in(&root(), name)
    }

    /// As [`State::take_any`], for state that a reboot may lose: in memory where there is room, because each test creates
    /// and drops a database of some 300 files, which takes a seventh of the machine's time on a disk.
    pub fn take_any_in_memory(name: &str) -> Result<Self> {
        Self::take_any_in(&memory_root().unwrap_or_else(root), name)
    }

    fn take_any_in(root: &Path, name: &str) -> Result<Self> {
        for slot in 1..=SLOTS {
            let name = if slot == 1 {
                name.to_owned()
            } else {
                format!("{name}-{slot}")
            };
            if let Some(state) = Self::try_take(root, &name)? {
                return Ok(state);
            }
        }
        bail!("{SLOTS} processes already use {}", root.join(name).display())
    }

    /// Locks the directory `name` in `root`. Returns `None` if another process holds it.
    fn try_take(root: &Path, name: &str) -> Result<Option<Self>> {
        let (path, lock_path) = (root.join(name), lock_file(root, name));
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        // The server's user can reach its data below, but cannot list the directory.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711))?;
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .open(&lock_path)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            other => other.with_context(|| format!("locking {}", lock_path.display()))?,
        }
        lock.set_len(0)?;
        write!(lock, "{}", process::id())?;
        Ok(Some(Self { path, _lock: lock }))
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes everything in the directory.
    pub fn clear(&self) -> Result<()> {
        let cleared = fs::remove_dir_all(&self.path).and_then(|()| fs::create_dir(&self.path));
        cleared.with_context(|| format!("clearing {}", self.path.display()))?;
        Ok(fs::set_permissions(
            &self.path,
            fs::Permissions::from_mode(0o711),
        )?)
    }
}

/// Returns the path of the directory `name`, without locking it.
pub fn directory(name: &str) -> PathBuf {
    root().join(name)
}

/// Returns the process id and the command that hold the directory `name`, or `None` if it is not locked.
pub fn holder(name: &str) -> Option<String> {
    let mut lock = File::open(lock_file(&root(), name)).ok()?;
    // A shared lock, so that two concurrent calls of this function do not see each other as the holder.
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        _ => return None,
    }
    let mut pid = String::new();
    lock.read_to_string(&mut pid).ok()?;
    let command = pid.parse().ok().and_then(command_line).unwrap_or_default();
    Some(format!("process {pid} ({command})"))
}

/// Returns the path of the lock of the directory `name` in `root`.
fn lock_file(root: &Path, name: &str) -> PathBuf {
    root.join(format!("{name}.lock"))
}

/// Returns the parent of the state directories in memory. `None` when there is no such file system, when it has too little
/// room, or when another user owns the parent: the file system is open to all users.
fn memory_root() -> Option<PathBuf> {
    let room = statvfs(MEMORY).ok()?;
    if room.f_bavail.saturating_mul(room.f_frsize) < MEMORY_ROOM {
        return None;
    }
    let user = geteuid();
    let own = Path::new(MEMORY).join(format!("haven-{}", user.as_raw()));
    fs::create_dir_all(&own).ok()?;
    let metadata = fs::symlink_metadata(&own).ok()?;
    let is_own = metadata.is_dir() && metadata.uid() == user.as_raw();
    is_own.then(|| own.join(workspace::fingerprint()))
}

/// Returns the parent of all state directories: what the variable [`ROOT_VARIABLE`] names, and otherwise a directory below
/// `target` of the workspace, or below `/var/lib/haven` for root.
///
/// Postgres of root runs as another user, which may not be able to reach the workspace (`/root` is closed to others).
fn root() -> PathBuf {
    if let Some(chosen) = env::var_os(ROOT_VARIABLE).filter(|chosen| !chosen.is_empty()) {
        return chosen.into();
    }
    match geteuid().is_root() {
        true => Path::new("/var/lib/haven").join(workspace::fingerprint()),
        false => workspace::root().join("target/haven"),
    }
}
