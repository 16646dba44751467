//! PutPreferences: stores the document over the version that the device last saw.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    request_key::RequestKey,
};

use super::{
    super::{calling_device::check_outcome, error::ChangeError},
    Preferences,
};
use crate::{
    domain::encrypted::{
        envelope::{ASSOCIATED_DATA_VERSION, ENVELOPE_VERSION},
        preferences::NewPreferences,
    },
    store::request::retry_once,
};

/// The result of PutPreferences. A retry gets the first `version` and `updated_at` again, and the current
/// `next_rotation_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPreferences {
    /// The version that the preferences have now.
    pub version: i64,
    /// The time at which the preferences were stored.
    pub updated_at: DateTime<Utc>,
    /// The time at which the next rotation of the device's key is due. `None` for a retry when the device no longer
    /// exists.
    pub next_rotation_at: Option<DateTime<Utc>>,
}

impl Preferences {
    /// Stores the caller's preferences. Changes nothing, and returns the first answer again, when `request` or a
    /// request with the same content did so before.
    ///
    /// # Errors
    ///
    /// Caller, VersionConflict, NonceReused, KeyVersionStale, KeyVersionUnknown, CursorExpired and RequestIdReused of
    /// [`ChangeError`]. Nothing was changed, except possibly when the database failed: a retry finds out.
    pub async fn put(
        &self,
        caller: UserId,
        new: &NewPreferences,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<StoredPreferences, ChangeError> {
        retry_once(ChangeError::is_id_taken, || {
            self.try_put(caller, new, request, deadline)
        })
        .await
    }

    async fn try_put(
        &self,
        caller: UserId,
        new: &NewPreferences,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<StoredPreferences, ChangeError> {
        let envelope = &new.content.envelope;
        let mut tx = self
            .database
            .begin("PutPreferences", Context::User(caller), deadline)
            .await?;
        let row = sqlx::query_as!(
            StoredRow,
            r#"
            WITH /* PutPreferences */ prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), put AS MATERIALIZED (
                SELECT made.outcome, made.version, made.changed_at, made.device_key_version, made.next_rotation_at
                FROM (SELECT WHERE NOT EXISTS (SELECT FROM prior)) AS first_time
                    CROSS JOIN LATERAL data.put_preferences(
                        $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) AS made
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'PutPreferences', ($3::bytea[])[1],
                    jsonb_build_object('version', version, 'changed_at', changed_at), $16
                FROM put WHERE outcome IN ('applied', 'already_applied')
            )
            SELECT outcome, version, changed_at, device_key_version, next_rotation_at FROM put
            UNION ALL
            SELECT
                CASE WHEN payload_mac = ANY ($3) AND method = 'PutPreferences' THEN 'already_applied' ELSE 'request_id_reused' END,
                (answer ->> 'version')::bigint,
                (answer ->> 'changed_at')::timestamptz,
                NULL,
                (SELECT d.next_rotation_at FROM data.device_key AS d WHERE d.user_id = $1 AND d.id = $4)
            FROM prior"#,
            caller.as_uuid(),
            request.id,
            &request.payload_macs.to_vecs() as &[Vec<u8>],
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
        check_outcome(&mut tx, caller, row.outcome.as_deref().unwrap_or_default()).await?;
        tx.commit().await?;
        row.try_into()
    }
}

/// The outcome of the SQL function, or the first answer to the request.
struct StoredRow {
    outcome: Option<String>,
    version: Option<i64>,
    changed_at: Option<DateTime<Utc>>,
    device_key_version: Option<i32>,
    next_rotation_at: Option<DateTime<Utc>>,
}

impl TryFrom<StoredRow> for StoredPreferences {
    type Error = ChangeError;

    fn try_from(row: StoredRow) -> Result<Self, ChangeError> {
        let outcome = row.outcome.as_deref().unwrap_or_default();
        match (outcome, row.version, row.changed_at) {
            ("applied" | "already_applied", Some(version), Some(updated_at)) => Ok(Self {
                version,
                updated_at,
                next_rotation_at: row.next_rotation_at,
            }),
            _ => Err(ChangeError::from_outcome(
                outcome,
                row.version,
                row.device_key_version,
            )),
        }
    }
}
