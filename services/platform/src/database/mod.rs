//! Postgres. Tenant rows are reachable only inside a transaction that carries its caller.
//!
//! The pools are private to this module, so there is nothing else that a query could be run on: a store function takes
//! a [`TenantTx`], and only [`Database::begin`] makes one. Who the caller is goes to Postgres in the same round trip
//! that begins the transaction; Row Level Security does the rest.

mod context;
mod error;
mod inspection;
mod migration;
mod pool;
mod settings;
mod transaction;

use std::fmt;

use deadpool::managed::Object;
use sqlx::{AssertSqlSafe, raw_sql};
use tokio::time::{Instant, timeout_at};

use self::pool::{Pool, pool};
pub(crate) use self::settings::is_url;
pub use self::{
    context::{Claim, Context},
    error::DbError,
    inspection::InspectionError,
    migration::{MigrationError, Migrations},
    settings::{DatabaseConfig, Pooler, WorkerConfig},
    transaction::TenantTx,
};
use crate::deadline::Deadline;

/// A service's schema, seen through its two logins. A person's request cannot reach what the service may do: they are
/// different logins, and neither may become the other's roles.
pub struct Database {
    schema: &'static str,
    /// None in a command, which has no requests of people.
    app: Option<Pool>,
    worker: Pool,
    pooler: Pooler,
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
            let connection = timeout_at(deadline.instant(), pool.get()).await;
            let connection = connection.map_err(|_| DbError::deadline())??;
            let is_new = Object::metrics(&connection).recycle_count == 0;
            let batch = AssertSqlSafe(context.begin(self.schema, remaining));
            // From here on a caller who goes away leaves a transaction behind, which is rolled back as it is dropped.
            let mut tx = TenantTx::new(connection, name, self.pooler, began);
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
