//! The run of all checks: one read-only transaction as the service's worker, and one as an admin.

use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Row, raw_sql};

use super::{
    super::{
        WorkerConfig,
        error::DbError,
        pool::{PooledConnection, pool},
    },
    Check, Finding, Outcome, Sight, all, version,
};

/// Begins a transaction that sees one state of the catalog and changes nothing. The path makes every unqualified name one of
/// Postgres' own, and temporary objects last.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL search_path = pg_catalog, pg_temp; \
                     SET LOCAL statement_timeout = '30s'";

/// The start of the server, in microseconds since 1970: another server started at another time.
const SERVER: &str = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8";

/// A number for the database.
const DATABASE: &str = "SELECT d.oid::int8 FROM pg_database d WHERE d.datname = current_database()";

/// The logins that run checks.
struct Sessions {
    worker: Session,
    admin: Option<Session>,
}

/// A login's transaction.
struct Session(PooledConnection);

/// Runs all checks on the schema of `config`, of which the program needs the version `newest`.
///
/// # Errors
///
/// [`DbError`] when a login cannot connect, or the connection breaks.
pub async fn run(
    config: &WorkerConfig,
    admin: Option<&SecretString>,
    newest: i64,
) -> Result<Vec<Finding>, DbError> {
    let mut sessions = Sessions {
        worker: Session::begin(&config.url).await?,
        admin: match admin {
            Some(url) => Some(Session::begin(url).await?),
            None => None,
        },
    };
    if let Some(admin) = &mut sessions.admin
        && (admin.scalar(SERVER).await?, admin.scalar(DATABASE).await?)
            != (
                sessions.worker.scalar(SERVER).await?,
                sessions.worker.scalar(DATABASE).await?,
            )
    {
        return Err(DbError::unexpected(
            "ADMIN_DATABASE_URL leads to another server or database than WORKER_DATABASE_URL",
        ));
    }
    let mut findings = vec![version::finding(
        config,
        sessions.worker.scalar(version::QUERY).await?,
    )];
    for check in all() {
        let outcome = sessions.outcome(check, config, newest).await?;
        findings.push(Finding {
            service: config.schema,
            check: check.name,
            title: check.title,
            outcome,
            meaning: check.meaning,
            remedy: check.remedy(config.schema, newest),
        });
    }
    sessions.worker.end().await?;
    if let Some(admin) = &mut sessions.admin {
        admin.end().await?;
    }
    Ok(findings)
}

impl Sessions {
    async fn outcome(
        &mut self,
        check: &Check,
        config: &WorkerConfig,
        newest: i64,
    ) -> Result<Outcome, DbError> {
        let session = match (check.sight, &mut self.admin) {
            (Sight::Anyone, _) => &mut self.worker,
            (_, Some(admin)) => admin,
            (sight, None) => {
                return Ok(Outcome::NotSeen {
                    needs: format!("ADMIN_DATABASE_URL: the URL of {}", sight.login()),
                });
            }
        };
        let objects = match session.violations(&check.sql(config.schema, newest)).await {
            Ok(objects) => objects,
            Err(error) if error.is_unavailable() => return Err(error),
            Err(error) if error.is_refused() && check.sight != Sight::Anyone => {
                return Ok(Outcome::NotSeen {
                    needs: format!("an admin's login that is {}", check.sight.login()),
                });
            }
            // A rule that could not be checked is not known to hold.
            Err(error) => vec![format!("this could not be checked: {error}")],
        };
        Ok(check.fails_in.judge(config.environment, objects))
    }
}

impl Session {
    async fn begin(url: &SecretString) -> Result<Self, DbError> {
        let mut connection = pool(&url.into(), 1)?.get().await?;
        raw_sql(BEGIN).execute(&mut **connection).await?;
        Ok(Self(connection))
    }

    /// Ends the transaction. A pooler would close its connection to Postgres if a client left in a transaction.
    async fn end(&mut self) -> Result<(), DbError> {
        raw_sql("ROLLBACK").execute(&mut **self.0).await?;
        Ok(())
    }

    async fn scalar(&mut self, query: &'static str) -> Result<i64, DbError> {
        Ok(raw_sql(query).fetch_one(&mut **self.0).await?.try_get(0)?)
    }

    /// Returns the rows of `query`. After an error the transaction continues.
    ///
    /// The statements are sent as text and are not prepared, so that they work behind a pooler in transaction mode.
    async fn violations(&mut self, query: &str) -> Result<Vec<String>, DbError> {
        let batch = format!("SAVEPOINT checked; {query}; RELEASE checked");
        match raw_sql(AssertSqlSafe(batch)).fetch_all(&mut **self.0).await {
            Ok(rows) => rows.iter().map(|row| Ok(row.try_get(0)?)).collect(),
            Err(error) => {
                let error = DbError::from(error);
                if !error.is_unavailable() {
                    raw_sql("ROLLBACK TO checked; RELEASE checked")
                        .execute(&mut **self.0)
                        .await?;
                }
                Err(error)
            }
        }
    }
}

impl Sight {
    /// Returns a description of the logins that see enough.
    fn login(self) -> &'static str {
        match self {
            Self::Anyone => "any login",
            Self::Settings => "a superuser or a member of pg_read_all_settings, such as haven_monitor",
            Self::Superuser => "a superuser, which hosted platforms do not give",
        }
    }
}
