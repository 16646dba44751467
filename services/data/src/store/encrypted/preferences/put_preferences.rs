//! People's preferences: one document a person, stored over the version that was seen.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use crate::store::encrypted::{
    calling_device::{may_call, next_rotation},
    cycle::row::EncryptedColumns,
    error::{ReadError, Refusal},
};
use crate::{
    domain::encrypted::{
        envelope::{ASSOCIATED_DATA_VERSION, ENVELOPE_VERSION, Encrypted},
        preferences::Preferences as Document,
    },
    store::request::{RequestKey, retry_once},
};

/// People's preferences.
#[derive(Clone, Debug)]
pub struct Preferences {
    database: Arc<Database>,
}

/// Preferences that were read.
pub struct FoundPreferences {
    /// The preferences.
    pub preferences: Document,
    /// When the next rotation of the calling device's key is due. None: the call names no device.
    pub next_rotation_at: Option<DateTime<Utc>>,
}

/// Preferences that are to be stored.
pub struct NewPreferences {
    /// The device that does so.
    pub device: Uuid,
    /// The version that they are based on. 0: there are none yet.
    pub expected_version: i64,
    /// The content, under the device's key.
    pub content: Encrypted,
    /// When they are stored.
    pub at: DateTime<Utc>,
}

/// What is decided when preferences are stored, and what a retry is told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPreferences {
    /// The version that they have by it.
    pub version: i64,
    /// When they were stored.
    pub updated_at: DateTime<Utc>,
    /// When the next rotation of the device's key is due. None: the device is gone since the request was answered.
    pub next_rotation_at: Option<DateTime<Utc>>,
}

// === impl Preferences ===

impl Preferences {
    /// Those in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// The caller's preferences, for `device`, if the call names one.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub async fn get(
        &self,
        caller: UserId,
        deadline: Deadline,
        device: Option<Uuid>,
    ) -> Result<FoundPreferences, ReadError> {
        let mut tx = self
            .database
            .begin("GetPreferences", Context::User(caller), deadline)
            .await?;
        let next_rotation_at = next_rotation(&mut tx, caller, device).await?;
        let row = sqlx::query_as!(
            PreferencesRow,
            r#"/* GetPreferences */
            SELECT p.encrypted_payload, p.algorithm, p.key_id, p.key_version, p.nonce, p.salt, p.kdf_memory_kib,
                p.kdf_iterations, p.kdf_parallelism, p.version, p.device_id, p.created_at, p.updated_at,
                d.status = 'revoked' OR p.key_version < d.key_version AS "reencryption_due!"
            FROM data.encrypted_user_prefs AS p
            JOIN data.device_key AS d ON d.user_id = p.user_id AND d.id = p.device_id
            WHERE p.user_id = $1"#,
            caller.as_uuid(),
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        Ok(FoundPreferences {
            preferences: row.ok_or(ReadError::NotFound)?.try_into()?,
            next_rotation_at,
        })
    }

    /// Stores the caller's preferences; or, when `request` did so before, or another one with the same content, changes
    /// nothing and answers as it was answered then.
    ///
    /// # Errors
    ///
    /// Caller, VersionConflict, NonceReused, KeyVersionStale, KeyVersionUnknown, CursorExpired and RequestIdReused of
    /// [`Refusal`]. Nothing was changed then, unless it was the database that failed: a retry finds out.
    pub async fn put(
        &self,
        caller: UserId,
        deadline: Deadline,
        new: &NewPreferences,
        request: RequestKey,
    ) -> Result<StoredPreferences, Refusal> {
        retry_once(Refusal::id_taken, || self.try_put(caller, deadline, new, request)).await
    }

    async fn try_put(
        &self,
        caller: UserId,
        deadline: Deadline,
        new: &NewPreferences,
        request: RequestKey,
    ) -> Result<StoredPreferences, Refusal> {
        let envelope = &new.content.envelope;
        let mut tx = self
            .database
            .begin("PutPreferences", Context::User(caller), deadline)
            .await?;
        let row = sqlx::query_as!(
            StoredRow,
            r#"/* PutPreferences */
            WITH prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), put AS MATERIALIZED (
                SELECT made.outcome, made.version, made.changed_at, made.device_key_version, made.next_rotation_at
                FROM (SELECT WHERE NOT EXISTS (SELECT FROM prior)) AS first_time
                    CROSS JOIN LATERAL data.put_preferences(
                        $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) AS made
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'PutPreferences', $3,
                    jsonb_build_object('version', version, 'changed_at', changed_at), $16
                FROM put WHERE outcome IN ('applied', 'already_applied')
            )
            SELECT outcome, version, changed_at, device_key_version, next_rotation_at FROM put
            UNION ALL
            SELECT
                CASE WHEN payload_mac = $3 AND method = 'PutPreferences' THEN 'already_applied' ELSE 'request_id_reused' END,
                (answer ->> 'version')::bigint,
                (answer ->> 'changed_at')::timestamptz,
                NULL,
                (SELECT d.next_rotation_at FROM data.device_key AS d WHERE d.user_id = $1 AND d.id = $4)
            FROM prior"#,
            caller.as_uuid(),
            request.id,
            &request.payload_mac,
            new.device,
            new.expected_version,
            new.content.payload,
            ENVELOPE_VERSION,
            envelope.algorithm.name(),
            envelope.key_version,
            envelope.nonce,
            envelope.salt,
            envelope.key_derivation.memory_kib,
            envelope.key_derivation.iterations,
            envelope.key_derivation.parallelism,
            ASSOCIATED_DATA_VERSION,
            new.at,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        may_call(&mut tx, caller, row.outcome.as_deref().unwrap_or_default()).await?;
        tx.commit().await?;
        row.try_into()
    }
}

