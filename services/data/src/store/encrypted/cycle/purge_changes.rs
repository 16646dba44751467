//! The sweeper's part: purges tombstones and settled conflicts by age. The age, 180 days, is in `data.purge_changes` and
//! `data.people_to_purge`.

use std::collections::HashSet;

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};

use super::Changes;

impl Changes {
    /// Returns people, other than `others`, with tombstones or settled conflicts that are old enough to be purged: the
    /// owners of the `batch` oldest tombstones and of as many settled conflicts.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn people_to_purge(
        &self,
        batch: i32,
        others: &HashSet<UserId>,
        deadline: Deadline,
    ) -> Result<Vec<UserId>, DbError> {
        let others: Vec<_> = others.iter().map(|other| *other.as_uuid()).collect();
        let mut tx = self
            .database
            .begin("PurgeChanges", Context::Service, deadline)
            .await?;
        let people = sqlx::query_scalar!(
            r#"SELECT /* PurgeChanges, people */ DISTINCT p AS "person!" FROM data.people_to_purge($1, $2) AS p"#,
            batch,
            &others,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(people.into_iter().map(UserId::new).collect())
    }

    /// Deletes up to `batch` tombstones and as many settled conflicts of `person` that are old enough to be purged.
    /// Returns the number of deleted rows.
    ///
    /// # Errors
    ///
    /// When the database fails. Nothing was deleted, unless only the response was lost.
    pub async fn purge(&self, person: UserId, batch: u32, deadline: Deadline) -> Result<u64, DbError> {
        let mut tx = self
            .database
            .begin("PurgeChanges", Context::ServiceFor(person), deadline)
            .await?;
        let purged = sqlx::query_scalar!(
            r#"SELECT /* PurgeChanges */ data.purge_changes($1, true) AS "purged!""#,
            i32::try_from(batch).unwrap_or(i32::MAX),
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(purged.unsigned_abs())
    }
}
