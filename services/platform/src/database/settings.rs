//! The settings for connecting to a schema.

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;

use super::url::DatabaseUrl;
use crate::environment::Environment;

/// The kind of connection pooler between the service and Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pooler {
    /// No pooler, or one in session mode.
    Session,
    /// A pooler in transaction mode. Statements are not prepared under a name, because the next transaction may use
    /// another server connection.
    Transaction,
}

/// The settings for connecting a service to its schema.
#[derive(Debug)]
pub struct DatabaseConfig {
    /// The schema, which is also the prefix of its roles.
    pub schema: &'static str,
    /// The `postgres://` URL of the login for users' requests.
    pub app_url: DatabaseUrl,
    /// The `postgres://` URL of the login for the service's own work.
    pub worker_url: DatabaseUrl,
    /// The maximum number of connections for users' requests.
    pub app_connections: u32,
    /// The maximum number of connections for the service's own work.
    pub worker_connections: u32,
    /// The kind of connection pooler in between.
    pub pooler: Pooler,
}

/// The settings for connecting a command to its service's schema, with the login for the service's own work only.
#[derive(Debug)]
pub struct WorkerConfig {
    /// The schema, which is also the prefix of its roles.
    pub schema: &'static str,
    /// The `postgres://` URL of the login for the service's own work.
    pub url: SecretString,
    /// The kind of connection pooler in between.
    pub pooler: Pooler,
    /// The kind of installation.
    pub environment: Environment,
}

/// Returns whether sqlx can parse `url`. Its own error is not used, because it would contain the password.
pub(crate) fn is_url(url: &SecretString) -> bool {
    url.expose_secret().starts_with("postgres") && url.expose_secret().parse::<PgConnectOptions>().is_ok()
}
