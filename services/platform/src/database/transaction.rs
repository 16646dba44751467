//! The tenant transaction: the only door to a row.

use std::fmt;

use futures_util::{future::BoxFuture, stream::BoxStream};
use sqlx::{
    Describe, Either, Error, Execute, Executor, Postgres, SqlStr, Transaction,
    postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};
use tokio::time::Instant;

use super::{DbError, Pooler};

/// A transaction that carries its caller. Made by [`super::Database::begin`] alone; rolled back unless committed.
///
/// `&mut TenantTx` runs sqlx's queries, and decides for all of them whether they are prepared under a name: behind a
/// transaction pooler they must not be, and a query that forgot it would now and then get another one's answer.
pub struct TenantTx {
    inner: Transaction<'static, Postgres>,
    name: &'static str,
    pooler: Pooler,
    began: Instant,
}

impl TenantTx {
    pub(super) fn new(
        inner: Transaction<'static, Postgres>,
        name: &'static str,
        pooler: Pooler,
        began: Instant,
    ) -> Self {
        Self {
            inner,
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
    pub async fn commit(self) -> Result<(), DbError> {
        let committed = self.inner.commit().await;
        metrics::histogram!("haven_db_transaction_seconds", "transaction" => self.name)
            .record(self.began.elapsed().as_secs_f64());
        Ok(committed?)
    }

    fn execution<E>(&self, query: E) -> Execution<E> {
        Execution {
            query,
            cached: self.pooler == Pooler::Session,
        }
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
        (&mut *self.inner).fetch_many(execution)
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let execution = self.execution(query);
        (&mut *self.inner).fetch_optional(execution)
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        (&mut *self.inner).prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        (&mut *self.inner).describe(sql)
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
