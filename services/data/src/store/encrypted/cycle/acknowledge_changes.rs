//! What devices have dealt with, and forgetting what nobody has to be told any more.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use super::{
    super::calling_device::{active, no_device},
    Changes,
    read_changes::FeedError,
};
use crate::domain::encrypted::feed::{History, SyncCursor};

/// How many tombstones, and how many settled conflicts, go with one acknowledgement: it holds the person's lock
/// meanwhile, for milliseconds. What is more goes with the next.
const PURGED_AT_ONCE: i32 = 500;

/// Up to where a person's devices have acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledged {
    /// Up to which number of a change the device has.
    pub number: i64,
    /// Up to which every active device has.
    pub synced_number: i64,
    /// When the next rotation of the device's key is due.
    pub next_rotation_at: DateTime<Utc>,
}

impl Changes {
    /// Notes at `now` that a device has dealt with everything up to `place`, unless it had with more before, and
    /// deletes what no device has to be told any more.
    ///
    /// A place before something that is gone is as good as any other: that the device has dealt with what came before
    /// it is true all the same.
    ///
    /// # Errors
    ///
    /// See [`FeedError`].
    pub async fn acknowledge(
        &self,
        caller: UserId,
        deadline: Deadline,
        device: Uuid,
        place: SyncCursor,
        now: DateTime<Utc>,
    ) -> Result<Acknowledged, FeedError> {
        let mut tx = self
            .database
            .begin("AcknowledgeChanges", Context::User(caller), deadline)
            .await?;
        let state = sqlx::query!(
            r#"/* AcknowledgeChanges, turn */
            SELECT data.sync_epoch() AS "epoch!", b.last_number, b.status, b.next_rotation_at,
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
        // Also one that is behind: this is how it comes to be so no more.
        if status != "behind" {
            active(&status)?;
        }
        let history = History {
            epoch: state.epoch,
            last_number,
            purged_number,
        };
        history.has(place).map_err(FeedError::CursorExpired)?;
        let number = sqlx::query_scalar!(
            "/* AcknowledgeChanges */
            UPDATE data.device_key SET acknowledged_number = greatest(acknowledged_number, $3), epoch = $4
            WHERE user_id = $1 AND id = $2
            RETURNING acknowledged_number",
            caller.as_uuid(),
            device,
            place.number,
            place.epoch,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        let synced_number = sqlx::query_scalar!(
            r#"/* AcknowledgeChanges, purge */
            SELECT data.synced_number() AS "synced_number!" FROM data.purge_changes($1, false)"#,
            PURGED_AT_ONCE,
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

    /// People, but for `others`, of whom something is kept that is too old to be told to anybody: those of the oldest,
    /// `batch` of them or twice as many.
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
            r#"/* PurgeChanges, people */ SELECT DISTINCT p AS "person!" FROM data.people_to_purge($1, $2) AS p"#,
            batch,
            &others,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(people.into_iter().map(UserId::new).collect())
    }

    /// Deletes up to `batch` tombstones and as many settled conflicts of `person`: those that are too old to be told to
    /// anybody. Answers how many.
    ///
    /// # Errors
    ///
    /// When the database fails. Nothing was deleted then, unless it was the answer that got lost.
    pub async fn purge(&self, person: UserId, batch: u32, deadline: Deadline) -> Result<u64, DbError> {
        let mut tx = self
            .database
            .begin("PurgeChanges", Context::ServiceFor(person), deadline)
            .await?;
        let purged = sqlx::query_scalar!(
            r#"/* PurgeChanges */ SELECT data.purge_changes($1, true) AS "purged!""#,
            i32::try_from(batch).unwrap_or(i32::MAX),
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(purged.unsigned_abs())
    }
}
