//! Changing one record over the version that was seen: its first content, another one, or that it is deleted.
//!
//! It is what `data.update_cycle_data_optimistic` does, for whoever has psql: a push of one change, of which nothing is
//! kept if it loses. That function knows no deletion, so the one statement here, which serves all three, pushes without
//! it.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use super::{
    super::{calling_device::may_call, error::Refusal},
    get_record::Records,
};
use crate::{
    domain::encrypted::{
        envelope::{ASSOCIATED_DATA_VERSION, ENVELOPE_VERSION, Encrypted},
        record::RecordVersion,
    },
    store::request::{RequestKey, retry_once},
};

/// A change of a record.
pub struct RecordChange {
    /// The device that makes it.
    pub device: Uuid,
    /// The record's id.
    pub record: Uuid,
    /// The version that it is based on. 0: the record is new.
    pub expected_version: i64,
    /// What the record becomes. None: it is deleted.
    pub content: Option<RecordContent>,
    /// When it is made.
    pub at: DateTime<Utc>,
}

/// What a record says.
pub struct RecordContent {
    /// The content, under the device's key.
    pub encrypted: Encrypted,
    /// When what it records happened, by the person's own clock.
    pub local_time: DateTime<Utc>,
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedRecord {
    /// The version that it made of the record.
    pub version: RecordVersion,
    /// When the next rotation of the device's key is due. None: the device is gone since the request was answered.
    pub next_rotation_at: Option<DateTime<Utc>>,
    /// Whether it is just now, and the person's other devices have something new to look at.
    pub now: bool,
}

// === impl Records ===

impl Records {
    /// Stores a new record of the caller; or, when `request` did so before, or another one with the same content,
    /// changes nothing and answers as it was answered then.
    ///
    /// # Errors
    ///
    /// Caller, RecordExists, NonceReused, KeyVersionStale, KeyVersionUnknown, CursorExpired and RequestIdReused of
    /// [`Refusal`]. Nothing was changed then, unless it was the database that failed: a retry finds out.
    pub async fn create(
        &self,
        caller: UserId,
        deadline: Deadline,
        change: &RecordChange,
        request: RequestKey,
    ) -> Result<ChangedRecord, Refusal> {
        match self
            .change("CreateRecord", caller, deadline, change, request)
            .await
        {
            // Whatever version there is, or was until it was deleted: it is none of this content.
            Err(Refusal::VersionConflict { .. } | Refusal::NotFound) => Err(Refusal::RecordExists),
            outcome => outcome,
        }
    }

    /// Replaces the content of a record of the caller; or, when `request` did so before, or another one with the same
    /// content, changes nothing and answers as it was answered then.
    ///
    /// # Errors
    ///
    /// Every one of [`Refusal`] but RecordExists. Nothing was changed then, unless it was the database that failed: a
    /// retry finds out.
    pub async fn update(
        &self,
        caller: UserId,
        deadline: Deadline,
        change: &RecordChange,
        request: RequestKey,
    ) -> Result<ChangedRecord, Refusal> {
        self.change("UpdateRecord", caller, deadline, change, request)
            .await
    }

    /// Deletes a record of the caller; or, when `request` did so before, or another one of the same device over the
    /// same version, changes nothing and answers as it was answered then.
    ///
    /// # Errors
    ///
    /// Caller, NotFound, VersionConflict, CursorExpired and RequestIdReused of [`Refusal`]. Nothing was changed then,
    /// unless it was the database that failed: a retry finds out.
    pub async fn delete(
        &self,
        caller: UserId,
        deadline: Deadline,
        change: &RecordChange,
        request: RequestKey,
    ) -> Result<ChangedRecord, Refusal> {
        self.change("DeleteRecord", caller, deadline, change, request)
            .await
    }

    async fn change(
        &self,
        method: &'static str,
        caller: UserId,
        deadline: Deadline,
        change: &RecordChange,
        request: RequestKey,
    ) -> Result<ChangedRecord, Refusal> {
        retry_once(Refusal::id_taken, || {
            self.try_change(method, caller, deadline, change, request)
        })
        .await
    }

