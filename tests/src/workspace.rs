//! This workspace: its paths, hashes of its files, and cargo commands.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::process::{self, OnDeath};

/// Returns the root directory of the workspace.
pub fn root() -> &'static Path {
    // The directory of this crate is one level below.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("/"))
}

/// Returns the directory of the migrations, with `cluster/`, `identity/` and `data/`.
pub fn migrations() -> PathBuf {
    root().join("migrations")
}

/// Returns a name that is unique to this checkout on the machine: a hash of its path.
pub fn fingerprint() -> String {
    let mut hasher = DefaultHasher::new();
    root().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Returns a hash that changes when a file in `directory` is added, removed, renamed or edited.
pub fn content_hash(directory: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for path in files(directory)? {
        path.hash(&mut hasher);
        fs::read(&path)
            .with_context(|| format!("reading {}", path.display()))?
            .hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// The folders that deploy/web/check fills: packages, generated code, and what is built of it.
const MADE: [&str; 6] = [
    "node_modules",
    "src/gen",
    "src/gen-sign-up",
    "dist",
    "test-results",
    "screenshots",
];

/// Returns all files below `directory`, sorted by path, without what git ignores.
pub fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
        let path = entry?.path();
        match path.is_dir() {
            true if MADE.iter().any(|name| path.ends_with(name)) => {}
            true => paths.extend(files(&path)?),
            false => paths.push(path),
        }
    }
    paths.sort();
    Ok(paths)
}

/// Returns a cargo command in this workspace. It is interrupted when this process ends.
pub fn cargo() -> Command {
    // The cargo that started this program. Without one, for example in a debugger, rustup chooses.
    let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
    let mut command = process::command(cargo, None, OnDeath::Interrupt);
    // Variables that cargo set for *this* program would make build scripts believe that their input has changed.
    let crate_variables = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "OUT_DIR",
    ];
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| crate_variables.iter().any(|prefix| name.starts_with(prefix)))
        {
            command.env_remove(name);
        }
    }
    command.current_dir(root()).stdin(Stdio::null());
    command
}
