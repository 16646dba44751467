//! How a command reaches Postgres: a program that serves nobody, and does the service's own work once.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use super::{ConfigProblems, Environment};
use crate::database::{Pooler, WorkerConfig, is_url};

/// The flags, named as those of `serve`, so that one environment does for both.
#[derive(Args, Clone, Debug)]
pub struct WorkerArgs {
    /// What the installation is for: `development` only reports what `production` refuses
    #[arg(
        long,
        env = "ENVIRONMENT",
        value_name = "production|development",
        default_value = "production"
    )]
    pub environment: String,
    /// The login for the service's own work: postgres://SCHEMA_worker:…@host/db?sslmode=verify-full&sslrootcert=…
    #[arg(long, env = "WORKER_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub worker_database_url: Option<SecretString>,
    /// A file that holds WORKER_DATABASE_URL
    #[arg(long, env = "WORKER_DATABASE_URL_FILE", value_name = "FILE")]
    pub worker_database_url_file: Option<PathBuf>,
    /// What stands between the program and Postgres: `transaction` for a pooler in transaction mode
    #[arg(
        long,
        env = "DATABASE_POOLER",
        value_name = "session|transaction",
        default_value = "session"
    )]
    pub database_pooler: String,
}

impl WorkerArgs {
    /// Checks the flags.
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
        let said = check("x", Some("mysql://canary"), "x").unwrap_err();
        for name in ["ENVIRONMENT", "WORKER_DATABASE_URL", "DATABASE_POOLER"] {
            assert!(said.contains(&format!("\n  {name}: ")), "{name}: {said}");
        }
        assert!(!said.contains("canary"), "{said}");
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