/// The row of somebody's preferences.
pub(in crate::store) struct PreferencesRow {
    pub(in crate::store) encrypted_payload: Option<Vec<u8>>,
    pub(in crate::store) algorithm: Option<String>,
    pub(in crate::store) key_id: Option<Uuid>,
    pub(in crate::store) key_version: Option<i32>,
    pub(in crate::store) nonce: Option<Vec<u8>>,
    pub(in crate::store) salt: Option<Vec<u8>>,
    pub(in crate::store) kdf_memory_kib: Option<i32>,
    pub(in crate::store) kdf_iterations: Option<i32>,
    pub(in crate::store) kdf_parallelism: Option<i32>,
    pub(in crate::store) version: i64,
    pub(in crate::store) device_id: Uuid,
    pub(in crate::store) created_at: DateTime<Utc>,
    pub(in crate::store) updated_at: DateTime<Utc>,
    pub(in crate::store) reencryption_due: bool,
}

impl TryFrom<PreferencesRow> for Document {
    type Error = DbError;

    fn try_from(row: PreferencesRow) -> Result<Self, DbError> {
        let content = EncryptedColumns {
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
        let content = content.content()?;
        Ok(Self {
            content: content.ok_or_else(|| DbError::unexpected("preferences"))?,
            version: row.version,
            device_id: row.device_id,
            created_at: row.created_at,
            updated_at: row.updated_at,
            reencryption_due: row.reencryption_due,
        })
    }
}

/// What the function in SQL, or the request's first time, says.
struct StoredRow {
    outcome: Option<String>,
    version: Option<i64>,
    changed_at: Option<DateTime<Utc>>,
    device_key_version: Option<i32>,
    next_rotation_at: Option<DateTime<Utc>>,
}

impl TryFrom<StoredRow> for StoredPreferences {
    type Error = Refusal;

    fn try_from(row: StoredRow) -> Result<Self, Refusal> {
        let outcome = row.outcome.as_deref().unwrap_or_default();
        match (outcome, row.version, row.changed_at) {
            ("applied" | "already_applied", Some(version), Some(updated_at)) => Ok(Self {
                version,
                updated_at,
                next_rotation_at: row.next_rotation_at,
            }),
            _ => Err(Refusal::of(outcome, row.version, row.device_key_version)),
        }
    }
}
