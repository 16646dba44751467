//! The installation that a command works on: that of `cargo dev`, or that of deploy/compose.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::{Context, Result, ensure};
use clap::Args;
use haven_testkit::{
    certificates::Certificates,
    database::Database,
    environment::Listeners,
    secret_files::{Addresses, SecretFiles},
    secrets::Secrets,
    state,
};

use crate::{
    DATABASE, STATE,
    compose::{self, Compose},
    listeners::Ports,
};

/// The flag of every command that works on a running installation.
#[derive(Args, Clone, Copy)]
pub(crate) struct Selection {
    /// Use the installation of deploy/compose, instead of that of `cargo dev`
    #[arg(long)]
    compose: bool,
}

/// A running installation.
pub(crate) struct Selected {
    /// The directory of its secrets.
    pub(crate) directory: PathBuf,
    pub(crate) certificates: Certificates,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) identity: Listeners,
    pub(crate) data: Listeners,
    pub(crate) postgres: Postgres,
}

/// The way to the database of an installation.
pub(crate) enum Postgres {
    /// On this port of loopback.
    Port(u16),
    /// Only in a container: its port is not published.
    Container(Compose),
}

impl Selection {
    /// Returns true for the installation of deploy/compose.
    pub(crate) fn is_compose(self) -> bool {
        self.compose
    }

    /// Returns the flag as a command line has it, with a space before it, or nothing.
    pub(crate) fn flag(self) -> &'static str {
        if self.compose { " --compose" } else { "" }
    }

    /// Returns the running installation. Fails if it does not run.
    pub(crate) fn running(self) -> Result<Selected> {
        match self.compose {
            true => in_containers(),
            false => of_cargo_dev(),
        }
    }
}

/// Returns the database of the running installation of `cargo dev`.
pub(crate) fn database() -> Result<Database> {
    let ports = Ports::running()?;
    let directory = state::directory(STATE);
    let certificates = Certificates::keep(&directory.join("certificates"))?;
    let secrets = Secrets::keep(&directory)?.into();
    Ok(Database::new(
        DATABASE,
        ports.postgres_port,
        &certificates,
        secrets,
    ))
}

fn of_cargo_dev() -> Result<Selected> {
    let ports = Ports::running()?;
    let directory = state::directory(STATE);
    Ok(Selected {
        certificates: Certificates::keep(&directory.join("certificates"))?,
        secrets: Secrets::keep(&directory)?.into(),
        directory,
        identity: ports.identity(),
        data: ports.data(),
        postgres: Postgres::Port(ports.postgres_port),
    })
}

fn in_containers() -> Result<Selected> {
    let directory = compose::secrets();
    ensure!(
        directory.join("secrets.json").exists(),
        "{} has no secrets: create them with `cargo dev secrets`, and start the containers",
        directory.display()
    );
    let files = SecretFiles::keep(&directory, &Addresses::of_compose())?;
    // Only the APIs are published.
    let listeners = |variable, default| -> Result<Listeners> {
        Ok(Listeners {
            api: port(variable, default)?,
            health: 0,
            metrics: 0,
        })
    };
    Ok(Selected {
        directory,
        certificates: files.certificates,
        secrets: files.secrets,
        identity: listeners("IDENTITY_PORT", 50051)?,
        data: listeners("DATA_PORT", 50052)?,
        postgres: Postgres::Container(Compose::find()?),
    })
}

/// Returns a port that `.env` beside compose.yaml sets, or the default.
fn port(variable: &str, default: u16) -> Result<u16> {
    let text = fs::read_to_string(compose::directory().join(".env")).unwrap_or_default();
    let value = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| *name == variable);
    match value {
        Some((_, value)) => value
            .parse()
            .with_context(|| format!("{variable} in .env is {value:?}, and not a port")),
        None => Ok(default),
    }
}
