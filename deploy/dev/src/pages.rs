//! The pages of `deploy/web`: builds them, and serves them with the calls of both services under one origin.
//!
//! So the browser of a developer need not trust the authority of the services' certificates: the server of the pages does.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use haven_testkit::{
    environment::Environment,
    process::{self, OnDeath, Process},
    workspace,
};
use tokio::time::sleep;

/// The time that the server gets to listen.
const START: Duration = Duration::from_secs(30);

/// The server of the pages.
pub(crate) struct Pages(Process);

/// Returns the origins of pages on `port`, as `WEB_ORIGINS` lists them.
pub(crate) fn origins(port: u16) -> String {
    format!("{},http://127.0.0.1:{port}", address(port))
}

/// Returns the address of the pages.
pub(crate) fn address(port: u16) -> String {
    format!("http://localhost:{port}")
}

/// Installs what the pages are built with, where it is missing, and builds them.
pub(crate) fn build() -> Result<()> {
    let installed = directory().join("node_modules/.package-lock.json");
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let is_current = changed(&installed)
        .and_then(|installed| Ok(installed >= changed(&directory().join("package-lock.json"))?))
        .unwrap_or(false);
    if !is_current {
        npm(&["ci", "--no-audit", "--no-fund"])?;
    }
    npm(&["run", "build"])
}

impl Pages {
    /// Starts the server on `port`, and waits until it listens. Its output goes to a log in `state`.
    pub(crate) async fn start(port: u16, environment: &Environment<'_>, state: &Path) -> Result<Self> {
        let mut vite = process::command("node", None, OnDeath::Kill);
        vite.args(["node_modules/vite/bin/vite.js", "preview", "--strictPort"])
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .current_dir(directory())
            .env("HAVEN_CA", environment.certificates.authority());
        for (name, listeners) in [
            ("HAVEN_IDENTITY", environment.identity),
            ("HAVEN_DATA", environment.data),
        ] {
            vite.env(name, format!("https://localhost:{}", listeners.api));
        }
        let log = state.join("web.log");
        // Each run starts with an empty log.
        let _ = fs::remove_file(&log);
        let mut pages = Self(Process::start("the server of the pages", vite, &log)?);
        let limit = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(problem) = pages.failure() {
                return Err(problem);
            }
            if Instant::now() > limit {
                bail!(pages.0.failure());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(pages)
    }

    /// Returns an error with the last lines of its log if the server has ended.
    pub(crate) fn failure(&mut self) -> Option<anyhow::Error> {
        self.0.ended().is_some().then(|| self.0.failure())
    }
}

/// Returns the directory of the pages.
fn directory() -> PathBuf {
    workspace::root().join("deploy/web")
}

/// Runs npm. An error has what it printed.
fn npm(arguments: &[&str]) -> Result<()> {
    let mut npm = Command::new("npm");
    let output = npm
        .args(arguments)
        .current_dir(directory())
        .stdin(Stdio::null())
        .output()
        .context("--web needs npm and Node.js 20.19 or newer (package npm)")?;
    ensure!(
        output.status.success(),
        "npm {} in deploy/web: {}\n{}",
        arguments.join(" "),
        output.status,
        last_lines(&output)
    );
    Ok(())
}

/// Returns the last lines of what a program printed.
fn last_lines(output: &Output) -> String {
    let text = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
