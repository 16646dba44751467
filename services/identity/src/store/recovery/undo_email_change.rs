//! The SQL of UndoEmailChange.

use haven_platform::{
    database::{Context, DbError},
    deadline::Deadline,
    mac::StoredMac,
};
use uuid::Uuid;

use super::{Recovery, UseError, Used, interval};
use crate::domain::{audit::AuditEventType, recovery::EmailUndo};

/// A change of address that was taken back.
#[derive(Debug)]
pub struct Undone {
    /// The answer.
    pub used: Used,
    /// The ids of the sessions that ended.
    pub ended: Vec<Uuid>,
}

// === impl Recovery ===

impl Recovery {
    /// Uses a token to give an account its old address back, ends the password and all sessions, and stores the token of a
    /// password reset, in one statement.
    ///
    /// # Errors
    ///
    /// See [`UseError`]. Nothing was changed, except that after a database error the address may have been: a retry returns the
    /// outcome.
    pub async fn undo_email_change(
        &self,
        undo: &EmailUndo<'_>,
        deadline: Deadline,
    ) -> Result<Undone, UseError> {
        let token = &undo.token;
        let mut tx = self
            .database
            .begin("UndoEmailChange", Context::User(token.user_id), deadline)
            .await?;
        let row = sqlx::query!(
            r#"
            WITH /* UndoEmailChange */ spent AS MATERIALIZED (
                SELECT ended, (extract(epoch FROM reset_expires_at) * 1000000)::bigint AS reset_micros
                FROM identity.undo_email_change($2, $10, $11, $12, $13, $3)
            ), request AS (
                INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $4, 'UndoEmailChange', $5,
                    jsonb_build_object('at_micros', $6::bigint, 'ended_sessions', cardinality(ended),
                        'reset_expires_at_micros', reset_micros),
                    $3
                FROM spent
            ), noted AS MATERIALIZED (
                SELECT identity.append_audit_event($7, false, $8, NULL, $9, $3) FROM spent
            )
            SELECT ended AS "ended!: Vec<Uuid>", reset_micros, (SELECT count(*) FROM noted) AS "noted!" FROM spent"#,
            token.user_id.as_uuid(),
            token.token_id,
            token.at,
            token.request.id,
            token.request.payload_macs.first().as_bytes(),
            token.at.timestamp_micros(),
            AuditEventType::EmailUndo.name(),
            token.origin.service.as_deref(),
            token.origin.network_mac.as_ref().map(StoredMac::as_bytes),
            undo.hash.expose(),
            undo.reset.id,
            undo.reset.hash.as_bytes(),
            interval(undo.reset.lifetime),
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?
        .ok_or(UseError::Outdated)?;
        tx.commit().await?;
        Ok(Undone {
            used: Used {
                at_micros: token.at.timestamp_micros(),
                ended_sessions: i32::try_from(row.ended.len()).unwrap_or(i32::MAX),
                password_version: None,
                reset_expires_at_micros: row.reset_micros,
            },
            ended: row.ended,
        })
    }
}
