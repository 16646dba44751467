//! Builds the programs of the services.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::workspace;

/// The profile of this program, so that programs that were built together with it are reused.
const PROFILE: &str = if cfg!(debug_assertions) { "dev" } else { "release" };

/// The paths of the programs.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The path of the program `identity`.
    pub identity: PathBuf,
    /// The path of the program `data`.
    pub data: PathBuf,
    /// The path of the program `haven-dev`, which `cargo dev` runs.
    pub dev: PathBuf,
}

/// The relevant part of a message of `cargo build --message-format=json`.
#[derive(Deserialize)]
struct Message {
    /// The path of a built program.
    executable: Option<PathBuf>,
}

impl Binaries {
    /// Builds the programs with the profile of this program, once per process. It is fast if `cargo build` or an
    /// earlier test has built them. The output of cargo goes to the terminal.
    pub fn build() -> Result<Self> {
        static BUILT: OnceLock<Result<Binaries, String>> = OnceLock::new();
        let built = BUILT.get_or_init(|| Self::run_cargo().map_err(|error| format!("{error:#}")));
        built.clone().map_err(anyhow::Error::msg)
    }

    /// Returns the program of the service `name`.
    pub fn of(&self, name: &str) -> &Path {
        if name == "identity" {
            &self.identity
        } else {
            &self.data
        }
    }

    /// Runs `cargo build`, and finds the programs in its messages.
    fn run_cargo() -> Result<Self> {
        let mut cargo = workspace::cargo();
        cargo.args([
            "build",
            "--workspace",
            "--bins",
            "--message-format=json-render-diagnostics",
        ]);
        cargo.args(["--profile", PROFILE]).stderr(Stdio::inherit());
        let output = cargo.output().context("starting cargo")?;
        ensure!(output.status.success(), "cargo build failed");
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
            dev: find("haven-dev")?,
        })
    }
}
