//! What people share: making a share, once.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    domain::encrypted::{
        envelope::{ASSOCIATED_DATA_VERSION, ENVELOPE_VERSION, Encrypted},
        passcode::PasscodeHash,
    },
    store::{
        person_status::{Unknown, explained},
        request::{RequestKey, breaks, id_taken, retry_once},
    },
};

/// What people share.
#[derive(Clone, Debug)]
pub struct Shares {
    pub(super) database: Arc<Database>,
}

/// A share that is to be made.
pub struct NewShare {
    /// Its id.
    pub id: Uuid,
    /// What is shared.
    pub content: Encrypted,
    /// The keyed hash of its token.
    pub token_hash: [u8; 32],
    /// The hash of its passcode, if it has one.
    pub passcode_hash: Option<PasscodeHash>,
    /// When its time is over: within 90 days.
    pub expires_at: DateTime<Utc>,
    /// How often it may be opened: 1 to 1,000.
    pub max_access_count: i32,
    /// When it is made, by the service's clock. If that is ahead of the database's, it is made at the database's time.
    pub created_at: DateTime<Utc>,
}

/// The times of a share that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareTimes {
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its time is over.
    pub expires_at: DateTime<Utc>,
}

/// Why a share was not made.
#[derive(Debug, Error)]
pub enum CreateShareError {
    /// The person is not known here.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// Its time was over before it was made.
    #[error("the share's time is over already")]
    Expired,
    /// Its key is a device's.
    #[error("the share's key is a device's")]
    KeyOfADevice,
    /// The person has a share with this id, made by another request.
    #[error("there is a share with this id")]
    ShareExists,
    /// The nonce was used under this key before.
    #[error("the nonce was used before")]
    NonceReused,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

// === impl Shares ===

impl Shares {
    /// Those in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Makes a share of `caller`; or, when `request` did so before, changes nothing. Answers its times. The rest of the
    /// answer is in the request.
    ///
    /// # Errors
    ///
    /// See [`CreateShareError`]. Nothing was made then, unless it was the database that failed: a retry finds out.
    pub async fn create(
        &self,
        caller: UserId,
        deadline: Deadline,
        share: &NewShare,
        request: RequestKey,
    ) -> Result<ShareTimes, CreateShareError> {
        // By another request, or by this one while its statement waited: one that begins now sees which.
        let again = |error: &CreateShareError| match error {
            CreateShareError::Database(error) => {
                id_taken(error) || breaks(error, &["healthcare_share_pkey", "envelope_nonces_pkey"])
            }
            _ => false,
        };
        let attempt = || self.try_create(caller, deadline, share, request);
        match retry_once(again, attempt).await {
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
        deadline: Deadline,
        share: &NewShare,
        request: RequestKey,
    ) -> Result<ShareTimes, CreateShareError> {
        let envelope = &share.content.envelope;
        let mut tx = self
            .database
            .begin("CreateShare", Context::User(caller), deadline)
            .await?;
        // The nonces of a device's key are forgotten with its rotations, and a share outlives some. A retry gets the first
        // answer, whatever was registered since.
        let of_a_device = sqlx::query_scalar!(
            r#"/* CreateShare, key */
            SELECT EXISTS (SELECT FROM data.device_key WHERE user_id = $1 AND id = $2)
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
        // The counter is there for whoever revokes the share: to lock, before the person.
        let row = sqlx::query!(
            r#"/* CreateShare */
            WITH prior AS (
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
                WHERE NOT EXISTS (SELECT FROM prior) AND $17::timestamptz > $20::timestamptz
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
                SELECT $1, $2, 'CreateShare', $3,
                    jsonb_build_object('share_id', id, 'created_at', created_at, 'expires_at', expires_at), created_at
                FROM share
                RETURNING answer
            ), outcome AS (
                SELECT true AS same, answer FROM request
                UNION ALL
                SELECT payload_mac = $3 AND method = 'CreateShare', answer FROM prior
            )
            SELECT same AS "same!", (answer ->> 'created_at')::timestamptz AS created_at,
                (answer ->> 'expires_at')::timestamptz AS expires_at
            FROM outcome"#,
            caller.as_uuid(),
            request.id,
            &request.payload_mac,
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
            &share.token_hash,
            share.created_at,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        match row {
            None => Err(CreateShareError::Expired),
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
