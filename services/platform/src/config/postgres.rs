//! The connection to Postgres.

use std::{path::PathBuf, thread::available_parallelism};

use clap::Args;
use secrecy::SecretString;

use super::ConfigProblems;
use crate::database::{DatabaseConfig, DatabaseUrl, Pooler};

/// The flags of the connection to Postgres.
#[derive(Args, Clone, Debug)]
pub struct PostgresArgs {
    /// The URL of the login for users' requests: postgres://SCHEMA_app:…@host/db?sslmode=verify-full&sslrootcert=…
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<SecretString>,
    /// A file that contains DATABASE_URL
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,
    /// The URL of the login for the service's own work: postgres://SCHEMA_worker:…
    #[arg(long, env = "WORKER_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub worker_database_url: Option<SecretString>,
    /// A file that contains WORKER_DATABASE_URL
    #[arg(long, env = "WORKER_DATABASE_URL_FILE", value_name = "FILE")]
    pub worker_database_url_file: Option<PathBuf>,
    /// The maximum number of connections for users' requests [default: four per core]
    #[arg(
        long,
        env = "DATABASE_POOL_SIZE",
        value_name = "N",
        default_value = "",
        hide_default_value = true
    )]
    pub database_pool_size: String,
    /// The maximum number of connections for the service's own work
    #[arg(long, env = "WORKER_POOL_SIZE", value_name = "N", default_value = "4")]
    pub worker_pool_size: String,
    /// The mode of the connection pooler between the service and Postgres; `session` without a pooler
    #[arg(
        long,
        env = "DATABASE_POOLER",
        value_name = "session|transaction",
        default_value = "session"
    )]
    pub database_pooler: String,
}

impl PostgresArgs {
    /// Checks the flags. `schema` is the service's own.
    pub fn check(&self, problems: &mut ConfigProblems, schema: &'static str) -> Option<DatabaseConfig> {
        let app_url = problems.database_url(
            "DATABASE_URL",
            self.database_url.as_ref(),
            self.database_url_file.as_ref(),
        );
        let worker_url = problems.database_url(
            "WORKER_DATABASE_URL",
            self.worker_database_url.as_ref(),
            self.worker_database_url_file.as_ref(),
        );
        let app_connections = match self.database_pool_size.as_str() {
            "" => Some(default_connections()),
            size => problems.number("DATABASE_POOL_SIZE", size, 1..=1000),
        };
        let worker_connections = problems.number("WORKER_POOL_SIZE", &self.worker_pool_size, 1..=1000);
        let pooler: Option<Pooler> = problems.one_of("DATABASE_POOLER", &self.database_pooler);
        Some(DatabaseConfig {
            schema,
            app_url: app_url?,
            worker_url: worker_url?,
            app_connections: app_connections?,
            worker_connections: worker_connections?,
            pooler: pooler?,
        })
    }
}

impl ConfigProblems {
    /// Returns the URL of a login from the variable `name` or from the file that `<name>_FILE` names. Adds a problem when it is
    /// missing or no URL.
    fn database_url(
        &mut self,
        name: &str,
        value: Option<&SecretString>,
        file: Option<&PathBuf>,
    ) -> Option<DatabaseUrl> {
        let url = self.secret(name, value, file)?;
        if crate::database::is_url(&url) {
            return Some(DatabaseUrl::new(url, file.cloned()));
        }
        self.add(name, "is not a postgres:// URL");
        None
    }

    /// Returns the URL of a login that may be left out: `Some(None)` then. Adds a problem when it is set and no URL.
    pub fn optional_database_url(
        &mut self,
        name: &str,
        value: Option<&SecretString>,
        file: Option<&PathBuf>,
    ) -> Option<Option<DatabaseUrl>> {
        match (value, file) {
            (None, None) => Some(None),
            _ => self.database_url(name, value, file).map(Some),
        }
    }
}

/// Returns four connections per core: with more, reads get slower, not faster.
fn default_connections() -> u32 {
    available_parallelism().map_or(8, |cores| u32::try_from(cores.get() * 4).unwrap_or(8))
}
