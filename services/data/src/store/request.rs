//! Requests: what is kept of a change so that its retry is known as one.

use std::sync::Arc;

use haven_platform::{
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

/// What makes a retry known as one (AIP-155).
#[derive(Clone, Copy, Debug)]
pub struct RequestKey {
    /// The id that the client made up for this change. It is the person's own: two people may use the same one.
    pub id: Uuid,
    /// A keyed hash of the method and of everything else in the request.
    pub payload_mac: [u8; 32],
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
