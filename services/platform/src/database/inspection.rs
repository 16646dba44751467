//! The inspection before serving: whether the database and the logins have the properties that data isolation depends
//! on.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Row, postgres::PgRow, raw_sql};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Database, Pooler, TenantTx, WorkerConfig,
    checks::{Outdated, outdated},
    compatibility::{self, SchemaVersion},
    error::{DbError, mixes_sessions},
    pool::{Pool, PooledConnection, close_idle, pool},
    server::{SERVER, Server},
    url::DatabaseUrl,
};
use crate::{deadline::Deadline, environment::Environment};

/// A fault of the database that an operator must know.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DatabaseFault {
    /// The consequence for serving.
    severity: Severity,
    /// A description of the fault and its fix.
    text: String,
}

/// The consequence of a [`DatabaseFault`] for serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    /// The database must not be used in any environment.
    Refused,
    /// The database is used in development, with a warning, and refused in production.
    RefusedInProduction,
}

/// The reason why a database is not used.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    /// The database must not be used. The text has all faults.
    #[error("{0}")]
    Refused(String),
    /// The database does not answer at present, or its schema is being migrated.
    #[error(transparent)]
    Unavailable(#[from] DbError),
}

/// The maximum time to look for a pooler in transaction mode. One in session mode with a single server connection would not
/// answer the second connection at all.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// The time between two looks at the version of a schema that is too old.
const SECOND_LOOK: Duration = Duration::from_millis(500);

/// Returns the query for the properties of the login and of `schema` that isolation depends on.
fn login_and_schema(schema: &'static str) -> String {
    format!(
        "SELECT current_user::text AS login,
           current_setting('server_version_num')::int8 AS version,
           r.rolsuper OR r.rolbypassrls AS all_powerful,
           coalesce((SELECT s.ssl FROM pg_catalog.pg_stat_ssl s WHERE s.pid = pg_catalog.pg_backend_pid()), false) AS tls,
           coalesce((SELECT string_agg(c.relname, ', ' ORDER BY c.relname)
                       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                      WHERE n.nspname = '{schema}' AND c.relkind IN ('r', 'p')
                        AND NOT (c.relrowsecurity AND c.relforcerowsecurity)), '') AS unforced
      FROM pg_catalog.pg_roles r WHERE r.rolname = current_user"
    )
}

impl Database {
    /// Connects a command to its schema: one connection for the service's own work, after [`Database::inspect`]. Only
    /// the service's own identities can be used.
    ///
    /// # Errors
    ///
    /// [`InspectionError`] when the database cannot be reached or must not be used.
    pub async fn worker_only(config: &WorkerConfig, newest: i64) -> Result<Self, InspectionError> {
        let database = Self {
            limits: OnceLock::new(),
            mixes_sessions: AtomicBool::new(false),
            schema: config.schema,
            app: None,
            worker: pool(&DatabaseUrl::from(&config.url), 1)?,
            pooler: config.pooler,
        };
        database.inspect(newest, config.environment).await?;
        Ok(database)
    }

    /// Checks that the database can be used in `environment`; `newest` is the newest migration that this program
    /// has. Logs a warning for each fault that only production refuses.
    ///
    /// # Errors
    ///
    /// [`InspectionError`] with all faults, or when the database does not answer or its schema is being migrated.
    pub async fn inspect(&self, newest: i64, environment: Environment) -> Result<(), InspectionError> {
        let mut refused = Vec::new();
        for fault in self.faults(newest).await? {
            match (fault.severity, environment) {
                (Severity::RefusedInProduction, Environment::Development) => {
                    tracing::warn!(finding = %fault, "production would refuse this database");
                }
                _ => refused.push(fault.to_string()),
            }
        }
        match refused.is_empty() {
            true => Ok(()),
            false => Err(InspectionError::Refused(refused.join("; "))),
        }
    }

    /// Returns all faults of the database and its logins; `newest` is the newest migration that this program has.
    ///
    /// # Errors
    ///
    /// [`DbError`] when the database does not answer, or its schema is being migrated.
    async fn faults(&self, newest: i64) -> Result<Vec<DatabaseFault>, DbError> {
        let mut faults = Vec::new();
        for (kind, pool) in self.pools() {
            self.inspect_login(pool, kind, &mut faults).await?;
            self.inspect_pooler(pool, kind, &mut faults).await;
        }
        let mut version = self.schema_version(newest).await?;
        if version.version < newest {
            // `migrate` applies one migration after the other, and may be between two of them.
            sleep(SECOND_LOOK).await;
            let later = self.schema_version(newest).await?;
            if later.version != version.version || self.is_migrating().await? {
                return Err(DbError::unexpected("the schema is being migrated"));
            }
            version = later;
        }
        if let Err(incompatible) = version.check(newest) {
            faults.push(DatabaseFault::refused(incompatible.to_string()));
        }
        faults.dedup();
        Ok(faults)
    }

