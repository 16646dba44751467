//! Postgres access. Rows are reachable only inside a transaction that carries its caller's identity.
//!
//! - [`Database`] has the two connection pools of a service, one per login. They are private to this module, so a query
//!   needs a [`TenantTx`], and only [`Database::begin`] creates one.
//! - [`Context`] is the identity of a transaction. It is sent to Postgres before any other statement of the transaction, and
//!   bound, so that no activity view and no log has it; Row Level Security then decides which rows exist for it.
//! - [`Database::inspect`] checks, before anything is served, that the isolation is in force: the logins are the right
//!   ones and cannot bypass policies, Row Level Security is forced on all tables, the schema has the right version.
//! - [`checks`] are the security checks of `check-database`, for operators.
//! - [`DbError`] describes what went wrong without any contents of rows.
//!
//! A store function takes the caller and the deadline of its call:
//!
//! ```no_run
//! use haven_platform::{
//!     call::UserId,
//!     database::{Context, Database, DbError},
//!     deadline::Deadline,
//! };
//!
//! async fn count_widgets(database: &Database, caller: UserId, deadline: Deadline) -> Result<i64, DbError> {
//!     let mut tx = database.begin("CountWidgets", Context::User(caller), deadline).await?;
//!     let count = sqlx::query_scalar("SELECT count(*) FROM widgets").fetch_one(&mut tx).await?;
//!     tx.commit().await?;
//!     Ok(count)
//! }
//! ```

pub mod checks;
mod compatibility;
mod context;
mod error;
mod function_call;
mod inspection;
mod limits;
mod listener;
mod migration;
mod migration_error;
mod pool;
mod server;
mod settings;
mod stored_keys;
mod transaction;
mod url;

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool::managed::Object;
use sqlx::{AssertSqlSafe, Error, query, raw_sql};
use tokio::time::{Instant, timeout_at};

pub(crate) use self::settings::is_url;
use self::{
    context::CLAIMS,
    pool::{Pool, close_idle, pool},
    server::Backend,
};
pub use self::{
    context::{Claim, Context},
    error::DbError,
    function_call::{Effect, FunctionCall},
    inspection::InspectionError,
    limits::Limits,
    listener::{Announcer, Listener},
    migration::Migrations,
    migration_error::MigrationError,
    settings::{DatabaseConfig, Pooler, WorkerConfig},
    stored_keys::HashCount,
    transaction::TenantTx,
    url::DatabaseUrl,
};
use crate::deadline::Deadline;

/// The maximum time for the answer on a connection that was idle in the pool. It is longer than a busy server takes to begin
/// a transaction, and short enough that a call with the default deadline succeeds on another connection when the server is frozen
/// or cut off.
const PATIENCE: Duration = Duration::from_secs(4);

/// The time without an answer after which the other idle connections are closed too.
const FROZEN: Duration = Duration::from_secs(1);

/// A service's schema, connected through two logins: one for users' requests, one for the service's own work. Neither
/// login can assume the roles of the other, so a user's request cannot use the service's privileges.
pub struct Database {
    schema: &'static str,
    /// `None` in a command, which has no users' requests.
    app: Option<Pool>,
    worker: Pool,
    pooler: Pooler,
    /// `true` when a pooler was found to give connections the sessions of others, although it keeps their prepared statements apart.
    mixes_sessions: AtomicBool,
    limits: OnceLock<Limits>,
}

// === impl Database ===

impl Database {
    /// Creates both pools without connecting, so that a service can start, and report that it is not ready, while its
    /// database is down.
    ///
    /// # Errors
    ///
    /// [`DbError`] when a URL is malformed. The error does not contain the URL.
    pub fn new(config: &DatabaseConfig) -> Result<Self, DbError> {
        Ok(Self {
            schema: config.schema,
            app: Some(pool(&config.app_url, config.app_connections)?),
            worker: pool(&config.worker_url, config.worker_connections)?,
            pooler: config.pooler,
            mixes_sessions: AtomicBool::new(false),
            limits: OnceLock::new(),
        })
    }

    /// Lets all later transactions for users carry `limits`. The first call counts.
    pub fn limit(&self, limits: Limits) {
        let _ = self.limits.set(limits);
    }

