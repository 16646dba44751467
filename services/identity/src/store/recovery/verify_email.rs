//! The SQL of VerifyEmail.

use haven_platform::{
    database::{Context, DbError},
    deadline::Deadline,
    mac::StoredMac,
};

use super::{Recovery, UseError, Used};
use crate::domain::{audit::AuditEventType, recovery::TokenUse};

// === impl Recovery ===

impl Recovery {
    /// Uses a token to verify the account's address, in one statement.
    ///
    /// # Errors
    ///
    /// See [`UseError`]. Nothing was changed, except that after a database error the address may have been verified: a retry
    /// returns the outcome.
    pub async fn verify_email(&self, token: &TokenUse<'_>, deadline: Deadline) -> Result<Used, UseError> {
        let mut tx = self
            .database
            .begin("VerifyEmail", Context::User(token.user_id), deadline)
            .await?;
        let row = sqlx::query!(
            r#"
            WITH /* VerifyEmail */ spent AS MATERIALIZED (
                SELECT (extract(epoch FROM verified_at) * 1000000)::bigint AS at_micros
                FROM identity.verify_email($2, $3) AS verified_at WHERE verified_at IS NOT NULL
            ), request AS (
                INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $4, 'VerifyEmail', $5, jsonb_build_object('at_micros', at_micros), $3 FROM spent
            ), noted AS MATERIALIZED (
                SELECT identity.append_audit_event($6, false, $7, NULL, $8, $3) FROM spent
            )
            SELECT at_micros AS "at_micros!", (SELECT count(*) FROM noted) AS "noted!" FROM spent"#,
            token.user_id.as_uuid(),
            token.token_id,
            token.at,
            token.request.id,
            token.request.payload_macs.first().as_bytes(),
            AuditEventType::EmailVerification.name(),
            token.origin.service.as_deref(),
            token.origin.network_mac.as_ref().map(StoredMac::as_bytes),
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?
        .ok_or(UseError::Outdated)?;
        tx.commit().await?;
        Ok(Used {
            at_micros: row.at_micros,
            ended_sessions: 0,
            password_version: None,
            reset_expires_at_micros: None,
        })
    }
}
