//! ListShareAccess: pages of the attempts to open a share, by keyset.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    cursor::Cursor,
    database::{Context, DbError},
    deadline::Deadline,
    page::{Page, PageSize},
};
use uuid::Uuid;

use super::Shares;
use crate::domain::encrypted::share::{AccessOutcome, DeviceType, ShareAccess};

impl Shares {
    /// Returns a page of the attempts to open the caller's share, the newest first, after the one at `after`, or from
    /// the first. `None` when the caller has no share with this id.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list_access(
        &self,
        caller: UserId,
        share: Uuid,
        after: Option<Cursor>,
        size: PageSize,
        deadline: Deadline,
    ) -> Result<Option<Page<ShareAccess>>, DbError> {
        let mut tx = self
            .database
            .begin("ListShareAccess", Context::User(caller), deadline)
            .await?;
        let rows = sqlx::query_as!(
            AccessRow,
            "
            SELECT /* ListShareAccess */ id, share_id, accessed_at, device_type, outcome
            FROM data.healthcare_share_audit
            WHERE user_id = $1 AND share_id = $2
                AND (accessed_at, id) < ((SELECT coalesce($3, 'infinity'::timestamptz)), $4)
            ORDER BY accessed_at DESC, id DESC
            LIMIT $5",
            caller.as_uuid(),
            share,
            after.map(|cursor| cursor.at),
            after.map_or(Uuid::nil(), |cursor| cursor.id),
            size.limit(),
        )
        .fetch_all(&mut tx)
        .await?;
        // A share with attempts exists.
        let exists = !rows.is_empty()
            || sqlx::query_scalar!(
                r#"
                SELECT /* ListShareAccess, never tried */
                       EXISTS (SELECT FROM data.healthcare_share WHERE user_id = $1 AND id = $2) AS "known!""#,
                caller.as_uuid(),
                share,
            )
            .fetch_one(&mut tx)
            .await?;
        tx.commit().await?;
        let page = Page::try_from_rows(rows, size)?;
        Ok(exists.then_some(page))
    }
}

/// An attempt to open a share as a row.
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
