//! Request ids: retries of mutations that were committed (AIP-155).

use std::sync::Arc;

use haven_platform::{
    database::{Context, Database, DbError},
    deadline::Deadline,
};

/// Runs `attempt`, and runs it a second time when it fails with an error for which `is_retryable` returns true.
///
/// A statement sees the rows that were committed when it began. A mutation looks up its request id in that snapshot,
/// and only then waits for a lock on the person's counter or on a row. It does not see rows that were committed during
/// the wait, such as the answer to the same request: it finds the request id taken, or its row deleted. The second
/// attempt has a new snapshot, and so tells a retry from another request.
pub(in crate::store) async fn retry_once<T, E, F>(
    is_retryable: impl FnOnce(&E) -> bool,
    attempt: impl Fn() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    match attempt().await {
        Err(error) if is_retryable(&error) => attempt().await,
        outcome => outcome,
    }
}

/// Returns whether `error` says that the request id is taken, by the same request or by another one; or that a limit is used up,
/// which the same request may have done.
pub(in crate::store) fn id_taken(error: &DbError) -> bool {
    breaks(error, &["requests_pkey"]) || error.is_over_limit()
}

/// Returns whether `error` says that a row violates one of `constraints`.
pub(in crate::store) fn breaks(error: &DbError, constraints: &[&str]) -> bool {
    error
        .constraint()
        .is_some_and(|broken| constraints.contains(&broken))
}

/// The table of request ids, for the sweeper.
#[derive(Clone, Debug)]
pub struct Requests {
    database: Arc<Database>,
}

impl Requests {
    /// The request ids in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Deletes up to `batch` request ids that are older than a week, and returns the number of deleted rows.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn sweep(&self, batch: u32, deadline: Deadline) -> Result<u64, DbError> {
        let mut tx = self
            .database
            .begin("Requests.sweep", Context::Service, deadline)
            .await?;
        let swept = sqlx::query_scalar!(
            r#"SELECT /* Requests.sweep */ data.sweep_requests($1) AS "swept!""#,
            i32::try_from(batch).unwrap_or(i32::MAX),
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(swept.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_retryable_error_is_retried_once() {
        let tried = Cell::new(0);
        let attempt = || async {
            tried.set(tried.get() + 1);
            Err::<(), _>(tried.get())
        };
        assert_eq!(retry_once(|_| false, attempt).await, Err(1));
        assert_eq!(retry_once(|_| true, attempt).await, Err(3));
        assert_eq!(retry_once(|_| true, async || Ok::<_, ()>(7)).await, Ok(7));
    }
}
