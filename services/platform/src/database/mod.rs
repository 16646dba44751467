//! Postgres. Tenant rows are reachable only inside a transaction that carries its caller.
//!
//! The pools are private to this module, so there is nothing else that a query could be run on: a store function takes
//! a [`TenantTx`], and only [`Database::begin`] makes one. Who the caller is goes to Postgres in the same round trip
//! that begins the transaction; Row Level Security does the rest.

mod error;
mod inspection;
mod migration;
mod pool;
mod transaction;

use std::{fmt, time::Duration};

use deadpool::managed::Object;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, postgres::PgConnectOptions, raw_sql};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use self::pool::{Pool, pool};
pub use self::{
    error::DbError,
    inspection::{Finding, Severity, Unfit},
    migration::{MigrationError, Migrations},
    transaction::TenantTx,
};
use crate::{call::UserId, config::Environment, deadline::Deadline};

/// As whom a transaction acts, and on whose rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// No caller. Reaches no row; may call the narrow functions that are granted to it.
    Anonymous,
    /// No caller yet, with a user id in the claims: may insert the first rows of that id.
    AnonymousFor(UserId),
    /// A user, on the user's own rows.
    User(UserId),
    /// The service itself, on its own tables, such as a queue.
    Service,
    /// The service, on the rows of one user.
    ServiceFor(UserId),
    /// The service, on the rows that a claim of its own grants it.
    ServiceWith(Claim),
}

/// A claim of a transaction beside its role, for policies to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The claim's name in `request.jwt.claims`: lower-case letters, because it is not escaped.
    pub name: &'static str,
    /// The claim's value.
    pub value: Uuid,
}

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

/// A service's schema, seen through its two logins. A person's request cannot reach what the service may do: they are
/// different logins, and neither may become the other's roles.
pub struct Database {
    schema: &'static str,
    /// None in a command, which has no requests of people.
    app: Option<Pool>,
    worker: Pool,
    pooler: Pooler,
}

// === impl Context ===

