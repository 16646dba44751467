//! The SQL of ConfirmEmailChange.

use haven_platform::{
    database::{Context, DbError},
    deadline::Deadline,
    mac::StoredMac,
};
use sqlx::types::Json;

use super::{Recovery, UseError, Used};
use crate::domain::{audit::AuditEventType, recovery::TokenUse};

// === impl Recovery ===

impl Recovery {
    /// Uses a token to change the account's address, in one statement.
    ///
    /// # Errors
    ///
    /// See [`UseError`]. Nothing was changed, except that after a database error the address may have been: a retry returns the
    /// outcome.
    pub async fn confirm_email_change(
        &self,
        token: &TokenUse<'_>,
        deadline: Deadline,
    ) -> Result<Used, UseError> {
        let used = Used {
            at_micros: token.at.timestamp_micros(),
            ended_sessions: 0,
            password_version: None,
            reset_expires_at_micros: None,
        };
        let mut tx = self
            .database
            .begin("ConfirmEmailChange", Context::User(token.user_id), deadline)
            .await?;
        let changed = sqlx::query_scalar!(
            r#"
            WITH /* ConfirmEmailChange */ spent AS MATERIALIZED (
                SELECT changed FROM identity.confirm_email_change($2, $3) AS changed WHERE changed
            ), request AS (
                INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $4, 'ConfirmEmailChange', $5, $6, $3 FROM spent
            ), noted AS MATERIALIZED (
                SELECT identity.append_audit_event($7, false, $8, NULL, $9, $3) FROM spent
            )
            SELECT count(*) AS "changed!" FROM noted"#,
            token.user_id.as_uuid(),
            token.token_id,
            token.at,
            token.request.id,
            token.request.payload_macs.first().as_bytes(),
            Json(used) as _,
            AuditEventType::EmailChange.name(),
            token.origin.service.as_deref(),
            token.origin.network_mac.as_ref().map(StoredMac::as_bytes),
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        if changed == 0 {
            return Err(UseError::Outdated);
        }
        tx.commit().await?;
        Ok(used)
    }
}
