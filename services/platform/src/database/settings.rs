//! How to reach a schema: URLs, pool sizes, the pooler in between.

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;

use crate::environment::Environment;

/// What stands between the service and Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pooler {
    /// Nothing, or a pooler in session mode.
    Session,
    /// A pooler in transaction mode: no statement is prepared under a name, because the next transaction may be on
    /// another connection.
    Transaction,
}

/// How to reach a service's schema.
#[derive(Debug)]
pub struct DatabaseConfig {
    /// The schema, which is also the prefix of its roles.
    pub schema: &'static str,
    /// The login for people's requests, as a `postgres://` URL.
    pub app_url: SecretString,
    /// The login for the service's own work.
    pub worker_url: SecretString,
    /// At most how many connections for requests.
    pub app_connections: u32,
    /// At most how many connections for the service's own work.
    pub worker_connections: u32,
    /// What stands between.
    pub pooler: Pooler,
}

/// How a command reaches its service's schema: as the service's own login alone.
#[derive(Debug)]
pub struct WorkerConfig {
    /// The schema, which is also the prefix of its roles.
    pub schema: &'static str,
    /// The login for the service's own work, as a `postgres://` URL.
    pub url: SecretString,
    /// What stands between.
    pub pooler: Pooler,
    /// What the installation is for.
    pub environment: Environment,
}

/// Whether that is a URL that sqlx understands. Its own error would repeat the text, password and all.
pub(crate) fn is_url(url: &SecretString) -> bool {
    url.expose_secret().starts_with("postgres") && url.expose_secret().parse::<PgConnectOptions>().is_ok()
}
