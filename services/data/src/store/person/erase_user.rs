//! EraseUser: deletes all rows of a person, and leaves a tombstone.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use sqlx::types::Json;

use super::People;

/// The number of rows that are deleted in one transaction. It takes well below the two seconds that identity gives its
/// first attempt, and holds its locks that long.
const BATCH_SIZE: i32 = 5000;

/// The receipt of an erasure, which is kept in the tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The time at which the erasure was complete.
    pub erased_at: DateTime<Utc>,
    /// The number of deleted rows by table, for each table with rows of people.
    pub erased: BTreeMap<String, i64>,
}

impl People {
    /// Deletes all rows of `person`, whether the person is provisioned or not, and leaves a tombstone with the time
    /// `at`. When the person was erased before, changes nothing. Returns the receipt of the first erasure.
    ///
    /// Many rows are deleted in several transactions. When a later one fails, the rows that were deleted stay deleted,
    /// and count in the receipt of the call that completes the erasure.
    ///
    /// # Errors
    ///
    /// When the database fails, or the erasure takes longer than the deadline.
    pub async fn erase(
        &self,
        person: UserId,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Receipt, DbError> {
        // Concurrent writes of the person cannot prolong this without end: once a batch is not full, the rest is
        // deleted in one transaction.
        while self.erase_batch(person, deadline).await? >= i64::from(BATCH_SIZE) {}
        let mut tx = self
            .database
            .begin("EraseUser", Context::ServiceFor(person), deadline)
            .await?;
        let row = sqlx::query!(
            r#"
            SELECT /* EraseUser */ erased_at AS "erased_at!", erased AS "erased!: Json<BTreeMap<String, i64>>"
            FROM data.erase_user($1)"#,
            at,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(Receipt {
            erased_at: row.erased_at,
            erased: row.erased.0,
        })
    }

    /// Deletes one batch of rows of `person`, and returns the number of deleted rows.
    async fn erase_batch(&self, person: UserId, deadline: Deadline) -> Result<i64, DbError> {
        let mut tx = self
            .database
            .begin("EraseUser", Context::ServiceFor(person), deadline)
            .await?;
        let deleted = sqlx::query_scalar!(
            r#"SELECT /* EraseUser, batch */ data.erase_batch($1) AS "gone!""#,
            BATCH_SIZE,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(deleted)
    }
}
