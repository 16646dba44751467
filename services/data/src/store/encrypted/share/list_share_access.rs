//! A person's shares, and who tried to open them: by keyset, so that a page costs what is on it. And revoking one.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    cursor::Cursor,
    database::{Context, DbError},
    deadline::Deadline,
    page::PageSize,
};
use uuid::Uuid;

use super::create_share::Shares;
use crate::domain::encrypted::share::{AccessOutcome, DeviceType, Share, ShareAccess};

/// Some of what a list shows.
#[derive(Debug)]
pub struct SharePage<T> {
    /// The newest first.
    pub items: Vec<T>,
    /// Whether there are more after them.
    pub more: bool,
}

// === impl Shares ===

impl Shares {
    /// The caller's shares, the newest first: at most `size`, from the one after `after`, or from the first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        caller: UserId,
        deadline: Deadline,
        after: Option<Cursor>,
        size: PageSize,
    ) -> Result<SharePage<Share>, DbError> {
        let mut tx = self
            .database
            .begin("ListShares", Context::User(caller), deadline)
            .await?;
        let shares = sqlx::query_as!(
            Share,
            "/* ListShares */
            SELECT id, expires_at, max_access_count, access_count, refusal_count, wrong_passcodes, last_accessed_at,
                created_at, revoked_at
            FROM data.healthcare_share
            WHERE user_id = $1 AND (created_at, id) < ((SELECT coalesce($2, 'infinity'::timestamptz)), $3)
            ORDER BY created_at DESC, id DESC
            LIMIT $4",
            caller.as_uuid(),
            after.map(|place| place.at),
            after.map_or(Uuid::nil(), |place| place.id),
            one_more(size),
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(SharePage::of(shares, size))
    }

    /// Revokes the caller's share at `now`, unless it is. Answers the share as it is then; none when the caller has no such
    /// share.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn revoke(
        &self,
        caller: UserId,
        deadline: Deadline,
        id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Option<Share>, DbError> {
        let mut tx = self
            .database
            .begin("RevokeShare", Context::User(caller), deadline)
            .await?;
        // To write it down locks the person, by a foreign key, after the share: whoever erases the person has the counter
        // first, so of the two at once neither waits in a circle.
        sqlx::query!(
            "/* RevokeShare, turn */ SELECT FROM data.change_counters WHERE user_id = $1 FOR NO KEY UPDATE",
            caller.as_uuid(),
        )
        .fetch_optional(&mut tx)
        .await?;
        let mut share = sqlx::query_as!(
            Share,
            "/* RevokeShare */
            WITH revoked AS (
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
            // A statement of its own, which sees what the first one waited for.
            share = sqlx::query_as!(
                Share,
                "/* RevokeShare, revoked before */
                SELECT id, expires_at, max_access_count, access_count, refusal_count, wrong_passcodes,
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

    /// Who tried to open the caller's share, the newest first: at most `size`, from the attempt after `after`, or from the
    /// first. None when the caller has no such share.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn accesses(
        &self,
        caller: UserId,
        deadline: Deadline,
        share: Uuid,
        after: Option<Cursor>,
        size: PageSize,
    ) -> Result<Option<SharePage<ShareAccess>>, DbError> {
        let mut tx = self
            .database
            .begin("ListShareAccess", Context::User(caller), deadline)
            .await?;
        let rows = sqlx::query_as!(
            AccessRow,
            "/* ListShareAccess */
            SELECT id, share_id, accessed_at, device_type, outcome
            FROM data.healthcare_share_audit
            WHERE user_id = $1 AND share_id = $2
                AND (accessed_at, id) < ((SELECT coalesce($3, 'infinity'::timestamptz)), $4)
            ORDER BY accessed_at DESC, id DESC
            LIMIT $5",
            caller.as_uuid(),
            share,
            after.map(|place| place.at),
            after.map_or(Uuid::nil(), |place| place.id),
            one_more(size),
        )
        .fetch_all(&mut tx)
        .await?;
        // What was tried is there.
        let known = !rows.is_empty()
            || sqlx::query_scalar!(
                r#"/* ListShareAccess, never tried */
                SELECT EXISTS (SELECT FROM data.healthcare_share WHERE user_id = $1 AND id = $2) AS "known!""#,
                caller.as_uuid(),
                share,
            )
            .fetch_one(&mut tx)
            .await?;
        tx.commit().await?;
        let accesses: Result<Vec<_>, _> = rows.into_iter().map(ShareAccess::try_from).collect();
        let page = SharePage::of(accesses?, size);
        Ok(known.then_some(page))
    }
}

/// One more than asked for shows whether there is a next page.
fn one_more(size: PageSize) -> i64 {
    i64::from(size.get()) + 1
}

impl<T> SharePage<T> {
    fn of(mut items: Vec<T>, size: PageSize) -> Self {
        let size = usize::from(size.get());
        let more = items.len() > size;
        items.truncate(size);
        Self { items, more }
    }
}

pub(in crate::store) struct AccessRow {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) share_id: Uuid,
    pub(in crate::store) accessed_at: DateTime<Utc>,
    pub(in crate::store) device_type: String,
    pub(in crate::store) outcome: String,
}

impl TryFrom<AccessRow> for ShareAccess {
    type Error = DbError;

    fn try_from(row: AccessRow) -> Result<Self, DbError> {
        let device_type = DeviceType::from_name(&row.device_type);
        let outcome = AccessOutcome::from_name(&row.outcome);
        let (device_type, outcome) = device_type
            .zip(outcome)
            .ok_or_else(|| DbError::unexpected("an attempt to open a share"))?;
        Ok(Self {
            id: row.id,
            share_id: row.share_id,
            accessed_at: row.accessed_at,
            device_type,
            outcome,
        })
    }
}
