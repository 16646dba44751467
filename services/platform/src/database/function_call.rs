//! The call of one function of the schema, in one round trip.

use std::{io, pin::pin, time::Duration};

use sqlx::{
    Error, Postgres,
    postgres::{PgArguments, PgRow},
    query::Map,
};
use tokio::time::{Instant, timeout};

use super::{
    Database, PATIENCE, TenantTx,
    context::{Context, begin_call},
    error::DbError,
    pool::close_idle,
    server::SERVER,
};
use crate::deadline::Deadline;

/// The time after the last answer on a connection from which its server is asked for a sign of life before a call is sent.
const FRESH: Duration = Duration::from_secs(1);

/// The time that is too short for another attempt.
const SHORT: Duration = Duration::from_millis(500);

/// The effect of a function, which decides what happens when its connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only reads. It is sent again when a connection of the pool turns out to be dead.
    Reads,
    /// It writes, and a repeat changes nothing more and returns the first answer, by its request id; at most a rate limit is
    /// counted again. It is sent again like a read.
    Repeatable,
    /// It writes, and is never sent twice.
    Once,
}

/// The call of one function of the schema, as one statement in a transaction of its own. Created by [`Database::call`].
///
/// This is the second way to rows, beside [`TenantTx`], for the calls that are made most. The same holds for both: no row
/// without a caller, and the wall is in Postgres. The statement is `SELECT … FROM schema.name_N(caller, …)`, which a test of the
/// architecture checks. The function is SECURITY INVOKER and granted to the login alone, who has no right to any table. It
/// sets the caller's claims, the limits and the role from its parameters before anything else, for the transaction, which ends with the
/// statement. Everything in it runs under the policies of that role.
///
/// What is given up is the `statement_timeout` of the call: one that is set within a statement does not limit it. The login's own
/// does; at the deadline the answer is no longer awaited, and the connection stays out of the pool until Postgres has answered.
///
/// Behind a pooler that shares sessions of Postgres between connections the statement is surrounded by BEGIN and COMMIT, because sqlx parses it in a message of its own.
#[derive(Debug)]
#[must_use = "a call is made by fetch_one, fetch_optional or fetch_all"]
pub struct FunctionCall<'d> {
    database: &'d Database,
    name: &'static str,
    context: Context,
    effect: Effect,
    deadline: Deadline,
}

// === impl FunctionCall ===

impl<'d> FunctionCall<'d> {
    pub(super) fn new(
        database: &'d Database,
        name: &'static str,
        context: Context,
        effect: Effect,
        deadline: Deadline,
    ) -> Self {
        Self {
            database,
            name,
            context,
            effect,
            deadline,
        }
    }

