//! The SQL of ResetPassword.

use haven_platform::{
    database::{Context, DbError},
    deadline::Deadline,
    mac::StoredMac,
};
use uuid::Uuid;

use super::{Recovery, UseError, Used};
use crate::domain::{audit::AuditEventType, recovery::PasswordReset};

/// A password that was reset.
#[derive(Debug)]
pub struct Reset {
    /// The answer.
    pub used: Used,
    /// The ids of the sessions that ended.
    pub ended: Vec<Uuid>,
}

// === impl Recovery ===

impl Recovery {
    /// Uses a token to set a new password, ends all sessions, forgets all devices and stores the caller's new one, in
    /// one statement.
    ///
    /// # Errors
    ///
    /// See [`UseError`]. Nothing was changed, except that after a database error the password may have been: a retry returns
    /// the outcome.
    pub async fn reset_password(
        &self,
        reset: &PasswordReset<'_>,
        deadline: Deadline,
    ) -> Result<Reset, UseError> {
        let token = &reset.token;
        let mut tx = self
            .database
            .begin("ResetPassword", Context::User(token.user_id), deadline)
            .await?;
        let row = sqlx::query!(
            r#"
            WITH /* ResetPassword */ spent AS MATERIALIZED (
                SELECT ended, version FROM identity.reset_password($2, $3, $4)
            ), request AS (
                INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $5, 'ResetPassword', $6,
                    jsonb_build_object('at_micros', $7::bigint, 'ended_sessions', cardinality(ended),
                        'password_version', version),
                    $4
                FROM spent
            ), noted AS MATERIALIZED (
                SELECT identity.append_audit_event($8, false, $9, NULL, $10, $4),
                    (SELECT count(*) FROM unnest($11::bytea[]) AS account (key), identity.forget_failures(account.key)),
                    identity.keep_device_token($12, NULL, $13, $4, $14, $15)
                FROM spent
            )
            SELECT ended AS "ended!: Vec<Uuid>", version AS "version!", (SELECT count(*) FROM noted) AS "noted!"
            FROM spent"#,
            token.user_id.as_uuid(),
            token.token_id,
            reset.hash.expose(),
            token.at,
            token.request.id,
            token.request.payload_macs.first().as_bytes(),
            token.at.timestamp_micros(),
            AuditEventType::PasswordReset.name(),
            token.origin.service.as_deref(),
            token.origin.network_mac.as_ref().map(StoredMac::as_bytes),
            reset.failures.as_slice() as &[Vec<u8>],
            reset.device.id,
            reset.device.hash.as_bytes(),
            reset.device.expires_at,
            reset.device.maximum,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?
        .ok_or(UseError::Outdated)?;
        tx.commit().await?;
        Ok(Reset {
            used: Used {
                at_micros: token.at.timestamp_micros(),
                ended_sessions: i32::try_from(row.ended.len()).unwrap_or(i32::MAX),
                password_version: Some(row.version),
                reset_expires_at_micros: None,
            },
            ended: row.ended,
        })
    }
}
