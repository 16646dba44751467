//! Packages of Python from PyPI, for the programs of tests.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    package::{keep, run},
    release::pip,
};

/// The JWT libraries of Python, as a requirements file of pip, with the files for Python 3.11 to 3.14.
pub const JWT_LIBRARIES: &str = include_str!("jwt-requirements.txt");

/// Downloads `requirements`, a requirements file with hashes, for this machine's Python, unless an earlier run did, and
/// returns the directory that `PYTHONPATH` must have. `name` is that of the packages in the state directory.
///
/// # Errors
///
/// If pip cannot download them, for example because this machine's Python is older or newer.
pub fn unpack(name: &str, requirements: &str) -> Result<PathBuf> {
    let python = run(Command::new("python3").args(["-c", "import sys; print(sys.implementation.cache_tag)"]))
        .context("python3 is needed")?;
    keep(&format!("{name}-{}", python.trim()), |draft| {
        let file = draft.join("requirements.txt");
        fs::write(&file, requirements)?;
        let mut install = pip(draft)?;
        install
            .args(["install", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .args([
                "--require-hashes",
                "--only-binary=:all:",
                "--root-user-action=ignore",
            ])
            .arg("--target")
            .arg(draft.join("root"))
            .arg("--requirement")
            .arg(&file);
        run(&mut install).map(drop)
    })
}