    /// Makes the call and returns the function's only row. `statement` builds the statement for each attempt.
    ///
    /// # Errors
    ///
    /// [`DbError`] when the function fails or returns no row, no connection becomes available in time, or Postgres does not
    /// answer. What the function wrote may be stored then: a retry with the same request id finds out.
    pub async fn fetch_one<'q, F, O>(
        self,
        statement: impl Fn() -> Map<'q, Postgres, F, PgArguments>,
    ) -> Result<O, DbError>
    where
        F: FnMut(PgRow) -> Result<O, Error> + Send,
        O: Send + Unpin,
    {
        let row = self.fetch_optional(statement).await?;
        row.ok_or_else(|| Error::RowNotFound.into())
    }

    /// Makes the call and returns the function's first row, if there is one. As [`Self::fetch_one`] otherwise.
    ///
    /// # Errors
    ///
    /// As [`Self::fetch_one`].
    pub async fn fetch_optional<'q, F, O>(
        self,
        statement: impl Fn() -> Map<'q, Postgres, F, PgArguments>,
    ) -> Result<Option<O>, DbError>
    where
        F: FnMut(PgRow) -> Result<O, Error> + Send,
        O: Send + Unpin,
    {
        Ok(self.fetch_all(statement).await?.into_iter().next())
    }

    /// Makes the call and returns all rows of the function. As [`Self::fetch_one`] otherwise.
    ///
    /// # Errors
    ///
    /// As [`Self::fetch_one`].
    pub async fn fetch_all<'q, F, O>(
        self,
        statement: impl Fn() -> Map<'q, Postgres, F, PgArguments>,
    ) -> Result<Vec<O>, DbError>
    where
        F: FnMut(PgRow) -> Result<O, Error> + Send,
        O: Send + Unpin,
    {
        loop {
            let (mut tx, is_new) = self.database.take(self.name, self.context, self.deadline).await?;
            let in_block = self.database.mixes_sessions();
            if let Err(error) = self.prepare(&mut tx, is_new, in_block).await {
                tx.discard();
                if is_new || !error.is_unavailable() {
                    return Err(error);
                }
                continue;
            }
            let is_final = is_new || in_block || self.effect == Effect::Once;
            let error = match self.answer(&mut tx, statement(), is_final).await? {
                Some(Ok(rows)) if in_block => {
                    tx.commit().await?;
                    return Ok(rows);
                }
                Some(Ok(rows)) => {
                    tx.done();
                    return Ok(rows);
                }
                Some(Err(error)) => error,
                None => {
                    tx.discard();
                    continue;
                }
            };
            if is_late(&error) && self.effect != Effect::Reads && !in_block {
                // The commit may wait for a standby.
                tx.single_statement(true);
                return Err(DbError::unconfirmed());
            }
            let is_broken = tx.is_broken();
            if !is_broken && !in_block && matches!(error, Error::Database(_)) {
                // The function failed, and its transaction is rolled back already. After any other error, such as a column that cannot be
                // decoded, the end of the answer is still to come.
                tx.keep();
            }
            // After a restart of Postgres every pooled connection is dead.
            let is_repeated = is_broken && !is_new && !is_late(&error) && self.effect != Effect::Once;
            if !is_repeated {
                return Err(error.into());
            }
        }
    }

    /// Executes the statement. `None` when the connection is frozen: no answer comes on it, and its server, asked on another
    /// one, does not execute the statement. An attempt that `is_final` is awaited until the deadline.
    async fn answer<'q, F, O>(
        &self,
        tx: &mut TenantTx,
        statement: Map<'q, Postgres, F, PgArguments>,
        is_final: bool,
    ) -> Result<Option<Result<Vec<O>, Error>>, DbError>
    where
        F: FnMut(PgRow) -> Result<O, Error> + Send,
        O: Send + Unpin,
    {
        let pool = self.database.pool(self.context)?;
        let backend = tx.backend().cloned();
        let sent = Instant::now();
        let mut answer = pin!(statement.fetch_all(tx));
        let Some(backend) = backend.filter(|_| !is_final) else {
            return Ok(Some(answer.await));
        };
        loop {
            // Half of the time remains for another connection.
            let patience = PATIENCE.min(self.deadline.remaining() / 2);
            if patience < SHORT {
                return Ok(Some(answer.await));
            }
            if let Ok(answered) = timeout(patience, &mut answer).await {
                return Ok(Some(answered));
            }
            let is_busy = tokio::select! {
                biased;
                answered = &mut answer => return Ok(Some(answered)),
                is_busy = pool.manager().is_busy(&backend) => is_busy,
            };
            if !is_busy {
                // The answer may be on its way.
                if let Ok(answered) = timeout(SHORT, &mut answer).await {
                    return Ok(Some(answered));
                }
                close_idle(pool, sent.elapsed());
                return Ok(None);
            }
        }
    }

    /// Prepares a connection: begins a transaction block where one is needed, and makes sure that the server answers and accepts writes
    /// when that is not known.
    async fn prepare(&self, tx: &mut TenantTx, is_new: bool, in_block: bool) -> Result<(), DbError> {
        if !in_block {
            tx.single_statement(false);
        }
        let session = tx.session();
        let batch = match &session.backend {
            _ if in_block => begin_call(self.deadline.remaining()),
            Some(backend) if session.answered.elapsed() < FRESH => {
                let backend = backend.clone();
                tx.began_in(backend);
                tx.single_statement(self.effect != Effect::Reads);
                return Ok(());
            }
            _ => format!("SELECT {SERVER}"),
        };
        self.database
            .greet(tx, self.context, batch, None, is_new, self.deadline)
            .await?;
        if !in_block {
            tx.single_statement(self.effect != Effect::Reads);
        }
        Ok(())
    }
}

/// Returns whether `error` is that of a server that has not answered in time.
fn is_late(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}
