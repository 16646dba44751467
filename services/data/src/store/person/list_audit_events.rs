//! The security audit log: what people did to their devices, their shares and their data. It is written by the statements
//! that do so.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    cursor::Cursor,
    database::{Context, Database, DbError},
    deadline::Deadline,
    page::PageSize,
};
use uuid::Uuid;

use crate::domain::audit::{AuditEvent, AuditEventType};

/// The security audit log.
#[derive(Clone, Debug)]
pub struct AuditLog {
    database: Arc<Database>,
}

/// Some of what a person did.
#[derive(Debug)]
pub struct AuditPage {
    /// The newest first.
    pub events: Vec<AuditEvent>,
    /// Whether there are more after them.
    pub more: bool,
}

// === impl AuditLog ===

impl AuditLog {
    /// The one in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// What the caller did, the newest first: at most `size` events, from the one after `after`, or from the first.
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
    ) -> Result<AuditPage, DbError> {
        let size = usize::from(size.get());
        // One more than asked for shows whether there is a next page.
        let limit = size as i64 + 1;
        let mut tx = self
            .database
            .begin("ListAuditEvents", Context::User(caller), deadline)
            .await?;
        let rows = sqlx::query_as!(
            AuditRow,
            "/* ListAuditEvents */
            SELECT id, event, subject_id, occurred_at
            FROM data.security_audit_log
            WHERE user_id = $1 AND (occurred_at, id) < ((SELECT coalesce($2, 'infinity'::timestamptz)), $3)
            ORDER BY occurred_at DESC, id DESC
            LIMIT $4",
            caller.as_uuid(),
            after.map(|place| place.at),
            after.map_or(Uuid::nil(), |place| place.id),
            limit,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let more = rows.len() > size;
        let events = rows.into_iter().take(size).map(AuditEvent::try_from);
        Ok(AuditPage {
            events: events.collect::<Result<_, _>>()?,
            more,
        })
    }
}

/// An event's row.
pub(in crate::store) struct AuditRow {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) event: String,
    pub(in crate::store) subject_id: Option<Uuid>,
    pub(in crate::store) occurred_at: DateTime<Utc>,
}

impl TryFrom<AuditRow> for AuditEvent {
    type Error = DbError;

    fn try_from(row: AuditRow) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            event: AuditEventType::from_name(&row.event)
                .ok_or_else(|| DbError::unexpected("an audit event"))?,
            subject_id: row.subject_id,
            occurred_at: row.occurred_at,
        })
    }
}
