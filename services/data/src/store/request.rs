//! Requests: what is kept of a change so that its retry is known as one.

use std::sync::Arc;

use haven_platform::{
    database::{Context, Database, DbError},
    deadline::Deadline,
};

pub use haven_platform::request_key::RequestKey;

/// Makes `attempt`, and makes it once more where it fails in a way that `again` knows.
///
/// A statement sees what was there when it began. Whoever changes something looks for their request in that, and waits
/// only then: for the person's counter, or for a row. What was committed meanwhile they do not see, the same request's
/// answer among it: they find its id taken, or nothing left to do. A statement that begins now sees it all, and tells a
/// retry from somebody who is too late.
pub(super) async fn retry_once<T, E, F>(
    again: impl FnOnce(&E) -> bool,
    attempt: impl Fn() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    match attempt().await {
        Err(error) if again(&error) => attempt().await,
        outcome => outcome,
    }
}

/// Whether `error` is that the id of a request is taken: by the same request, or by another one.
pub(super) fn id_taken(error: &DbError) -> bool {
    breaks(error, &["requests_pkey"])
}

/// Whether `error` is that a row breaks one of `constraints`.
pub(super) fn breaks(error: &DbError, constraints: &[&str]) -> bool {
    error
        .constraint()
        .is_some_and(|broken| constraints.contains(&broken))
}

/// The requests of everybody, for whoever deletes those that nobody retries any more.
#[derive(Clone, Debug)]
pub struct Requests {
    database: Arc<Database>,
}

impl Requests {
    /// Those in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Deletes up to `batch` requests that are older than a week. Answers how many.
    ///
    /// # Errors
    ///
    /// When the database fails. Nothing was deleted then, unless it was the answer that got lost.
    pub async fn sweep(&self, batch: u32, deadline: Deadline) -> Result<u64, DbError> {
        let mut tx = self
            .database
            .begin("Requests.sweep", Context::Service, deadline)
            .await?;
        let swept = sqlx::query_scalar!(
            r#"/* Requests.sweep */ SELECT data.sweep_requests($1) AS "swept!""#,
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
    async fn what_is_worth_it_is_tried_twice_and_no_more() {
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