    async fn try_change(
        &self,
        method: &'static str,
        caller: UserId,
        deadline: Deadline,
        change: &RecordChange,
        request: RequestKey,
    ) -> Result<ChangedRecord, Refusal> {
        let content = change.content.as_ref();
        let payload = content.map(|content| content.encrypted.payload.as_slice());
        let envelope = content.map(|content| &content.encrypted.envelope);
        let derivation = envelope.map(|envelope| envelope.key_derivation);
        let mut tx = self
            .database
            .begin(method, Context::User(caller), deadline)
            .await?;
        let row = sqlx::query_as!(
            ChangeRow,
            r#"/* UpdateRecord, and CreateRecord and DeleteRecord */
            WITH prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), done AS MATERIALIZED (
                SELECT (pushed.result).outcome, (pushed.result).version, (pushed.result).change_number,
                    (pushed.result).changed_at, (pushed.result).key_version, pushed.next_rotation_at
                FROM data.push_cycle_changes(
                    $5, ARRAY[ROW($6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, NULL)::data.cycle_change],
                    false, $20) AS pushed
                WHERE NOT EXISTS (SELECT FROM prior)
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, $3, $4,
                    jsonb_build_object('record_id', $6::uuid, 'version', version, 'change_number', change_number,
                        'changed_at', changed_at),
                    $20
                FROM done
                WHERE outcome IN ('applied', 'already_applied')
            )
            SELECT outcome, version, change_number, changed_at, key_version, next_rotation_at FROM done
            UNION ALL
            SELECT CASE WHEN payload_mac = $4 AND method = $3 THEN 'answered' ELSE 'request_id_reused' END,
                (answer ->> 'version')::bigint, (answer ->> 'change_number')::bigint,
                (answer ->> 'changed_at')::timestamptz, NULL,
                (SELECT d.next_rotation_at FROM data.device_key AS d WHERE d.user_id = $1 AND d.id = $5)
            FROM prior"#,
            caller.as_uuid(),
            request.id,
            method,
            &request.payload_mac,
            change.device,
            change.record,
            change.expected_version,
            content.is_none(),
            payload,
            content.map(|_| ENVELOPE_VERSION),
            envelope.map(|envelope| envelope.algorithm.name()),
            envelope.map(|envelope| envelope.key_version),
            envelope.map(|envelope| envelope.nonce.as_slice()),
            envelope.map(|envelope| envelope.salt.as_slice()),
            derivation.map(|derivation| derivation.memory_kib),
            derivation.map(|derivation| derivation.iterations),
            derivation.map(|derivation| derivation.parallelism),
            content.map(|_| ASSOCIATED_DATA_VERSION),
            content.map(|content| content.local_time),
            change.at,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        may_call(&mut tx, caller, row.outcome.as_deref().unwrap_or_default()).await?;
        let changed = row.changed(change)?;
        tx.commit().await?;
        Ok(changed)
    }
}

/// What the functions in SQL, or the request's first time, say.
struct ChangeRow {
    outcome: Option<String>,
    version: Option<i64>,
    change_number: Option<i64>,
    changed_at: Option<DateTime<Utc>>,
    key_version: Option<i32>,
    next_rotation_at: Option<DateTime<Utc>>,
}

impl ChangeRow {
    fn changed(self, change: &RecordChange) -> Result<ChangedRecord, Refusal> {
        let outcome = self.outcome.as_deref().unwrap_or_default();
        match outcome {
            "applied" | "already_applied" | "answered" => {}
            // The version is as expected: it is what lost before, and was not applied, and has to be encrypted anew.
            "conflict" if self.version == Some(change.expected_version) => return Err(Refusal::NonceReused),
            _ => return Err(Refusal::of(outcome, self.version, self.key_version)),
        }
        match (self.version, self.change_number, self.changed_at) {
            (Some(version), Some(change_number), Some(changed_at)) => Ok(ChangedRecord {
                version: RecordVersion {
                    record_id: change.record,
                    version,
                    change_number,
                    changed_at,
                },
                next_rotation_at: self.next_rotation_at,
                now: outcome == "applied",
            }),
            _ => Err(DbError::unexpected("the answer of a request").into()),
        }
    }
}
