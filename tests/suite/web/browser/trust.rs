//! The trust of a browser in the authority of the services' certificates.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

/// Lets a Chromium with the home directory `home` trust `authority`. It still refuses certificates with another name.
pub(super) fn authority(home: &Path, authority: &Path) -> Result<()> {
    let database = home.join(".pki/nssdb");
    fs::create_dir_all(&database)?;
    let database = format!("sql:{}", database.display());
    let authority = authority.to_string_lossy();
    certutil(&["-N", "--empty-password", "-d", &database])?;
    certutil(&[
        "-A", "-d", &database, "-n", "haven", "-t", "C,,", "-i", &authority,
    ])
}

fn certutil(arguments: &[&str]) -> Result<()> {
    let output = Command::new("certutil")
        .args(arguments)
        .output()
        .context("starting certutil (package libnss3-tools)")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "certutil {}: {errors}", arguments[0]);
    Ok(())
}
