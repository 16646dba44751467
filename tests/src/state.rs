//! The directories in which things are kept between runs, each used by one process at a time.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use crate::{process::command_line, workspace};

/// How many runs of one kind may happen at once.
const SLOTS: usize = 64;

/// A directory of ours, held by this process until the value is dropped.
pub struct State {
    path: PathBuf,
    _lock: File,
}

impl State {
    /// Takes the directory called `name`. Fails, naming the holder, when another process has it.
    pub fn take(name: &str) -> Result<Self> {
        match Self::try_take(name)? {
            Some(state) => Ok(state),
            None => bail!(
                "{} is in use by {}: stop that first",
                directory(name).display(),
                holder(name).unwrap_or_default()
            ),
        }
    }

    /// Takes the first directory of `name`, `name-2`, `name-3` … that no other process has.
    pub fn take_any(name: &str) -> Result<Self> {
        for slot in 1..=SLOTS {
            let name = if slot == 1 {
                name.to_owned()
            } else {
                format!("{name}-{slot}")
            };
            if let Some(state) = Self::try_take(&name)? {
                return Ok(state);
            }
        }
        bail!("{SLOTS} processes use {} already", directory(name).display())
    }

    fn try_take(name: &str) -> Result<Option<Self>> {
        let (path, lock_path) = (directory(name), lock_file(name));
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        // The server's own user passes through to its data, and sees nothing else on the way.
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

    /// Where the directory is.
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

/// The directory called `name`, whoever holds it.
pub fn directory(name: &str) -> PathBuf {
    root().join(name)
}

/// Who holds the directory called `name`: process number and command. `None` when nobody does.
pub fn holder(name: &str) -> Option<String> {
    let mut lock = File::open(lock_file(name)).ok()?;
    // Shared: two that only ask do not take each other for the holder.
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        _ => return None,
    }
    let mut pid = String::new();
    lock.read_to_string(&mut pid).ok()?;
    let command = pid.parse().ok().and_then(command_line).unwrap_or_default();
    Some(format!("process {pid} ({command})"))
}

fn lock_file(name: &str) -> PathBuf {
    root().join(format!("{name}.lock"))
}

/// Root's Postgres runs as another user, who may not be able to reach the workspace (`/root` is closed to others);
/// everybody else keeps everything with the rest of what cargo makes.
fn root() -> PathBuf {
    match geteuid().is_root() {
        true => Path::new("/var/lib/haven").join(workspace::fingerprint()),
        false => workspace::root().join("target/haven"),
    }
}
