//! The tenant transaction, through which every row is reached.

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

/// The maximum time for the rollback of an unfinished transaction, after which its connection is closed. It is more
/// than twice the `lock_timeout` of the logins (five seconds), because a statement on a contended row waits for two
/// locks, one after the other: that for its place in the queue, and that of the row.
///
/// Postgres receives the rollback only when the statement before it ends, and a statement that waits for a lock does
/// not notice that its connection was closed. With a shorter limit the pool would open a replacement while the old
/// statement still waits, and clients that cancel and retry would use many times the pool's connections.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(12);

/// A transaction under its caller's identity. Created by [`super::Database::begin`]; rolled back on drop unless
/// committed.
///
/// `&mut TenantTx` executes sqlx's queries. It decides for all of them whether statements are prepared under a name:
/// behind a pooler in transaction mode they must not be, or a query could now and then run the statement of another
/// one.
pub struct TenantTx {
    /// `None` after the commit.
    connection: Option<PooledConnection>,
    name: &'static str,
    pooler: Pooler,
    began: Instant,
}

impl TenantTx {
    /// Wraps `connection`, on which a transaction is about to begin.
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

    /// Commits the transaction.
    ///
    /// # Errors
    ///
    /// [`DbError`] when Postgres does not confirm the commit. The commit may have happened nevertheless: a retry with
    /// the same request id finds out.
    pub async fn commit(mut self) -> Result<(), DbError> {
        raw_sql("COMMIT").execute(self.connection()).await?;
        // The connection is returned to the pool as it is; only an uncommitted one needs a rollback.
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
            .expect("a transaction has a connection until it is committed")
    }

    /// Closes the connection instead of returning it to the pool.
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

/// Rolls back an uncommitted transaction before its connection is reused, and before it holds locks for long.
impl Drop for TenantTx {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            // Outside of a runtime no rollback can be sent; closing the connection also rolls back.
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

    /// Always fails, because sqlx would prepare the statement under a name.
    fn prepare_with<'e>(self, _: SqlStr, _: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        Box::pin(async { Err(not_prepared()) })
    }

    /// Always fails, because sqlx would prepare the statement under a name.
    fn describe<'e>(self, _: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        Box::pin(async { Err(not_prepared()) })
    }
}

fn not_prepared() -> Error {
    Error::InvalidArgument("a tenant transaction prepares statements only to execute them".to_owned())
}

/// A query with the decision whether its statement may be cached on the connection.
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
