//! ListAuditEvents: reads pages of a person's security audit log by keyset. The events are written by the statements of
//! the audited actions.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    cursor::Cursor,
    database::{Context, Database, DbError},
    deadline::Deadline,
    page::{Page, PageSize},
};
use uuid::Uuid;

use crate::domain::audit::{AuditEvent, AuditEventType};

/// The security audit log.
#[derive(Clone, Debug)]
pub struct AuditLog {
    database: Arc<Database>,
}

// === impl AuditLog ===

impl AuditLog {
    /// Returns the audit log in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Returns a page of the caller's audit events, the newest first, starting after the event of `after`.
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
    ) -> Result<Page<AuditEvent>, DbError> {
        let mut tx = self
            .database
            .begin("ListAuditEvents", Context::User(caller), deadline)
            .await?;
        let rows = sqlx::query_as!(
            AuditRow,
            "
            SELECT /* ListAuditEvents */ id, event, subject_id, occurred_at
            FROM data.security_audit_log
            WHERE user_id = $1 AND (occurred_at, id) < ((SELECT coalesce($2, 'infinity'::timestamptz)), $3)
            ORDER BY occurred_at DESC, id DESC
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

/// A row of `data.security_audit_log`.
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
                .ok_or_else(|| DbError::unexpected("the type of an audit event"))?,
            subject_id: row.subject_id,
            occurred_at: row.occurred_at,
        })
    }
}
