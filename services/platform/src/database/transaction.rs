//! The tenant transaction, through which every row is reached.

use std::{fmt, future::pending, io, pin::pin, task::Poll, time::Duration};

use deadpool::managed::Object;
use futures_util::{
    future::BoxFuture,
    stream::{BoxStream, StreamExt, poll_fn},
};
use sqlx::{
    Describe, Either, Error, Execute, Executor, PgConnection, Postgres, SqlStr,
    postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
    raw_sql,
};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use super::{
    error::{DbError, breaks_connection},
    pool::{PooledConnection, Session},
    server::Backend,
    settings::Pooler,
};
use crate::deadline::Deadline;

/// The maximum time for the rollback of an unfinished transaction, after which its connection is closed. It is more
/// than twice the `lock_timeout` of the logins (five seconds), because a statement on a contended row waits for two
/// locks, one after the other: that for its place in the queue, and that of the row.
///
/// Postgres receives the rollback only when the statement before it ends, and a statement that waits for a lock does
/// not notice that its connection was closed. With a shorter limit the pool would open a replacement while the old
/// statement still waits, and clients that cancel and retry would use many times the pool's connections.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(12);

/// The time after the deadline in which Postgres can still answer a statement: its own limit, `statement_timeout`, is the
/// deadline. A server that has not answered by then is frozen or cut off, and its connection is closed.
const GRACE: Duration = Duration::from_secs(1);

/// The maximum time for which a commit without an answer keeps its connection in its pool, after the deadline.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(3);

/// The interval at which a commit without an answer looks whether Postgres still waits for a standby.
const LOOK: Duration = Duration::from_secs(5);

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
    deadline: Deadline,
    ending: Ending,
    /// Whether it is one statement outside of a transaction block.
    is_single: bool,
    /// `None` until the transaction has begun.
    backend: Option<Backend>,
}

/// What happens to the connection when its transaction is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The transaction is rolled back.
    Rollback,
    /// The answer to the commit is awaited. A cancel request would make Postgres confirm a commit that its standby does not
    /// have.
    Confirm,
    /// The answer to a statement outside of a transaction block is awaited, and has no effect that anything waits for.
    Drain,
    /// The connection is closed: it broke, or its state is unknown.
    Close,
}

impl TenantTx {
    /// Wraps `connection`, on which a transaction is about to begin.
    pub(super) fn new(
        connection: PooledConnection,
        name: &'static str,
        pooler: Pooler,
        began: Instant,
        deadline: Deadline,
    ) -> Self {
        Self {
            connection: Some(connection),
            name,
            pooler,
            began,
            deadline,
            ending: Ending::Rollback,
            is_single: false,
            backend: None,
        }
    }

    /// Wraps `connection` for a single message of the simple protocol. It is closed on drop, unless [`Self::keep`] is
    /// called when the answer is complete.
    pub(super) fn message(connection: PooledConnection) -> Self {
        let (began, deadline) = (Instant::now(), Deadline::after(GRACE));
        let mut tx = Self::new(connection, "Inspection", Pooler::Transaction, began, deadline);
        tx.ending = Ending::Close;
        tx
    }

    /// Notes the process of the server in which the transaction has begun, or in which the next statement will be executed.
    pub(super) fn began_in(&mut self, backend: Backend) {
        self.backend = Some(backend);
    }

    /// Returns the connection to its pool as it is, after a complete answer.
    pub(super) fn keep(mut self) {
        self.release();
    }

    /// Returns the connection of a transaction or a statement that is done to its pool, and records how long it took.
    pub(super) fn done(mut self) {
        self.release();
        metrics::histogram!("haven_db_transaction_seconds", "transaction" => self.name)
            .record(self.began.elapsed().as_secs_f64());
    }

    fn release(&mut self) {
        if let Some(mut session) = self.connection.take() {
            session.answered = Instant::now();
        }
    }

    /// Prepares for one statement outside of a transaction block. When it is abandoned, its answer is awaited: that of a
    /// statement that `writes` as long as that of a commit.
    pub(super) fn single_statement(&mut self, writes: bool) {
        self.is_single = true;
        self.ending = if writes { Ending::Confirm } else { Ending::Drain };
    }

    /// Returns the process of the server, if it is known.
    pub(super) fn backend(&self) -> Option<&Backend> {
        self.backend.as_ref()
    }

    /// Returns whether the connection cannot be used again.
    pub(super) fn is_broken(&self) -> bool {
        self.ending == Ending::Close
    }

