//! The SQL of ListSessions: pages by keyset.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    page::{Page, PageSize},
};
use uuid::Uuid;

use super::Sessions;
use crate::domain::session::ListedSession;

impl Sessions {
    /// Lists the caller's sessions that have not ended at `now`, newest first, from the one before `before` or from the
    /// newest.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        caller: UserId,
        before: Option<Uuid>,
        size: PageSize,
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Page<ListedSession>, DbError> {
        let mut tx = self
            .database
            .begin("ListSessions", Context::User(caller), deadline)
            .await?;
        // Ids are UUIDs of version 7: their order is that of time.
        let rows = sqlx::query!(
            r#"
            SELECT /* ListSessions */
                   id, issued_at, coalesce(refreshed_at, issued_at) AS "refreshed_at!", refresh_expires_at
            FROM identity.sessions
            WHERE user_id = $1 AND id < $2 AND ended_at IS NULL AND refresh_expires_at > $3
            ORDER BY id DESC
            LIMIT $4"#,
            caller.as_uuid(),
            before.unwrap_or(Uuid::max()),
            now,
            size.limit(),
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let sessions = rows.into_iter().map(|row| ListedSession {
            id: row.id,
            began_at: row.issued_at,
            refreshed_at: row.refreshed_at,
            expires_at: row.refresh_expires_at,
        });
        Ok(Page::from_rows(sessions.collect(), size))
    }
}
