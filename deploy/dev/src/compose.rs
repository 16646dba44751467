//! The containers of deploy/compose, through `docker compose` or `podman-compose`.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use haven_testkit::workspace;

use crate::say;

/// The program that reads compose.yaml, with its first arguments.
pub(crate) struct Compose(&'static [&'static str]);

impl Compose {
    /// Finds the program on this machine.
    pub(crate) fn find() -> Result<Self> {
        for program in [&["docker", "compose"][..], &["podman-compose"]] {
            let mut version = Command::new(program[0]);
            version.args(&program[1..]).arg("version");
            let status = version.stdout(Stdio::null()).stderr(Stdio::null()).status();
            if status.is_ok_and(|status| status.success()) {
                return Ok(Self(program));
            }
        }
        bail!("neither `docker compose` nor `podman-compose` is installed, or works")
    }

    /// Returns a command of the program for compose.yaml.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.0[0]);
        command
            .args(&self.0[1..])
            .arg("--file")
            .arg(directory().join("compose.yaml"))
            .args(arguments);
        command
    }

    /// Deletes all data in the volumes, and starts the containers again. Keys and certificates stay.
    pub(crate) fn reset(&self) -> Result<()> {
        self.run(&["--profile", "monitoring", "down", "--volumes"])?;
        say("Deleted all data of deploy/compose");
        self.run(&["up", "--detach"])
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let status = self.command(arguments).status();
        let status = status.with_context(|| format!("starting {}", self.0[0]))?;
        ensure!(
            status.success(),
            "{} {}: {status}",
            self.0.join(" "),
            arguments.join(" ")
        );
        Ok(())
    }
}

/// Returns the directory of compose.yaml.
pub(crate) fn directory() -> PathBuf {
    workspace::root().join("deploy/compose")
}

/// Returns the directory of the certificates and secrets that compose.yaml mounts by default.
pub(crate) fn secrets() -> PathBuf {
    directory().join("secrets")
}
