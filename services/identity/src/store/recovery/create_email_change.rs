//! The SQL of CreateEmailChange.

use haven_platform::{
    database::{Context, DbError},
    deadline::Deadline,
    mac::StoredMac,
};
use sqlx::types::Json;

use super::{
    CreateError, Created, Recovery,
    create_email_verification::{Verification, read_account},
};
use crate::{
    domain::{
        audit::AuditEventType,
        rate_limit::Quota,
        recovery::{MAX_OPEN_UNDOS, NewEmailChange, TokenRequest},
    },
    store::rate_limit,
};

/// The name of the method in `identity.requests`.
const METHOD: &str = "CreateEmailChange";

// === impl Recovery ===

impl Recovery {
    /// Stores the tokens of a change of address: the one that makes it, and the one that takes it back. `address` computes the
    /// keyed hash of the account's address. When the same request did so before, changes nothing and returns the first answer.
    ///
    /// # Errors
    ///
    /// See [`CreateError`]. Nothing was stored, except that after a database error the tokens may have been: a retry returns the
    /// outcome.
    pub async fn create_email_change(
        &self,
        new: &TokenRequest<'_>,
        change: &NewEmailChange<'_>,
        quotas: &[Quota],
        address: impl FnOnce(&str) -> [u8; 32] + Send,
        deadline: Deadline,
    ) -> Result<Verification, CreateError> {
        let mut tx = self
            .database
            .begin(METHOD, Context::ServiceFor(new.user_id), deadline)
            .await?;
        let account = read_account(&mut tx, METHOD, new.user_id, new.request).await?;
        if let Some((created, key)) = account.earlier {
            return Ok(Verification {
                created,
                earlier_key: Some(key),
                email: account.email,
            });
        }
        rate_limit::admit(&mut tx, quotas, None).await?;
        let created = Created {
            expires_at_micros: change.change.expires_at.timestamp_micros(),
            undo_expires_at_micros: Some(change.undo.expires_at.timestamp_micros()),
            address: Some(address(&account.email_canonical)),
        };
        let outcome = sqlx::query_scalar!(
            r#"
            WITH /* CreateEmailChange */ issued AS MATERIALIZED (
                SELECT outcome
                FROM identity.issue_email_change($2, $3, $4, $5, $6, $7, $8, $9, $10, $11) AS outcome
            ), request AS (
                INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $12, 'CreateEmailChange', $13, $14, $11 FROM issued WHERE outcome = 'issued'
            ), noted AS MATERIALIZED (
                SELECT identity.append_audit_event($15, false, $16, NULL, $17, $11) FROM issued
                WHERE outcome = 'issued'
            )
            SELECT outcome AS "outcome!" FROM issued LEFT JOIN noted ON true"#,
            new.user_id.as_uuid(),
            change.change.id,
            change.change.hash.as_bytes(),
            change.email.entered(),
            change.email.canonical(),
            change.change.expires_at,
            change.undo.id,
            change.undo.hash.as_bytes(),
            change.undo.expires_at,
            MAX_OPEN_UNDOS,
            new.at,
            new.request.id,
            new.request.payload_macs.first().as_bytes(),
            Json(created) as _,
            AuditEventType::EmailChangeRequest.name(),
            new.origin.service.as_deref(),
            new.origin.network_mac.as_ref().map(StoredMac::as_bytes),
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        match outcome.as_str() {
            "issued" => tx.commit().await?,
            "same" => return Err(CreateError::SameAddress),
            "taken" => return Err(CreateError::EmailTaken),
            "too_many" => return Err(CreateError::TooManyChanges),
            _ => return Err(CreateError::Outdated),
        }
        Ok(Verification {
            created,
            earlier_key: None,
            email: account.email,
        })
    }
}
