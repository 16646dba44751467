//! ListCrisisEvents: reads pages of a person's crisis events by keyset.

use haven_platform::{
    call::UserId,
    cursor::Cursor,
    database::{Context, DbError},
    deadline::Deadline,
    page::{Page, PageSize},
};
use uuid::Uuid;

use super::{CrisisEvents, EventRow};
use crate::domain::crisis::CrisisEvent;

impl CrisisEvents {
    /// Returns a page of the caller's events, the newest first, starting after the event of `after`.
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
    ) -> Result<Page<CrisisEvent>, DbError> {
        let mut tx = self
            .database
            .begin("ListCrisisEvents", Context::User(caller), deadline)
            .await?;
        let rows = sqlx::query_as!(
            EventRow,
            "
            SELECT /* ListCrisisEvents */
                   user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required,
                created_at, acknowledged_at, resolved_at
            FROM data.crisis_events
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
        Page::try_from_rows(rows, size)
    }
}
