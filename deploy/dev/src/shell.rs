//! Opens psql on the database.

use std::{io::IsTerminal, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Error, Result};
use clap::Args;
use haven_testkit::{
    database::Database,
    installation::Installation,
    secret_files::MOUNT,
    secrets::{LOGINS, SUPERUSER},
};

use crate::{
    DATABASE,
    compose::Compose,
    selection::{Postgres, Selected, Selection},
};

/// Open psql on the database of the running installation.
#[derive(Args)]
pub(crate) struct Shell {
    #[command(flatten)]
    selection: Selection,
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
        let target = self.selection.running()?;
        let mut psql = match &target.postgres {
            Postgres::Port(port) => {
                let secrets = target.secrets.clone();
                let database = Database::new(DATABASE, *port, &target.certificates, secrets);
                let installation = Installation::find().context("Postgres is no longer installed")?;
                let mut psql = Command::new(installation.bin.join("psql"));
                psql.envs(database.libpq(&self.login));
                psql
            }
            Postgres::Container(compose) => self.in_container(compose, &target),
        };
        let error = psql.args(&self.arguments).exec();
        Err(Error::from(error).context("starting psql"))
    }

    /// Returns the command that runs psql in the container of Postgres.
    fn in_container(&self, compose: &Compose, target: &Selected) -> Command {
        let mut psql = compose.command(&["exec"]);
        if !std::io::stdin().is_terminal() {
            psql.arg("-T");
        }
        if self.login == SUPERUSER {
            // Over the socket: no address may log in as the superuser.
            psql.args(["postgres", "psql", "--username", SUPERUSER, "--dbname", DATABASE]);
        } else {
            let password = target.secrets.password(&self.login);
            let connection = format!(
                "host=localhost dbname={DATABASE} user={} sslmode=verify-full sslrootcert={MOUNT}/ca.pem",
                self.login
            );
            psql.arg("--env").arg(format!("PGPASSWORD={password}"));
            psql.args(["postgres", "psql", &connection]);
        }
        psql
    }
}

/// Returns the logins that a developer can choose.
fn logins() -> Vec<&'static str> {
    LOGINS.into_iter().chain([SUPERUSER]).collect()
}
