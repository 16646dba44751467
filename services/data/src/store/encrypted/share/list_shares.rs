//! ListShares: pages of a person's shares, by keyset.

use haven_platform::{
    call::UserId,
    cursor::Cursor,
    database::{Context, DbError},
    deadline::Deadline,
    page::{Page, PageSize},
};
use uuid::Uuid;

use super::Shares;
use crate::domain::encrypted::share::Share;

impl Shares {
    /// Returns a page of the caller's shares, the newest first, after the one at `after`, or from the first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        caller: UserId,
        after: Option<Cursor>,
        size: PageSize,
        deadline: Deadline,
    ) -> Result<Page<Share>, DbError> {
        let mut tx = self
            .database
            .begin("ListShares", Context::User(caller), deadline)
            .await?;
        let shares = sqlx::query_as!(
            Share,
            "
            SELECT /* ListShares */
                   id, expires_at, max_access_count, access_count, refusal_count, wrong_passcodes, last_accessed_at,
                created_at, revoked_at
            FROM data.healthcare_share
            WHERE user_id = $1 AND (created_at, id) < ((SELECT coalesce($2, 'infinity'::timestamptz)), $3)
            ORDER BY created_at DESC, id DESC
            LIMIT $4",
            caller.as_uuid(),
            after.map(|cursor| cursor.at),
            after.map_or(Uuid::nil(), |cursor| cursor.id),
            size.limit(),
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(Page::from_rows(shares, size))
    }
}
