//! People: that they exist.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
};

/// The people who can store something.
#[derive(Clone, Debug)]
pub struct People {
    database: Arc<Database>,
}

impl People {
    /// The people in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Makes `person` known from `now` on, unless they are known already; answers since when they are.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn provision(
        &self,
        person: UserId,
        deadline: Deadline,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, DbError> {
        if let Some(since) = self.try_provision(person, deadline, now).await? {
            return Ok(since);
        }
        // Somebody else made them known while our statement ran: it could neither insert them nor see them yet.
        let since = self.try_provision(person, deadline, now).await?;
        since.ok_or_else(|| DbError::unexpected("a person who is there cannot be read"))
    }

    async fn try_provision(
        &self,
        person: UserId,
        deadline: Deadline,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, DbError> {
        let mut tx = self
            .database
            .begin("ProvisionUser", Context::ServiceFor(person), deadline)
            .await?;
        let since = sqlx::query_scalar!(
            r#"/* ProvisionUser */
            WITH person AS (
                INSERT INTO data.users (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING RETURNING created_at
            )
            SELECT created_at AS "created_at!" FROM person
            UNION ALL
            SELECT created_at FROM data.users WHERE id = $1"#,
            person.as_uuid(),
            now,
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(since)
    }
}