    /// Begins a transaction under the identity `context`, in two round trips where it has claims, and otherwise in one. `name`
    /// is the method that it serves, for metrics.
    ///
    /// The remaining time until `deadline` limits the wait for a connection and, in Postgres, every statement.
    ///
    /// # Errors
    ///
    /// [`DbError`] when no connection becomes available in time, or Postgres does not answer.
    pub async fn begin(
        &self,
        name: &'static str,
        context: Context,
        deadline: Deadline,
    ) -> Result<TenantTx, DbError> {
        loop {
            let (mut tx, is_new) = self.take(name, context, deadline).await?;
            let batch = context.begin(self.schema, self.limits.get(), deadline.remaining());
            match self
                .greet(&mut tx, context, batch, context.claims(), is_new, deadline)
                .await
            {
                Ok(()) => return Ok(tx),
                Err(error) => {
                    // The connection's state is unknown, so it must not be reused.
                    tx.discard();
                    // After a restart of Postgres every pooled connection is dead, and after a failover it leads to a server that is
                    // gone, frozen or a standby. Beginning a transaction is always safe to retry.
                    if is_new || !error.is_unavailable() {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Calls one function of the schema as the login of `context`, in a transaction of its own and one round trip. The
    /// function itself takes the identity that it runs under: see [`FunctionCall`]. `name` is the method that it serves, for
    /// metrics.
    pub fn call(
        &self,
        name: &'static str,
        context: Context,
        effect: Effect,
        deadline: Deadline,
    ) -> FunctionCall<'_> {
        FunctionCall::new(self, name, context, effect, deadline)
    }

    /// Returns the limits that `context` carries for the schema to enforce, as JSON, for a function to take as a parameter;
    /// empty when it carries none.
    #[must_use]
    pub fn limits(&self, context: Context) -> &str {
        self.limits
            .get()
            .and_then(|limits| context.limits(limits))
            .unwrap_or_default()
    }

    /// Takes a connection for a transaction under `context`, and returns whether it is a new one.
    async fn take(
        &self,
        name: &'static str,
        context: Context,
        deadline: Deadline,
    ) -> Result<(TenantTx, bool), DbError> {
        let began = Instant::now();
        if deadline.remaining().is_zero() {
            return Err(DbError::deadline());
        }
        let connection = timeout_at(deadline.instant(), self.pool(context)?.get()).await;
        let connection = connection.map_err(|_| DbError::deadline())??;
        let is_new = Object::metrics(&connection).recycle_count == 0;
        // From here on a cancelled call leaves a transaction, which is rolled back when it is dropped.
        Ok((
            TenantTx::new(connection, name, self.pooler, began, deadline),
            is_new,
        ))
    }

    /// Sends `batch`, which has the columns of [`server::SERVER`], and then the claims, and notes the server that answers.
    async fn greet(
        &self,
        tx: &mut TenantTx,
        context: Context,
        batch: String,
        claims: Option<String>,
        is_new: bool,
        deadline: Deadline,
    ) -> Result<(), DbError> {
        let pool = self.pool(context)?;
        let sent = Instant::now();
        let limit = match is_new {
            true => deadline.instant(),
            // Half of the time remains for another connection.
            false => sent + PATIENCE.min(deadline.remaining() / 2),
        };
        let answered = timeout_at(limit, async {
            let row = raw_sql(AssertSqlSafe(batch)).fetch_one(tx.connection()).await?;
            if let Some(claims) = claims {
                query(CLAIMS).bind(claims).execute(&mut *tx).await?;
            }
            Ok::<_, Error>(row)
        });
        match answered.await {
            Ok(row) => {
                let backend = Backend::of(&row?)?;
                pool.manager().unconfirmed().server.set(&backend.server);
                if !self.mixes_sessions() {
                    tx.session().backend = Some(backend.clone());
                }
                tx.began_in(backend);
                Ok(())
            }
            Err(_) if is_new => Err(DbError::deadline()),
            Err(_) => {
                let waited = sent.elapsed();
                if waited >= FROZEN {
                    close_idle(pool, waited);
                }
                Err(DbError::frozen())
            }
        }
    }

    /// Returns whether two transactions of a connection may have different sessions of Postgres.
    fn mixes_sessions(&self) -> bool {
        self.pooler == Pooler::Transaction || self.mixes_sessions.load(Ordering::Relaxed)
    }

    /// Returns the pool of the login that can take the identity of `context`.
    fn pool(&self, context: Context) -> Result<&Pool, DbError> {
        match context {
            Context::Anonymous | Context::AnonymousFor(_) | Context::User(_) => self
                .app
                .as_ref()
                .ok_or_else(|| DbError::unexpected("a command has no login for users' requests")),
            Context::Service | Context::ServiceFor(_) | Context::ServiceWith(_) => Ok(&self.worker),
        }
    }

    /// Updates the metrics of each pool: idle and used connections, waiting calls, and the maximum size.
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

    /// Closes all idle connections at once, and those in use when they are returned.
    pub fn close(&self) {
        self.pools().for_each(|(_, pool)| pool.close());
    }

    /// Returns the pools, each with the name of its login without the schema.
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
