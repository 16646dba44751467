//! Opens psql on the database.

use std::{os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Error, Result};
use clap::Args;
use haven_testkit::{
    certificates::Certificates,
    database::Database,
    installation::Installation,
    secrets::{LOGINS, SUPERUSER, Secrets},
    state,
};

use crate::{DATABASE, STATE, listeners::Ports};

/// Open psql on the database of the running installation.
#[derive(Args)]
pub(crate) struct Shell {
    /// The login; only the superuser sees every row
    #[arg(long, default_value = SUPERUSER, value_parser = logins())]
    login: String,
    /// Arguments for psql, for example -c 'SELECT 1'
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

impl Shell {
    /// Replaces this process with psql. Returns only if psql cannot be started.
    pub(crate) fn run(self) -> Result<()> {
        let ports = Ports::running()?;
        let directory = state::directory(STATE);
        let database = Database::new(
            DATABASE,
            ports.postgres_port,
            &Certificates::keep(&directory.join("certificates"))?,
            Secrets::keep(&directory)?.into(),
        );
        let installation = Installation::find().context("Postgres is no longer installed")?;
        let mut psql = Command::new(installation.bin.join("psql"));
        let error = psql.envs(database.libpq(&self.login)).args(self.arguments).exec();
        Err(Error::from(error).context("starting psql"))
    }
}

/// Returns the logins that a developer can choose.
fn logins() -> Vec<&'static str> {
    LOGINS.into_iter().chain([SUPERUSER]).collect()
}
