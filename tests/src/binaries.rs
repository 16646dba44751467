//! The services' programs, built from this checkout.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::workspace;

/// As this program was built, so that what was built with it is used.
const PROFILE: &str = if cfg!(debug_assertions) { "dev" } else { "release" };

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The program `identity`.
    pub identity: PathBuf,
    /// The program `data`.
    pub data: PathBuf,
}

/// The part of a line of `cargo build --message-format=json` that names a program.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

impl Binaries {
    /// Builds both programs as this one was built: nothing to do where `cargo build` or an earlier test did it. Once
    /// in a process; cargo's own lines go to the terminal.
    pub fn build() -> Result<Self> {
        static BUILT: OnceLock<Result<Binaries, String>> = OnceLock::new();
        let built = BUILT.get_or_init(|| Self::build_anew().map_err(|problem| format!("{problem:#}")));
        built.clone().map_err(anyhow::Error::msg)
    }

    /// The program of the service called `name`.
    pub fn of(&self, name: &str) -> &Path {
        if name == "identity" {
            &self.identity
        } else {
            &self.data
        }
    }

    fn build_anew() -> Result<Self> {
        let mut cargo = workspace::cargo();
        cargo.args([
            "build",
            "--workspace",
            "--bins",
            "--message-format=json-render-diagnostics",
        ]);
        cargo.args(["--profile", PROFILE]).stderr(Stdio::inherit());
        let output = cargo.output().context("starting cargo")?;
        ensure!(output.status.success(), "the services do not build");
        let lines = String::from_utf8_lossy(&output.stdout);
        let messages = lines
            .lines()
            .filter_map(|line| serde_json::from_str::<Message>(line).ok());
        let programs: Vec<PathBuf> = messages.filter_map(|message| message.executable).collect();
        let find = |name: &str| match programs
            .iter()
            .find(|path| path.file_stem().is_some_and(|stem| stem == name))
        {
            Some(path) => Ok(path.clone()),
            None => bail!("the workspace has no program `{name}`"),
        };
        Ok(Self {
            identity: find("identity")?,
            data: find("data")?,
        })
    }
}
