//! The security audit log: events are appended in the transaction of the action, and listed for their person.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError, TenantTx},
    deadline::Deadline,
    mac::StoredMac,
    page::{Page, PageSize},
};
use uuid::Uuid;

use crate::domain::audit::{AuditEvent, AuditEventType, NewAuditEvent};

/// The audit logs of all people. Each is accessed only in the context of its person.
#[derive(Clone, Debug)]
pub struct AuditLog {
    database: Arc<Database>,
}

/// Appends an event to the log of the transaction's person. Takes one round trip.
///
/// # Errors
///
/// When the database fails. The transaction must not be committed then.
pub(super) async fn append(tx: &mut TenantTx, event: &NewAuditEvent<'_>) -> Result<(), DbError> {
    sqlx::query!(
        r#"
        SELECT /* Audit.append */ identity.append_audit_event($1, $2, $3, $4, $5, $6) AS "appended: ()""#,
        event.event.name(),
        event.refused,
        event.origin.service.as_deref(),
        event.session_id,
        event.origin.network_mac.as_ref().map(StoredMac::as_bytes),
        event.at,
    )
    .execute(tx)
    .await?;
    Ok(())
}

// === impl AuditLog ===

impl AuditLog {
    /// The logs in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Lists the caller's events, newest first, from the one before number `after` or from the newest.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        caller: UserId,
        after: Option<i64>,
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
            SELECT /* ListAuditEvents */
                   number, event, refused, service, session_id, occurred_at FROM identity.security_audit_log
            WHERE user_id = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
            caller.as_uuid(),
            after.unwrap_or(i64::MAX),
            size.limit(),
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Page::try_from_rows(rows, size)
    }
}

/// A row of `identity.security_audit_log`, with the columns that its person sees.
pub(super) struct AuditRow {
    pub(super) number: i64,
    pub(super) event: String,
    pub(super) refused: bool,
    pub(super) service: Option<String>,
    pub(super) session_id: Option<Uuid>,
    pub(super) occurred_at: DateTime<Utc>,
}

impl TryFrom<AuditRow> for AuditEvent {
    type Error = DbError;

    fn try_from(row: AuditRow) -> Result<Self, DbError> {
        Ok(Self {
            number: row.number,
            event: AuditEventType::from_name(&row.event)
                .ok_or_else(|| DbError::unexpected("the stored type of an audit event"))?,
            refused: row.refused,
            service: row.service,
            session_id: row.session_id,
            at: row.occurred_at,
        })
    }
}
