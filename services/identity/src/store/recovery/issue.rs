//! The storing of a token about the account's own address.

use haven_platform::{
    database::{DbError, TenantTx},
    mac::StoredMac,
};
use sqlx::types::Json;

use super::{Created, interval};
use crate::domain::{
    audit::AuditEventType,
    recovery::{NewRecoveryToken, RecoveryKind, TokenRequest},
};

/// Stores a token of the transaction's person, the request, and the audit event: all of it or nothing. The token ends the
/// one before of its kind. `None`: the account is gone, or has another address, and nothing was stored.
pub(super) async fn issue(
    tx: &mut TenantTx,
    (method, kind, event): (&'static str, RecoveryKind, AuditEventType),
    new: &TokenRequest<'_>,
    token: NewRecoveryToken,
    email_canonical: &str,
    address: Option<[u8; 32]>,
) -> Result<Option<Created>, DbError> {
    let issued = sqlx::query!(
        r#"
        WITH /* Recovery.issue */ issued AS MATERIALIZED (
            SELECT (extract(epoch FROM expires_at) * 1000000)::bigint AS micros
            FROM identity.issue_recovery_token($2, $3, $4, $5, $6) AS expires_at WHERE expires_at IS NOT NULL
        ), request AS (
            INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
            SELECT $1, $7, $8, $9, jsonb_build_object('expires_at_micros', micros, 'address', $10::jsonb), $11 FROM issued
        ), noted AS MATERIALIZED (
            SELECT identity.append_audit_event($12, false, $13, NULL, $14, $11) FROM issued
        )
        SELECT micros AS "micros!", (SELECT count(*) FROM noted) AS "noted!" FROM issued"#,
        new.user_id.as_uuid(),
        kind.name(),
        token.id,
        token.hash.as_bytes(),
        email_canonical,
        interval(token.lifetime),
        new.request.id,
        method,
        new.request.payload_macs.first().as_bytes(),
        Json(address) as _,
        new.at,
        event.name(),
        new.origin.service.as_deref(),
        new.origin.network_mac.as_ref().map(StoredMac::as_bytes),
    )
    .fetch_optional(tx)
    .await?;
    Ok(issued.map(|issued| Created {
        expires_at_micros: issued.micros,
        undo_expires_at_micros: None,
        address,
    }))
}