impl Context {
    fn role(self) -> &'static str {
        match self {
            Self::Anonymous | Self::AnonymousFor(_) => "anon",
            Self::User(_) => "user",
            Self::Service | Self::ServiceFor(_) | Self::ServiceWith(_) => "service",
        }
    }

    /// What the transaction carries for policies to read.
    fn claims(self) -> String {
        match self {
            Self::Anonymous | Self::Service => "{}".to_owned(),
            Self::AnonymousFor(id) | Self::User(id) | Self::ServiceFor(id) => format!(r#"{{"sub":"{id}"}}"#),
            Self::ServiceWith(Claim { name, value }) => format!(r#"{{"{name}":"{value}"}}"#),
        }
    }

    /// The batch that begins a transaction as this caller. Nothing in it comes from a request but a UUID.
    ///
    /// `set_config` rather than `SET LOCAL` for the claims, because query statistics keep the text of the latter. The role
    /// is set by a statement of its own: one that ends as another role than it began as is kept with its text, too.
    fn begin(self, schema: &'static str, timeout: Duration) -> String {
        let role = self.role();
        let claims = self.claims();
        // 0 would mean no limit.
        let millis = timeout.as_millis().clamp(1, i32::MAX as u128);
        format!(
            "BEGIN; SELECT set_config('request.jwt.claims', '{claims}', true), \
             set_config('statement_timeout', '{millis}', true); \
             SET LOCAL ROLE {schema}_{role}"
        )
    }
}

// === impl Database ===

impl Database {
    /// Prepares both pools. No connection is made yet, so that a service starts, and says that it is not ready, while
    /// its database is down.
    ///
    /// # Errors
    ///
    /// When a URL cannot be read; its text is not in the error.
    pub fn new(config: &DatabaseConfig) -> Result<Self, DbError> {
        Ok(Self {
            schema: config.schema,
            app: Some(pool(&config.app_url, config.app_connections)?),
            worker: pool(&config.worker_url, config.worker_connections)?,
            pooler: config.pooler,
        })
    }

    /// For a command: one connection for the service's own work, once the database has been looked at as
    /// [`Database::admit`] does. Nothing can be begun as anybody but the service.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached, or must not be used.
    pub async fn worker_only(config: &WorkerConfig, newest: i64) -> Result<Self, Unfit> {
        let database = Self {
            schema: config.schema,
            app: None,
            worker: pool(&config.url, 1)?,
            pooler: config.pooler,
        };
        database.admit(newest, config.environment).await?;
        Ok(database)
    }

    /// Begins a transaction as `context`: one round trip. `name` is the method that it serves.
    ///
    /// What is left until `deadline` bounds the wait for a connection and, in Postgres, every statement.
    ///
    /// # Errors
    ///
    /// When no connection is to be had in time, or Postgres does not answer.
    pub async fn begin(
        &self,
        name: &'static str,
        context: Context,
        deadline: Deadline,
    ) -> Result<TenantTx, DbError> {
        let pool = match context {
            Context::Anonymous | Context::AnonymousFor(_) | Context::User(_) => self
                .app
                .as_ref()
                .ok_or_else(|| DbError::unexpected("a command acts as its service alone"))?,
            Context::Service | Context::ServiceFor(_) | Context::ServiceWith(_) => &self.worker,
        };
        let began = Instant::now();
        loop {
            let remaining = deadline.remaining();
            if remaining.is_zero() {
                return Err(DbError::deadline());
            }
            let lease = timeout_at(deadline.instant(), pool.get()).await;
            let lease = lease.map_err(|_| DbError::deadline())??;
            let is_new = Object::metrics(&lease).recycle_count == 0;
            let batch = AssertSqlSafe(context.begin(self.schema, remaining));
            // From here on a caller who goes away leaves a transaction behind, which is rolled back as it is dropped.
            let mut tx = TenantTx::new(lease, name, self.pooler, began);
            let begun = timeout_at(deadline.instant(), raw_sql(batch).execute(tx.connection())).await;
            let error = match begun {
                Ok(Ok(_)) => return Ok(tx),
                Ok(Err(error)) => DbError::from(error),
                Err(_) => DbError::deadline(),
            };
            // Whatever state its connection is in, nobody else shall have it.
            tx.discard();
            // After Postgres was restarted every kept connection is dead, and beginning can always be done again.
            if is_new || !error.is_unavailable() {
                return Err(error);
            }
        }
    }

    /// Publishes how many connections each pool has, how many of them are idle, and how many calls wait for one.
    pub fn record_pool_use(&self) {
        for (name, pool) in self.pools() {
            let status = pool.status();
            let used = status.size.saturating_sub(status.available);
            for (state, count) in [
                ("idle", status.available),
                ("used", used),
                ("waited_for", status.waiting),
            ] {
                metrics::gauge!("haven_db_connections", "pool" => name, "state" => state).set(count as f64);
            }
            metrics::gauge!("haven_db_connections_max", "pool" => name).set(status.max_size as f64);
        }
    }

    /// Closes every connection; those in use, as soon as they come back.
    pub fn close(&self) {
        self.pools().for_each(|(_, pool)| pool.close());
    }

    /// The pools, each under the name of its login without the schema.
    fn pools(&self) -> impl Iterator<Item = (&'static str, &Pool)> {
        let app = self.app.iter().map(|pool| ("app", pool));
        app.chain([("worker", &self.worker)])
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// Whether that is a URL that sqlx understands. Its own error would repeat the text, password and all.
pub(crate) fn is_url(url: &SecretString) -> bool {
    url.expose_secret().starts_with("postgres") && url.expose_secret().parse::<PgConnectOptions>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_begins_as_its_caller_in_one_batch() {
        let id = UserId::new(Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057));
        assert_eq!(
            Context::User(id).begin("data", Duration::from_millis(1500)),
            "BEGIN; SELECT set_config('request.jwt.claims', '{\"sub\":\"01890a5d-ac96-774b-bcce-b302099a8057\"}', true), \
             set_config('statement_timeout', '1500', true); \
             SET LOCAL ROLE data_user"
        );
        assert!(
            Context::Service
                .begin("data", Duration::ZERO)
                .ends_with("ROLE data_service")
        );
        assert!(
            Context::ServiceWith(Claim {
                name: "ticket",
                value: Uuid::nil()
            })
            .begin("data", Duration::ZERO)
            .contains(r#"'{"ticket":"00000000-0000-0000-0000-000000000000"}'"#)
        );
        assert!(Context::Anonymous.begin("data", Duration::ZERO).contains("'{}'"));
        assert!(
            Context::Anonymous
                .begin("data", Duration::ZERO)
                .contains("'statement_timeout', '1'")
        );
    }
}
