//! This workspace: where it lies, what of it has changed, and how to build it.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::process::{self, OnDeath};

/// The workspace's directory.
pub fn root() -> &'static Path {
    // This crate lies one below.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("/"))
}

/// The directory of the migrations: `cluster/`, `identity/` and `data/` lie in it.
pub fn migrations() -> PathBuf {
    root().join("migrations")
}

/// A name for this checkout that no other checkout on the machine has.
pub fn fingerprint() -> String {
    let mut hasher = DefaultHasher::new();
    root().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// A value that changes when a file in `directory` is added, removed, renamed or edited.
pub fn content(directory: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for path in files(directory)? {
        path.hash(&mut hasher);
        fs::read(&path)
            .with_context(|| format!("reading {}", path.display()))?
            .hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Every file in `directory` and below, in the order of their paths.
pub fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

/// A cargo that works on this workspace, and is interrupted when this process ends.
pub fn cargo() -> Command {
    // The one that started this program. A debugger that started it leaves the choice to rustup.
    let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
    let mut command = process::command(cargo, None, OnDeath::Interrupt);
    // What it said about *this* program, build scripts would take for theirs, and believe that it has changed.
    let about_a_crate = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "OUT_DIR",
    ];
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| about_a_crate.iter().any(|start| name.starts_with(start)))
        {
            command.env_remove(name);
        }
    }
    command.current_dir(root()).stdin(Stdio::null());
    command
}