    /// Returns the version of the schema, and the oldest program that it allows.
    async fn schema_version(&self, newest: i64) -> Result<SchemaVersion, DbError> {
        let schema = self.schema;
        let row = one_row(&self.worker, compatibility::version(schema)).await?;
        let version = row.try_get("version")?;
        let mut oldest = version;
        // A schema that is older than this program may not have the function.
        if version > newest {
            let row = one_row(&self.worker, compatibility::oldest(schema)).await?;
            oldest = row.try_get("oldest")?;
            tracing::info!(
                schema,
                version,
                oldest,
                newest,
                "the schema is newer than this program"
            );
        }
        Ok(SchemaVersion {
            schema,
            version,
            oldest,
        })
    }

    /// Returns whether a `migrate` of the schema runs.
    async fn is_migrating(&self) -> Result<bool, DbError> {
        let row = one_row(&self.worker, compatibility::migrating(self.schema)).await?;
        Ok(row.try_get("migrating")?)
    }

    /// Checks that both logins get an answer within `limit`, under their own names, from a server that accepts writes: the
    /// condition for readiness. When a login gets no answer, the idle connections of its pool are closed.
    ///
    /// A pool with all connections in use counts as answering: a busy service must not look like a dead one. When commits that
    /// wait for a standby hold them, a connection outside of the pool is asked.
    ///
    /// # Errors
    ///
    /// [`DbError`] when one of the logins gets no answer, or reaches a standby.
    pub async fn ping(&self, limit: Duration) -> Result<(), DbError> {
        let pings = self.pools().map(async |(kind, pool)| {
            let answered = timeout(limit, self.ping_login(kind, pool)).await;
            answered.unwrap_or_else(|_| {
                close_idle(pool, limit);
                Err(DbError::deadline())
            })
        });
        join_all(pings).await.into_iter().collect()
    }

    async fn ping_login(&self, kind: &'static str, pool: &Pool) -> Result<(), DbError> {
        let sql = format!("SELECT current_user::text AS login, {SERVER}");
        let (status, unconfirmed) = (pool.status(), pool.manager().unconfirmed());
        let row = if status.available > 0 || status.size < status.max_size {
            one_row(pool, sql).await?
        } else if unconfirmed.places.available_permits() == 0 {
            // Commits that wait for a standby may hold the whole pool, and the server that they wait on may be gone.
            let mut connection = pool.manager().open().await?;
            raw_sql(AssertSqlSafe(sql)).fetch_one(&mut connection).await?
        } else {
            return Ok(());
        };
        let server = Server::of(&row).inspect_err(|_| close_idle(pool, Duration::ZERO))?;
        unconfirmed.server.set(&server);
        let login: String = row.try_get("login")?;
        if login != format!("{}_{kind}", self.schema) {
            return Err(DbError::unexpected(
                "the connection has another login than configured",
            ));
        }
        Ok(())
    }

    async fn inspect_login(
        &self,
        pool: &Pool,
        kind: &'static str,
        faults: &mut Vec<DatabaseFault>,
    ) -> Result<(), DbError> {
        let row = one_row(pool, login_and_schema(self.schema)).await?;
        let login: String = row.try_get("login")?;
        let expected = format!("{}_{kind}", self.schema);
        if login != expected {
            faults.push(DatabaseFault::refused(format!(
                "the {kind} login is {login}; it must be {expected}"
            )));
        }
        if row.try_get("all_powerful")? {
            faults.push(DatabaseFault::refused(format!(
                "login {login} is a superuser or has BYPASSRLS, so no policy applies to it"
            )));
        }
        let unforced: String = row.try_get("unforced")?;
        if !unforced.is_empty() {
            faults.push(DatabaseFault::refused(format!(
                "Row Level Security is not enabled and forced on {}: {unforced}",
                self.schema
            )));
        }
        if !pool.manager().requires_tls() || !row.try_get::<bool, _>("tls")? {
            faults.push(DatabaseFault::refused_in_production(format!(
                "login {login} connects without TLS: set sslmode=verify-full in its URL, and server_tls_sslmode or its \
                 counterpart in a pooler"
            )));
        }
        faults.extend(old_version(row.try_get("version")?));
        Ok(())
    }

