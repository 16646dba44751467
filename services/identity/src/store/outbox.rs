//! The outbox: messages to data, written in the transaction of the change that they announce.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
    reason::{self, Reason},
};
use sqlx::types::Json;
use uuid::Uuid;

use crate::domain::{
    erasure::Receipt,
    outbox::{ERASE_LEASE, LEASE, Message, MessageKind},
};

/// The timeout of a transaction on the outbox.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The number of rows of an erased person that one transaction deletes: about a tenth of a second.
const ERASE_BATCH: i32 = 5000;

/// The messages that were not delivered yet.
#[derive(Clone, Debug)]
pub struct Outbox {
    database: Arc<Database>,
}

/// The result of [`Outbox::claim`].
#[derive(Debug)]
pub struct Due {
    /// The claimed messages, which the caller delivers until their lease ends.
    pub messages: Vec<Message>,
    /// The time at which the oldest of all messages was written. `None` when there are no messages.
    pub oldest: Option<DateTime<Utc>>,
}

impl Outbox {
    /// The outbox in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Claims up to `limit` messages that are due, the longest overdue first. Simultaneous calls claim different messages.
    /// Leases go by the clock of Postgres: by its own, a replica with a clock that is ahead would take what others deliver.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn claim(&self, limit: i64) -> Result<Due, DbError> {
        let mut tx = self
            .database
            .begin("Outbox.claim", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let oldest = sqlx::query_scalar!("SELECT /* Outbox.oldest */ min(created_at) FROM identity.outbox")
            .fetch_one(&mut tx)
            .await?;
        let claimed = sqlx::query!(
            r#"
            WITH /* Outbox.claim */ due AS (
                SELECT user_id, id FROM identity.outbox WHERE next_attempt_at <= now()
                ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED
            )
            UPDATE identity.outbox AS message
            SET attempts = attempts + 1,
                next_attempt_at = now() + make_interval(secs =>
                    CASE WHEN kind = 'erase_user' THEN $3::float8 ELSE $2::float8 END)
            FROM due WHERE message.user_id = due.user_id AND message.id = due.id
            RETURNING message.user_id, message.id, kind, attempts"#,
            limit,
            LEASE.as_secs_f64(),
            ERASE_LEASE.as_secs_f64(),
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let messages: Option<Vec<_>> = claimed
            .into_iter()
            .map(|row| {
                Some(Message {
                    id: row.id,
                    user_id: UserId::new(row.user_id),
                    kind: MessageKind::from_name(&row.kind)?,
                    attempts: row.attempts,
                })
            })
            .collect();
        let messages = messages.ok_or_else(|| DbError::unexpected("the stored kind of a message"))?;
        Ok(Due { messages, oldest })
    }

    /// Counts the messages that were written until the time `written_until` and were not delivered yet.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn count(&self, written_until: DateTime<Utc>) -> Result<u64, DbError> {
        let mut tx = self
            .database
            .begin("Outbox.count", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let count = sqlx::query_scalar!(
            r#"SELECT /* Outbox.count */ count(*) AS "count!" FROM identity.outbox WHERE created_at <= $1"#,
            written_until,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(count.unsigned_abs())
    }

    /// Deletes delivered messages that have no receipt.
    ///
    /// # Errors
    ///
    /// When the database fails. The messages are delivered again then, which changes nothing.
    pub async fn delivered(&self, messages: &[Message]) -> Result<(), DbError> {
        let people: Vec<Uuid> = messages
            .iter()
            .map(|message| *message.user_id.as_uuid())
            .collect();
        let ids: Vec<Uuid> = messages.iter().map(|message| message.id).collect();
        let mut tx = self
            .database
            .begin("Outbox.delivered", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        sqlx::query!(
            r#"
            DELETE /* Outbox.delivered */
                   FROM identity.outbox AS message USING unnest($1::uuid[], $2::uuid[]) AS delivered (user_id, id)
            WHERE message.user_id = delivered.user_id AND message.id = delivered.id"#,
            &people,
            &ids,
        )
        .execute(&mut tx)
        .await?;
        tx.commit().await
    }

    /// Deletes the rows that are left of the message's person, who is being erased, in batches. Each is a transaction, so an
    /// attempt that is killed is continued by the next one. Ends at `deadline`, or when nothing is left: then returns `true`.
    ///
    /// # Errors
    ///
    /// When the database fails. What was deleted before stays deleted.
    pub async fn erase_rows(&self, message: &Message, deadline: Deadline) -> Result<bool, DbError> {
        while !deadline.remaining().is_zero() {
            let mut tx = self
                .database
                .begin(
                    "Outbox.erase_rows",
                    Context::ServiceFor(message.user_id),
                    Deadline::after(TIMEOUT),
                )
                .await?;
            let is_done = sqlx::query_scalar!(
                r#"SELECT /* Outbox.erase_rows */ identity.erase_rows($1) AS "done!""#,
                ERASE_BATCH,
            )
            .fetch_one(&mut tx)
            .await?;
            tx.commit().await?;
            if is_done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes a delivered message to erase a person, and stores its receipt, both or neither. An existing receipt is
    /// kept.
    ///
    /// # Errors
    ///
    /// When the database fails. The message is delivered again then, and data answers with the same receipt.
    pub async fn erased(&self, message: &Message, receipt: &Receipt) -> Result<(), DbError> {
        let mut tx = self
            .database
            .begin(
                "Outbox.erased",
                Context::ServiceFor(message.user_id),
                Deadline::after(TIMEOUT),
            )
            .await?;
        sqlx::query!(
            r#"
            WITH /* Outbox.erased */ kept AS (
                UPDATE identity.erasures SET data_erased = $3, completed_at = $4
                WHERE user_id = $1 AND completed_at IS NULL
            )
            DELETE FROM identity.outbox WHERE user_id = $1 AND id = $2"#,
            message.user_id.as_uuid(),
            message.id,
            Json(&receipt.erased) as _,
            receipt.confirmed_at,
        )
        .execute(&mut tx)
        .await?;
        tx.commit().await
    }

    /// Stores that an attempt failed for `error`, and that the next one is due after `delay`.
    ///
    /// # Errors
    ///
    /// When the database fails. The message is due again when its lease ends.
    pub async fn failed(&self, message: &Message, error: Reason, delay: Duration) -> Result<(), DbError> {
        let mut tx = self
            .database
            .begin("Outbox.failed", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        sqlx::query!(
            r#"
            UPDATE /* Outbox.failed */ identity.outbox
            SET last_error = $3, next_attempt_at = now() + make_interval(secs => $4)
            WHERE user_id = $1 AND id = $2"#,
            message.user_id.as_uuid(),
            message.id,
            reason::name(error),
            delay.as_secs_f64(),
        )
        .execute(&mut tx)
        .await?;
        tx.commit().await
    }
}