    /// Commits the transaction. With synchronous replication this waits for a standby, without a limit on Postgres' side.
    ///
    /// # Errors
    ///
    /// [`DbError`] when Postgres does not confirm the commit by the deadline. The commit may have happened nevertheless: a
    /// retry with the same request id finds out.
    pub async fn commit(mut self) -> Result<(), DbError> {
        let limit = self.limit();
        self.ending = Ending::Confirm;
        match timeout_at(limit, raw_sql("COMMIT").execute(self.connection())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                // A refused commit, such as that of a deferred constraint, leaves a usable connection.
                let broken = breaks_connection(&error);
                self.ending = if broken { Ending::Close } else { Ending::Rollback };
                return Err(error.into());
            }
            Err(_) => return Err(DbError::unconfirmed()),
        }
        // The connection is returned to the pool as it is; only an uncommitted one needs a rollback.
        self.done();
        Ok(())
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        connected(&mut self.connection)
    }

    /// Returns the connection with what is known about its server.
    pub(super) fn session(&mut self) -> &mut Session {
        connected(&mut self.connection)
    }

    /// Closes the connection instead of returning it to the pool.
    pub(super) fn discard(mut self) {
        self.ending = Ending::Close;
    }

    /// Returns the time by which a statement must be answered.
    fn limit(&self) -> Instant {
        self.deadline.instant() + GRACE
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
        let Some(connection) = self.connection.take() else {
            return;
        };
        match (self.ending, Handle::try_current()) {
            (Ending::Rollback, Ok(runtime)) => drop(runtime.spawn(drain(connection, "ROLLBACK"))),
            (Ending::Drain, Ok(runtime)) => drop(runtime.spawn(drain(connection, ""))),
            (Ending::Confirm, Ok(runtime)) => {
                // A statement waits for locks first. Its place in the pool is kept for that time, as for a rollback.
                let place = match self.is_single {
                    true => COMMIT_TIMEOUT.max(ROLLBACK_TIMEOUT.saturating_sub(self.began.elapsed())),
                    false => COMMIT_TIMEOUT,
                };
                let confirmed = confirm(connection, self.backend.take(), place, !self.is_single);
                drop(runtime.spawn(confirmed));
            }
            // Outside of a runtime no rollback can be sent; closing the connection also rolls back.
            (Ending::Close, _) | (_, Err(_)) => drop(Object::take(connection)),
        }
    }
}

/// Waits for the answer to an abandoned statement, and to `last` after it.
async fn drain(mut connection: PooledConnection, last: &'static str) {
    let drained = timeout(ROLLBACK_TIMEOUT, raw_sql(last).execute(&mut **connection)).await;
    match drained {
        Ok(Ok(_)) => connection.answered = Instant::now(),
        _ => drop(Object::take(connection)),
    }
}

/// Waits for the answer to a commit that its caller no longer waits for.
///
/// Postgres does not notice that a connection was closed while its commit waits for a standby, so each closed one would
/// leave a backend behind. The connection's place in the pool is given up soon, because calls that only read can still be
/// served; but no more commits than the pool has connections wait outside of it. They wait until Postgres answers, the
/// connection breaks, the backend no longer waits for a standby, or the pool has reached another server.
///
/// The place in the pool is kept for `patience`. A commit is counted as unconfirmed at once; a statement that may still wait for
/// locks then, when its server says that it waits for a standby.
async fn confirm(
    mut connection: PooledConnection,
    backend: Option<Backend>,
    patience: Duration,
    is_commit: bool,
) {
    let count = || metrics::counter!("haven_db_commits_unconfirmed_total").increment(1);
    if is_commit {
        count();
    }
    let (Some(pool), Some(backend)) = (Object::pool(&connection), backend) else {
        return drop(Object::take(connection));
    };
    let connector = pool.manager();
    let mut given_up = pin!(async {
        sleep(patience).await;
        while connector.waits_for_standby(&backend).await {
            sleep(LOOK).await;
        }
    });
    let place = {
        // The answer to an empty message is the one after that to the commit.
        let mut answer = pin!(raw_sql("").execute(&mut **connection));
        let waited = async {
            sleep(patience).await;
            if !is_commit && !connector.waits_for_standby(&backend).await {
                // It waits for something else, and is given up.
                pending::<()>().await;
            }
            connector.unconfirmed().places.acquire().await
        };
        tokio::select! {
            answered = &mut answer => Err(answered.is_ok()),
            () = &mut given_up => Err(false),
            place = waited => Ok(place),
        }
    };
    match place {
        Err(true) => connection.answered = Instant::now(),
        Err(false) => drop(Object::take(connection)),
        Ok(place) => {
            if !is_commit {
                count();
            }
            let mut connection = Object::take(connection);
            tokio::select! {
                _ = raw_sql("").execute(&mut *connection) => {}
                () = given_up => {}
            }
            drop(place);
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
        let (execution, limit) = (self.execution(query), self.limit());
        let TenantTx {
            connection, ending, ..
        } = self;
        let mut results = connected(connection).fetch_many(execution);
        let mut expired = Box::pin(sleep_until(limit));
        Box::pin(poll_fn(move |cx| {
            let result = match results.poll_next_unpin(cx) {
                Poll::Pending if expired.as_mut().poll(cx).is_ready() => Poll::Ready(Some(Err(no_answer()))),
                result => result,
            };
            if let Poll::Ready(Some(Err(error))) = &result
                && breaks_connection(error)
            {
                *ending = Ending::Close;
            }
            result
        }))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let (execution, limit) = (self.execution(query), self.limit());
        Box::pin(async move {
            let fetched = timeout_at(limit, self.connection().fetch_optional(execution)).await;
            let fetched = fetched.unwrap_or_else(|_| Err(no_answer()));
            if fetched.as_ref().is_err_and(breaks_connection) {
                self.ending = Ending::Close;
            }
            fetched
        })
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

#[expect(
    clippy::expect_used,
    reason = "what takes the connection away also consumes the transaction"
)]
fn connected(connection: &mut Option<PooledConnection>) -> &mut Session {
    connection
        .as_mut()
        .expect("a transaction has a connection until it ends")
}

/// Creates the error of a server that does not answer although its own time limit has passed.
fn no_answer() -> Error {
    Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        "no answer within the deadline and a second",
    ))
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