    /// Looks for a pooler in transaction mode that DATABASE_POOLER does not announce: it gives two connections the same
    /// session of Postgres in turn, where a statement can be prepared under a name only once. A pooler that keeps the
    /// names of its clients apart, such as PgBouncer with `max_prepared_statements`, is no fault.
    async fn inspect_pooler(&self, pool: &Pool, kind: &'static str, faults: &mut Vec<DatabaseFault>) {
        if self.pooler == Pooler::Transaction {
            return;
        }
        if let Ok(Ok(true)) = timeout(PROBE_TIMEOUT, sessions_are_mixed(pool)).await {
            self.mixes_sessions.store(true, Ordering::Relaxed);
        }
        if pool.status().max_size < 2 {
            return;
        }
        let probe = async {
            // Both connections are open during both transactions, so only a pooler gives them the same session.
            let (first, second) = (pool.get().await?, pool.get().await?);
            Ok::<_, DbError>(self.prepares(first).await? && self.prepares(second).await?)
        };
        // Any other outcome, such as a server without room for a second connection, is for the calls to report.
        if let Ok(Ok(false)) = timeout(PROBE_TIMEOUT, probe).await {
            faults.push(DatabaseFault::refused(format!(
                "login {}_{kind} is behind a pooler in transaction mode that does not keep prepared statements apart: set \
                 DATABASE_POOLER=transaction",
                self.schema
            )));
        }
    }

    /// Prepares a statement as a transaction of a request does. Returns false when its name belongs to another connection.
    async fn prepares(&self, connection: PooledConnection) -> Result<bool, DbError> {
        let deadline = Deadline::after(PROBE_TIMEOUT);
        let mut tx = TenantTx::new(connection, "Inspection", self.pooler, Instant::now(), deadline);
        raw_sql("BEGIN").execute(tx.connection()).await?;
        match sqlx::query("SELECT 1").execute(&mut tx).await {
            Err(error) if mixes_sessions(&error) => return Ok(false),
            executed => executed?,
        };
        tx.commit().await?;
        Ok(true)
    }
}

/// Returns whether two connections get the same session of Postgres in turn, or one of them another, while both are open.
async fn sessions_are_mixed(pool: &Pool) -> Result<bool, DbError> {
    const SESSION: &str = "SELECT pg_catalog.pg_backend_pid() AS pid";
    let mut first = pool.get().await?;
    let mut second = pool.manager().open().await?;
    let pid = raw_sql(SESSION)
        .fetch_one(&mut **first)
        .await?
        .try_get::<i32, _>("pid")?;
    let other = raw_sql(SESSION)
        .fetch_one(&mut second)
        .await?
        .try_get::<i32, _>("pid")?;
    let again = raw_sql(SESSION)
        .fetch_one(&mut **first)
        .await?
        .try_get::<i32, _>("pid")?;
    Ok(pid == other || pid != again)
}

impl DatabaseFault {
    fn refused(text: String) -> Self {
        Self {
            severity: Severity::Refused,
            text,
        }
    }

    fn refused_in_production(text: String) -> Self {
        Self {
            severity: Severity::RefusedInProduction,
            text,
        }
    }
}

impl fmt::Display for DatabaseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns the row of a query without parameters. The simple protocol sends it as one message, which is a transaction of its
/// own: a pooler in transaction mode cannot divide it between two sessions.
///
/// A connection that fails, or has not answered when the caller gives up, is closed.
pub(super) async fn one_row(pool: &Pool, sql: String) -> Result<PgRow, DbError> {
    let mut message = TenantTx::message(pool.get().await?);
    let row = raw_sql(AssertSqlSafe(sql))
        .fetch_one(message.connection())
        .await?;
    message.keep();
    Ok(row)
}

/// Returns a fault when the server's version is outdated.
fn old_version(version: i64) -> Option<DatabaseFault> {
    let (outdated, text) = outdated(version)?;
    Some(match outdated {
        Outdated::Unsupported => DatabaseFault::refused(text),
        Outdated::Unpatched => DatabaseFault::refused_in_production(text),
    })
}
