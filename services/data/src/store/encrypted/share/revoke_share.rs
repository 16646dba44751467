//! RevokeShare.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use super::Shares;
use crate::domain::encrypted::share::Share;

impl Shares {
    /// Revokes the caller's share at `now`, unless it is revoked, and returns it. `None` when the caller has no share
    /// with this id.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn revoke(
        &self,
        caller: UserId,
        id: Uuid,
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Option<Share>, DbError> {
        let mut tx = self
            .database
            .begin("RevokeShare", Context::User(caller), deadline)
            .await?;
        // The audit event locks the person, by a foreign key, after the share is locked. An erasure locks the counter
        // before the person, so taking the counter first here prevents a deadlock of the two.
        sqlx::query!(
            "SELECT /* RevokeShare, turn */ FROM data.change_counters WHERE user_id = $1 FOR NO KEY UPDATE",
            caller.as_uuid(),
        )
        .fetch_optional(&mut tx)
        .await?;
        let mut share = sqlx::query_as!(
            Share,
            "
            WITH /* RevokeShare */ revoked AS (
                UPDATE data.healthcare_share SET revoked_at = $3
                WHERE user_id = $1 AND id = $2 AND revoked_at IS NULL
                RETURNING id, expires_at, max_access_count, access_count, refusal_count, wrong_passcodes,
                    last_accessed_at, created_at, revoked_at
            ), audit AS (
                INSERT INTO data.security_audit_log (user_id, event, subject_id, occurred_at)
                SELECT $1, 'share_revoked', id, $3 FROM revoked
            )
            SELECT id, expires_at, max_access_count, access_count, refusal_count, wrong_passcodes, last_accessed_at,
                created_at, revoked_at
            FROM revoked",
            caller.as_uuid(),
            id,
            now,
        )
        .fetch_optional(&mut tx)
        .await?;
        if share.is_none() {
            // A new statement, which sees what was committed while the first one waited.
            share = sqlx::query_as!(
                Share,
                "
                SELECT /* RevokeShare, revoked before */
                       id, expires_at, max_access_count, access_count, refusal_count, wrong_passcodes,
                    last_accessed_at, created_at, revoked_at
                FROM data.healthcare_share WHERE user_id = $1 AND id = $2",
                caller.as_uuid(),
                id,
            )
            .fetch_optional(&mut tx)
            .await?;
        }
        tx.commit().await?;
        Ok(share)
    }
}
