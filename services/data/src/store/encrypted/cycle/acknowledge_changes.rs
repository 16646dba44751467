//! AcknowledgeChanges: notes what a device has read, and purges what no device has to read any more.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use super::{
    super::calling_device::{check_active, no_device},
    Changes, FeedError,
};
use crate::domain::encrypted::feed::{History, SyncCursor};

/// The maximum number of tombstones, and of settled conflicts, that one acknowledgement purges. It holds the person's
/// lock meanwhile, for milliseconds. The next acknowledgement purges the rest.
const PURGE_BATCH_SIZE: i32 = 500;

/// The acknowledged changes of a person's devices.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// The number of the last change that the calling device has acknowledged.
    pub number: i64,
    /// The number of the last change that every active device has acknowledged.
    pub synced_number: i64,
    /// The time at which the next rotation of the calling device's key is due.
    pub next_rotation_at: DateTime<Utc>,
}

impl Changes {
    /// Notes at `now` that a device has read everything up to `cursor`, unless it has acknowledged more before, and
    /// purges tombstones and settled conflicts that every device has acknowledged.
    ///
    /// A cursor before a purged change is accepted: the device has read what came before the cursor in any case. A device that
    /// is behind after a restore stays so until it acknowledges a cursor at the end of a read: with an earlier one it would
    /// make changes over versions that it has not seen.
    ///
    /// # Errors
    ///
    /// See [`FeedError`].
    pub async fn acknowledge(
        &self,
        caller: UserId,
        device: Uuid,
        cursor: SyncCursor,
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Acknowledged, FeedError> {
        let mut tx = self
            .database
            .begin("AcknowledgeChanges", Context::User(caller), deadline)
            .await?;
        let state = sqlx::query!(
            r#"
            SELECT /* AcknowledgeChanges, turn */
                   data.sync_epoch() AS "epoch!", b.last_number, b.status, b.next_rotation_at,
                (SELECT purged_number FROM data.change_counters WHERE user_id = $3)
            FROM data.begin_change($1, $2) AS b"#,
            device,
            now,
            caller.as_uuid(),
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        let (Some(status), Some(last_number), Some(purged_number), Some(next_rotation_at)) = (
            state.status,
            state.last_number,
            state.purged_number,
            state.next_rotation_at,
        ) else {
            return Err(no_device(&mut tx, caller).await.into());
        };
        // A device that is behind after a restore is accepted: this call can end that state.
        if status != "behind" {
            check_active(&status)?;
        }
        let history = History {
            epoch: state.epoch,
            last_number,
            purged_number,
        };
        history.check_contains(cursor).map_err(FeedError::CursorExpired)?;
        let number = sqlx::query_scalar!(
            "
            UPDATE /* AcknowledgeChanges */
                   data.device_key SET acknowledged_number = greatest(acknowledged_number, $3),
                epoch = CASE WHEN $5 THEN $4 ELSE epoch END
            WHERE user_id = $1 AND id = $2
            RETURNING acknowledged_number",
            caller.as_uuid(),
            device,
            cursor.number,
            cursor.epoch,
            cursor.complete,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        let synced_number = sqlx::query_scalar!(
            r#"
            SELECT /* AcknowledgeChanges, purge */
                   data.synced_number() AS "synced_number!" FROM data.purge_changes($1, false)"#,
            PURGE_BATCH_SIZE,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        Ok(Acknowledged {
            number,
            synced_number,
            next_rotation_at,
        })
    }
}
