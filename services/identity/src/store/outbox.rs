//! The outbox: what data has yet to be told, written in the transaction of the change that it tells of.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
    reason::{self, Reason},
};

use crate::domain::outbox::{LEASE, ProvisionUser};

/// How long the outbox's own work may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The messages that have not been delivered yet.
#[derive(Clone, Debug)]
pub struct Outbox {
    database: Arc<Database>,
}

/// What one look into the outbox found.
#[derive(Debug)]
pub struct Due {
    /// Messages that are ours to deliver until their lease ends.
    pub messages: Vec<ProvisionUser>,
    /// When the oldest message of all was written. None: there is none.
    pub oldest: Option<DateTime<Utc>>,
}

impl Outbox {
    /// The outbox in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Takes up to `limit` messages that are due at `now`, those first that have been for longest. Others who look at the
    /// same time take others.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn claim(&self, now: DateTime<Utc>, limit: i64) -> Result<Due, DbError> {
        let mut tx = self
            .database
            .begin("Outbox.claim", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let oldest = sqlx::query_scalar!("/* Outbox.oldest */ SELECT min(created_at) FROM identity.outbox")
            .fetch_one(&mut tx)
            .await?;
        let claimed = sqlx::query!(
            r#"/* Outbox.claim */
            WITH due AS (
                SELECT user_id, id FROM identity.outbox WHERE next_attempt_at <= $1
                ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED
            )
            UPDATE identity.outbox AS message SET attempts = attempts + 1, next_attempt_at = $3
            FROM due WHERE message.user_id = due.user_id AND message.id = due.id
            RETURNING message.user_id, message.id, attempts"#,
            now,
            limit,
            now + LEASE,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let messages = claimed
            .into_iter()
            .map(|row| ProvisionUser {
                id: row.id,
                user_id: UserId::new(row.user_id),
                attempts: row.attempts,
            })
            .collect();
        Ok(Due { messages, oldest })
    }

    /// Drops a message that was delivered.
    ///
    /// # Errors
    ///
    /// When the database fails. The message is delivered once more then, which changes nothing.
    pub async fn delivered(&self, message: &ProvisionUser) -> Result<(), DbError> {
        let mut tx = self
            .database
            .begin("Outbox.delivered", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        sqlx::query!(
            "/* Outbox.delivered */ DELETE FROM identity.outbox WHERE user_id = $1 AND id = $2",
            message.user_id.as_uuid(),
            message.id,
        )
        .execute(&mut tx)
        .await?;
        tx.commit().await
    }

    /// Notes that an attempt failed for `error`, and when the next one is due.
    ///
    /// # Errors
    ///
    /// When the database fails. The message is due when its lease ends then.
    pub async fn failed(
        &self,
        message: &ProvisionUser,
        error: Reason,
        next_attempt_at: DateTime<Utc>,
    ) -> Result<(), DbError> {
        let mut tx = self
            .database
            .begin("Outbox.failed", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        sqlx::query!(
            r#"/* Outbox.failed */
            UPDATE identity.outbox SET last_error = $3, next_attempt_at = $4
            WHERE user_id = $1 AND id = $2"#,
            message.user_id.as_uuid(),
            message.id,
            reason::name(error),
            next_attempt_at,
        )
        .execute(&mut tx)
        .await?;
        tx.commit().await
    }
}
