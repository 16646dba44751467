//! The storing of a token about the account's own address.

use haven_platform::{
    database::{DbError, TenantTx},
    mac::StoredMac,
};
use sqlx::types::Json;

use super::Created;
use crate::domain::{
    audit::AuditEventType,
    recovery::{NewRecoveryToken, RecoveryKind, TokenRequest},
};

/// Stores a token of the transaction's person, the request, and the audit event: all of it or nothing. The token ends the
/// one before of its kind. `false`: the account is gone, or has another address, and nothing was stored.
pub(super) async fn issue(
    tx: &mut TenantTx,
    (method, kind, event): (&'static str, RecoveryKind, AuditEventType),
    new: &TokenRequest<'_>,
    token: NewRecoveryToken,
    email_canonical: &str,
    answer: Created,
) -> Result<bool, DbError> {
    let issued = sqlx::query_scalar!(
        r#"
        WITH /* Recovery.issue */ issued AS MATERIALIZED (
            SELECT issued FROM identity.issue_recovery_token($2, $3, $4, $5, $6, $7) AS issued WHERE issued
        ), request AS (
            INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
            SELECT $1, $8, $9, $10, $11, $6 FROM issued
        ), noted AS MATERIALIZED (
            SELECT identity.append_audit_event($12, false, $13, NULL, $14, $6) FROM issued
        )
        SELECT count(*) AS "issued!" FROM noted"#,
        new.user_id.as_uuid(),
        kind.name(),
        token.id,
        token.hash.as_bytes(),
        email_canonical,
        new.at,
        token.expires_at,
        new.request.id,
        method,
        new.request.payload_macs.first().as_bytes(),
        Json(answer) as _,
        event.name(),
        new.origin.service.as_deref(),
        new.origin.network_mac.as_ref().map(StoredMac::as_bytes),
    )
    .fetch_one(tx)
    .await?;
    Ok(issued > 0)
}
