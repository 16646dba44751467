//! The end of one session: SignOut and RevokeSession.

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};

use super::Sessions;
use crate::{
    domain::{
        audit::{AuditEventType, NewAuditEvent},
        session::SessionEnd,
    },
    store::audit_log,
};

/// The outcome of ending a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// This call ended the session.
    Now,
    /// The session had ended before, and nothing was changed.
    Before,
    /// The person has no such session.
    Unknown,
}

impl Sessions {
    /// Ends a session of the caller, and appends that to the audit log when the session had not ended before.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn end(
        &self,
        caller: UserId,
        end: SessionEnd<'_>,
        deadline: Deadline,
    ) -> Result<Ended, DbError> {
        let mut tx = self
            .database
            .begin("EndSession", Context::User(caller), deadline)
            .await?;
        // Locks the account first, as DeleteAccount does.
        let row = sqlx::query!(
            r#"
            WITH /* EndSession */ person AS MATERIALIZED (
                SELECT id FROM identity.users WHERE id = $1 FOR KEY SHARE
            ), chosen AS MATERIALIZED (
                SELECT session.id FROM person JOIN identity.sessions AS session ON session.user_id = person.id
                WHERE session.id = $2
            )
            SELECT ended.session_id IS NOT NULL AS "now!"
            FROM chosen LEFT JOIN LATERAL identity.end_sessions(chosen.id, NULL, $3, $4) AS ended ON true"#,
            caller.as_uuid(),
            end.session_id,
            end.reason.name(),
            end.at,
        )
        .fetch_optional(&mut tx)
        .await?;
        let ended = match row {
            None => Ended::Unknown,
            Some(row) if row.now => Ended::Now,
            Some(_) => Ended::Before,
        };
        if ended == Ended::Now {
            let event = NewAuditEvent {
                event: AuditEventType::SignOut,
                refused: false,
                origin: end.origin,
                session_id: Some(end.session_id),
                at: end.at,
            };
            audit_log::append(&mut tx, &event).await?;
        }
        tx.commit().await?;
        Ok(ended)
    }
}
