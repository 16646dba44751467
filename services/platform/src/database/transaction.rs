//! The tenant transaction: the only door to a row.

use std::{fmt, time::Duration};

use deadpool::managed::Object;
use futures_util::{future::BoxFuture, stream::BoxStream};
use sqlx::{
    Describe, Either, Error, Execute, Executor, PgConnection, Postgres, SqlStr,
    postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
    raw_sql,
};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use super::{error::DbError, pool::PooledConnection, settings::Pooler};

/// How long taking back an unfinished transaction may take, before its connection is given up: longer than twice the logins'
/// `lock_timeout`, which is five seconds. Whoever comes to a row that others wait for waits for two locks, one after the
/// other: for their turn, and for the row.
///
/// Postgres hears of the rollback when the statement before it ends, and one that waits for a lock does not notice that its
/// connection was closed. Given up sooner, its place in the pool would be another's while it waits, and callers who go away
/// and come again would have many times the connections that the pool has.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(12);

/// A transaction that carries its caller. Made by [`super::Database::begin`] alone; rolled back unless committed.
///
/// `&mut TenantTx` runs sqlx's queries, and decides for all of them whether they are prepared under a name: behind a
/// transaction pooler they must not be, and a query that forgot it would now and then get another one's answer.
pub struct TenantTx {
    /// None once it is committed.
    connection: Option<PooledConnection>,
    name: &'static str,
    pooler: Pooler,
    began: Instant,
}

impl TenantTx {
    /// The transaction that is about to begin on `connection`.
    pub(super) fn new(
        connection: PooledConnection,
        name: &'static str,
        pooler: Pooler,
        began: Instant,
    ) -> Self {
        Self {
            connection: Some(connection),
            name,
            pooler,
            began,
        }
    }

    /// Makes what was done last.
    ///
    /// # Errors
    ///
    /// When Postgres does not confirm it. It may have happened all the same: a retry with the same request id finds out.
    pub async fn commit(mut self) -> Result<(), DbError> {
        raw_sql("COMMIT").execute(self.connection()).await?;
        // It goes back as it is; only what was not committed has to be taken back first.
        self.connection = None;
        metrics::histogram!("haven_db_transaction_seconds", "transaction" => self.name)
            .record(self.began.elapsed().as_secs_f64());
        Ok(())
    }

    #[expect(
        clippy::expect_used,
        reason = "`commit` takes the connection away and consumes the transaction"
    )]
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.connection
            .as_deref_mut()
            .expect("a transaction has its connection until it is committed")
    }

    /// Closes the connection.
    pub(super) fn discard(mut self) {
        drop(self.connection.take().map(Object::take));
    }

    fn execution<E>(&self, query: E) -> Execution<E> {
        Execution {
            query,
            cached: self.pooler == Pooler::Session,
        }
    }
}

/// What was not committed is taken back before anybody else gets the connection, and before it can hold a lock for long.
impl Drop for TenantTx {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            // Nothing can be sent any more; closing the connection takes it back as well.
            drop(Object::take(connection));
            return;
        };
        runtime.spawn(async move {
            let rolled_back = timeout(ROLLBACK_TIMEOUT, raw_sql("ROLLBACK").execute(&mut *connection)).await;
            if !matches!(rolled_back, Ok(Ok(_))) {
                drop(Object::take(connection));
            }
        });
    }
}

impl fmt::Debug for TenantTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantTx")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<'c> Executor<'c> for &'c mut TenantTx {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let execution = self.execution(query);
        self.connection().fetch_many(execution)
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let execution = self.execution(query);
        self.connection().fetch_optional(execution)
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        self.connection().prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        self.connection().describe(sql)
    }
}

/// A query, and whether its statement may be kept on the connection.
struct Execution<E> {
    query: E,
    cached: bool,
}

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Execution<E> {
    fn sql(self) -> SqlStr {
        self.query.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, sqlx::error::BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.cached && self.query.persistent()
    }
}
