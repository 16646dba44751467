//! A shell on the database.

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

/// Open a shell on the database of what is running.
#[derive(Args)]
pub(crate) struct Shell {
    /// As whom; the superuser, unlike everybody else, sees every row
    #[arg(long, default_value = SUPERUSER, value_parser = logins())]
    login: String,
    /// What to pass on to psql, such as -c 'SELECT 1'
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

impl Shell {
    pub(crate) fn run(self) -> Result<()> {
        let ports = Ports::running()?;
        let directory = state::directory(STATE);
        let database = Database::new(
            DATABASE,
            ports.postgres_port,
            &Certificates::keep(&directory.join("certificates"))?,
            Secrets::keep(&directory)?.into(),
        );
        let installation = Installation::find().context("Postgres is gone")?;
        let mut psql = Command::new(installation.bin.join("psql"));
        let problem = psql.envs(database.libpq(&self.login)).args(self.arguments).exec();
        Err(Error::from(problem).context("starting psql"))
    }
}

fn logins() -> Vec<&'static str> {
    LOGINS.into_iter().chain([SUPERUSER]).collect()
}
