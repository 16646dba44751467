//! ExportData: reads a person's shares, the attempts to open them, and the audit events.

use haven_platform::{call::UserId, cursor::Cursor, database::DbError, deadline::Deadline};
use uuid::Uuid;

use super::{Exports, MAX_BYTES, MAX_ROWS};
use crate::{
    domain::{
        audit::AuditEvent,
        encrypted::{
            envelope::Encrypted,
            share::{Share, ShareAccess},
        },
    },
    store::{
        encrypted::{EnvelopeColumns, share::AccessRow},
        person::list_audit_events::AuditRow,
    },
};

/// A share with its content.
pub struct WholeShare {
    /// The share without its content.
    pub share: Share,
    /// The encrypted content. `None` when the row has none.
    pub content: Option<Encrypted>,
}

impl Exports {
    /// Returns a page of the caller's shares after `after`, the oldest first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn shares(
        &self,
        caller: UserId,
        after: Cursor,
        deadline: Deadline,
    ) -> Result<Vec<WholeShare>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query!(
            r#"
            SELECT /* ExportData, shares */
                   id AS "id!", expires_at AS "expires_at!", max_access_count AS "max_access_count!",
                access_count AS "access_count!", refusal_count AS "refusal_count!",
                wrong_passcodes AS "wrong_passcodes!", last_accessed_at, created_at AS "created_at!", revoked_at,
                encrypted_payload, algorithm, key_id, key_version, nonce, salt, kdf_memory_kib, kdf_iterations,
                kdf_parallelism
            FROM (
                SELECT id, expires_at, max_access_count, access_count, refusal_count, wrong_passcodes, last_accessed_at,
                    created_at, revoked_at, encrypted_payload, algorithm, key_id, key_version, nonce, salt,
                    kdf_memory_kib, kdf_iterations, kdf_parallelism,
                    sum(octet_length(encrypted_payload)) OVER (ORDER BY created_at, id) AS bytes
                FROM data.healthcare_share
                WHERE user_id = $1 AND (created_at, id) > ($2, $3)
                ORDER BY created_at, id
                LIMIT $4
            ) AS page
            WHERE coalesce(bytes - octet_length(encrypted_payload), bytes, 0) < $5
            ORDER BY created_at, id"#,
            caller.as_uuid(),
            after.at,
            after.id,
            MAX_ROWS,
            MAX_BYTES,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let shares = rows.into_iter().map(|row| {
            let content = EnvelopeColumns {
                encrypted_payload: row.encrypted_payload,
                algorithm: row.algorithm,
                key_id: row.key_id,
                key_version: row.key_version,
                nonce: row.nonce,
                salt: row.salt,
                kdf_memory_kib: row.kdf_memory_kib,
                kdf_iterations: row.kdf_iterations,
                kdf_parallelism: row.kdf_parallelism,
            };
            Ok(WholeShare {
                share: Share {
                    id: row.id,
                    expires_at: row.expires_at,
                    max_access_count: row.max_access_count,
                    access_count: row.access_count,
                    refusal_count: row.refusal_count,
                    wrong_passcodes: row.wrong_passcodes,
                    last_accessed_at: row.last_accessed_at,
                    created_at: row.created_at,
                    revoked_at: row.revoked_at,
                },
                content: content.content()?,
            })
        });
        shares.collect()
    }

    /// Returns a page of the attempts to open the caller's shares, by share and then by time, after the attempt of
    /// `after` at the share `share`.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn share_accesses(
        &self,
        caller: UserId,
        share: Uuid,
        after: Cursor,
        deadline: Deadline,
    ) -> Result<Vec<ShareAccess>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            AccessRow,
            "
            SELECT /* ExportData, attempts to open shares */ id, share_id, accessed_at, device_type, outcome
            FROM data.healthcare_share_audit
            WHERE user_id = $1 AND (share_id, accessed_at, id) > ($2, $3, $4)
            ORDER BY share_id, accessed_at, id
            LIMIT $5",
            caller.as_uuid(),
            share,
            after.at,
            after.id,
            MAX_ROWS,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        rows.into_iter().map(ShareAccess::try_from).collect()
    }

    /// Returns a page of the caller's audit events after `after`, the oldest first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn audit_events(
        &self,
        caller: UserId,
        after: Cursor,
        deadline: Deadline,
    ) -> Result<Vec<AuditEvent>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            AuditRow,
            "
            SELECT /* ExportData, audit events */ id, event, subject_id, occurred_at
            FROM data.security_audit_log
            WHERE user_id = $1 AND (occurred_at, id) > ($2, $3)
            ORDER BY occurred_at, id
            LIMIT $4",
            caller.as_uuid(),
            after.at,
            after.id,
            MAX_ROWS,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        rows.into_iter().map(AuditEvent::try_from).collect()
    }
}
