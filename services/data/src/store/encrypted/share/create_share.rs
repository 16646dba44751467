//! CreateShare.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    request_key::RequestKey,
};
use thiserror::Error;

use super::Shares;
use crate::{
    domain::encrypted::{
        envelope::{ASSOCIATED_DATA_VERSION, ENVELOPE_VERSION},
        passcode::PasscodeHash,
        share::NewShare,
    },
    store::{
        person_status::{Unknown, explained},
        request::{breaks, id_taken, retry_once},
    },
};

/// The part of the answer that is decided when a share is made; a retry of the request gets it again. The rest of the
/// answer is in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareTimes {
    /// The time at which the share was created.
    pub created_at: DateTime<Utc>,
    /// The time from which the share can no longer be opened.
    pub expires_at: DateTime<Utc>,
}

/// The reason why a share was not made.
#[derive(Debug, Error)]
pub enum CreateShareError {
    /// The person is not provisioned, or was erased.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// No new share can have the requested expiry time, and the request was not handled before.
    #[error("no share can have this expiry time")]
    ExpireTime,
    /// The share is encrypted under a device's key.
    #[error("the share's key is a device's")]
    KeyOfADevice,
    /// The person has a share with this id, made by another request.
    #[error("a share with this id exists")]
    ShareExists,
    /// The nonce was used under the same key before.
    #[error("the nonce was used before")]
    NonceReused,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed, or did not answer before the deadline.
    #[error(transparent)]
    Database(#[from] DbError),
}

// === impl Shares ===

impl Shares {
    /// Makes a share of the caller. Changes nothing, and returns the first answer again, when `request` did so before.
    ///
    /// # Errors
    ///
    /// See [`CreateShareError`]. Nothing was stored, except possibly when the database failed: a retry finds out.
    pub async fn create(
        &self,
        caller: UserId,
        share: &NewShare,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<ShareTimes, CreateShareError> {
        // The id or the nonce may be taken by the same request, committed while the statement waited. The second
        // attempt sees whether it is.
        let may_be_retry = |error: &CreateShareError| match error {
            CreateShareError::Database(error) => {
                id_taken(error) || breaks(error, &["healthcare_share_pkey", "envelope_nonces_pkey"])
            }
            _ => false,
        };
        let attempt = || self.try_create(caller, share, request, deadline);
        match retry_once(may_be_retry, attempt).await {
            Err(CreateShareError::Database(error)) => Err(match error.constraint() {
                Some("healthcare_share_pkey") => CreateShareError::ShareExists,
                Some("envelope_nonces_pkey") => CreateShareError::NonceReused,
                _ => explained(error, &self.database, "CreateShare", caller, deadline).await,
            }),
            outcome => outcome,
        }
    }

    async fn try_create(
        &self,
        caller: UserId,
        share: &NewShare,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<ShareTimes, CreateShareError> {
        let envelope = &share.content.envelope;
        let mut tx = self
            .database
            .begin("CreateShare", Context::User(caller), deadline)
            .await?;
        // A device's key would not do: its nonces are forgotten when it is rotated, and a share may live longer. A
        // retry gets the first answer, even when a device with this id was registered since.
        let of_a_device = sqlx::query_scalar!(
            r#"
            SELECT /* CreateShare, key */ EXISTS (SELECT FROM data.device_key WHERE user_id = $1 AND id = $2)
                AND NOT EXISTS (SELECT FROM data.requests WHERE user_id = $1 AND id = $3) AS "of_a_device!""#,
            caller.as_uuid(),
            envelope.key_id,
            request.id,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        if of_a_device {
            return Err(CreateShareError::KeyOfADevice);
        }
        // The statement creates the person's counter, because RevokeShare locks it before the person.
        let row = sqlx::query!(
            r#"
            WITH /* CreateShare */ prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), moment AS (
                SELECT least($20::timestamptz, now()) AS created_at
            ), share AS (
                INSERT INTO data.healthcare_share (user_id, id, encrypted_payload, envelope_version, algorithm, key_id,
                    key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version,
                    passcode_hash, expires_at, max_access_count, created_at)
                SELECT $1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
                    least($17::timestamptz, created_at + interval '90 days'), $18, created_at
                FROM moment
                WHERE NOT EXISTS (SELECT FROM prior) AND $17::timestamptz IS NOT NULL
                RETURNING id, created_at, expires_at
            ), nonce AS (
                INSERT INTO data.envelope_nonces
                    (user_id, key_id, key_version, nonce, content_digest, outcome, version, used_at)
                SELECT $1, $8, $9, $10, sha256($5), 'applied', 1, created_at FROM share
            ), token AS (
                INSERT INTO data.share_token (user_id, share_id, token_hash) SELECT $1, id, $19 FROM share
            ), counter AS (
                INSERT INTO data.change_counters (user_id) SELECT $1 FROM share ON CONFLICT (user_id) DO NOTHING
            ), audit AS (
                INSERT INTO data.security_audit_log (user_id, event, subject_id, occurred_at)
                SELECT $1, 'share_created', id, created_at FROM share
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'CreateShare', ($3::bytea[])[1],
                    jsonb_build_object('share_id', id, 'created_at', created_at, 'expires_at', expires_at), created_at
                FROM share
                RETURNING answer
            ), outcome AS (
                SELECT true AS same, answer FROM request
                UNION ALL
                SELECT payload_mac = ANY ($3) AND method = 'CreateShare', answer FROM prior
            )
            SELECT same AS "same!", (answer ->> 'created_at')::timestamptz AS created_at,
                (answer ->> 'expires_at')::timestamptz AS expires_at
            FROM outcome"#,
            caller.as_uuid(),
            request.id,
            &request.payload_macs.to_vecs() as &[Vec<u8>],
            share.id,
            &share.content.payload,
            ENVELOPE_VERSION,
            envelope.algorithm.name(),
            envelope.key_id,
            envelope.key_version,
            &envelope.nonce,
            &envelope.salt,
            envelope.key_derivation.memory_kib,
            envelope.key_derivation.iterations,
            envelope.key_derivation.parallelism,
            ASSOCIATED_DATA_VERSION,
            share.passcode_hash.as_ref().map(PasscodeHash::expose),
            share.expires_at,
            share.max_access_count,
            share.token_hash.as_bytes(),
            share.created_at,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        match row {
            None => Err(CreateShareError::ExpireTime),
            Some(row) if !row.same => Err(CreateShareError::RequestIdReused),
            Some(row) => {
                let times = row.created_at.zip(row.expires_at);
                let (created_at, expires_at) =
                    times.ok_or_else(|| DbError::unexpected("the answer of a request"))?;
                Ok(ShareTimes {
                    created_at,
                    expires_at,
                })
            }
        }
    }
}
