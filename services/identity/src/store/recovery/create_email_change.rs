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
    interval,
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
        let address = address(&account.email_canonical);
        let issued = sqlx::query!(
            r#"
            WITH /* CreateEmailChange */ issued AS MATERIALIZED (
                SELECT outcome, (extract(epoch FROM expires_at) * 1000000)::bigint AS micros,
                    (extract(epoch FROM undo_expires_at) * 1000000)::bigint AS undo_micros
                FROM identity.issue_email_change($2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            ), request AS (
                INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $12, 'CreateEmailChange', $13,
                    jsonb_build_object('expires_at_micros', micros, 'undo_expires_at_micros', undo_micros,
                        'address', $14::jsonb),
                    $15
                FROM issued WHERE outcome = 'issued'
            ), noted AS MATERIALIZED (
                SELECT identity.append_audit_event($16, false, $17, NULL, $18, $15) FROM issued
                WHERE outcome = 'issued'
            )
            SELECT outcome AS "outcome!", coalesce(micros, 0) AS "micros!", undo_micros
            FROM issued LEFT JOIN noted ON true"#,
            new.user_id.as_uuid(),
            account.email_canonical,
            change.change.id,
            change.change.hash.as_bytes(),
            change.email.entered(),
            change.email.canonical(),
            interval(change.change.lifetime),
            change.undo.id,
            change.undo.hash.as_bytes(),
            interval(change.undo.lifetime),
            MAX_OPEN_UNDOS,
            new.request.id,
            new.request.payload_macs.first().as_bytes(),
            Json(address) as _,
            new.at,
            AuditEventType::EmailChangeRequest.name(),
            new.origin.service.as_deref(),
            new.origin.network_mac.as_ref().map(StoredMac::as_bytes),
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        let refused = match issued.outcome.as_str() {
            "issued" => None,
            "same" => Some(CreateError::SameAddress),
            "taken" => Some(CreateError::EmailTaken),
            "too_many" => Some(CreateError::TooManyChanges),
            // The account was erased, or changed its address, in the meantime: reading again tells which.
            _ => return Err(CreateError::Outdated),
        };
        // A refusal counts for the limits: it tells whether an address has an account.
        tx.commit().await?;
        if let Some(refused) = refused {
            return Err(refused);
        }
        let created = Created {
            expires_at_micros: issued.micros,
            undo_expires_at_micros: issued.undo_micros,
            address: Some(address),
        };
        Ok(Verification {
            created,
            earlier_key: None,
            email: account.email,
        })
    }
}
