//! LockUser: makes the rows of a person unreachable, and keeps them.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};

use super::People;

impl People {
    /// Locks `person` since the time `at`, unless they are locked already. Returns the time since when they are locked;
    /// `None` when the service does not know the person, or erased them.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn lock(
        &self,
        person: UserId,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Option<DateTime<Utc>>, DbError> {
        let mut tx = self
            .database
            .begin("LockUser", Context::ServiceFor(person), deadline)
            .await?;
        let locked_at = sqlx::query_scalar!(
            r#"
            UPDATE /* LockUser */ data.users SET locked_at = coalesce(locked_at, $2) WHERE id = $1
            RETURNING locked_at AS "locked_at!""#,
            person.as_uuid(),
            at,
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(locked_at)
    }
}
