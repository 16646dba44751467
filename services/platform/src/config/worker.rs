//! The connection of a command to Postgres: as the service's own login, without users' requests.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use super::{ConfigProblems, Environment};
use crate::database::{Pooler, WorkerConfig, is_url};

/// The flags of a command, named as those of `serve`, so that both can use the same environment.
#[derive(Args, Clone, Debug)]
pub struct WorkerArgs {
    /// The kind of installation: `development` only logs a warning where `production` refuses to start
    #[arg(
        long,
        env = "ENVIRONMENT",
        value_name = "production|development",
        default_value = "production"
    )]
    pub environment: String,
    /// The URL of the login for the service's own work:
    /// postgres://SCHEMA_worker:…@host/db?sslmode=verify-full&sslrootcert=…
    #[arg(long, env = "WORKER_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub worker_database_url: Option<SecretString>,
    /// A file that contains WORKER_DATABASE_URL
    #[arg(long, env = "WORKER_DATABASE_URL_FILE", value_name = "FILE")]
    pub worker_database_url_file: Option<PathBuf>,
    /// The mode of the connection pooler between the program and Postgres; `session` without a pooler
    #[arg(
        long,
        env = "DATABASE_POOLER",
        value_name = "session|transaction",
        default_value = "session"
    )]
    pub database_pooler: String,
}

impl WorkerArgs {
    /// Checks the flags. `schema` is the service's own.
    pub fn check(&self, problems: &mut ConfigProblems, schema: &'static str) -> Option<WorkerConfig> {
        const URL: &str = "WORKER_DATABASE_URL";
        let environment: Option<Environment> = problems.one_of("ENVIRONMENT", &self.environment);
        let (value, file) = (&self.worker_database_url, &self.worker_database_url_file);
        let url = problems.secret(URL, value.as_ref(), file.as_ref());
        let url = url.and_then(|url| match is_url(&url) {
            true => Some(url),
            false => problems.take(URL, Err("is not a postgres:// URL")),
        });
        let pooler: Option<Pooler> = problems.one_of("DATABASE_POOLER", &self.database_pooler);
        Some(WorkerConfig {
            schema,
            url: url?,
            pooler: pooler?,
            environment: environment?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(environment: &str, url: Option<&str>, pooler: &str) -> Result<WorkerConfig, String> {
        let args = WorkerArgs {
            environment: environment.into(),
            worker_database_url: url.map(Into::into),
            worker_database_url_file: None,
            database_pooler: pooler.into(),
        };
        let mut problems = ConfigProblems::new();
        let config = args.check(&mut problems, "data");
        problems.finish(config).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_wrong_is_reported_at_once_and_no_secret_is_shown() {
        let error = check("x", Some("mysql://canary"), "x").unwrap_err();
        for name in ["ENVIRONMENT", "WORKER_DATABASE_URL", "DATABASE_POOLER"] {
            assert!(error.contains(&format!("\n  {name}: ")), "{name}: {error}");
        }
        assert!(!error.contains("canary"), "{error}");
        assert!(
            check("production", None, "session")
                .unwrap_err()
                .contains("is missing")
        );
        let config = check(
            "production",
            Some("postgres://data_worker@localhost/haven"),
            "session",
        )
        .unwrap();
        assert_eq!(config.schema, "data");
    }
}
