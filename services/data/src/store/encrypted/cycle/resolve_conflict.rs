//! Settling the conflicts of a record: once, and over the version that was seen.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use super::{
    super::{calling_device::may_call, error::Refusal},
    Changes,
};
use crate::{
    domain::encrypted::{
        change::Resolution,
        envelope::{ASSOCIATED_DATA_VERSION, ENVELOPE_VERSION},
        record::RecordVersion,
    },
    store::request::{RequestKey, retry_once},
};

/// What settles conflicts.
pub struct Settlement {
    /// The device that settles them.
    pub device: Uuid,
    /// The record.
    pub record_id: Uuid,
    /// The record's version that was seen.
    pub expected_version: i64,
    /// The conflicts that were seen, each once.
    pub conflicts: Vec<Uuid>,
    /// What becomes of the record.
    pub resolution: Resolution,
    /// When it comes.
    pub at: DateTime<Utc>,
}

/// What is settled.
#[derive(Debug)]
pub struct Settled {
    /// The record's version.
    pub record: RecordVersion,
    /// How many of the record's conflicts are still open.
    pub open_conflicts: i32,
    /// When the next rotation of the device's key is due.
    pub next_rotation_at: Option<DateTime<Utc>>,
    /// Whether it is just now, and the person's other devices have something new to look at.
    pub now: bool,
}

impl Changes {
    /// Settles conflicts of the caller's record; or, when `request` did so before, changes nothing and answers as it
    /// was answered then.
    ///
    /// # Errors
    ///
    /// Every one of [`Refusal`] but RecordExists. Nothing was settled then, unless it was the database that failed: a
    /// retry finds out.
    pub async fn settle(
        &self,
        caller: UserId,
        deadline: Deadline,
        settlement: &Settlement,
        request: RequestKey,
    ) -> Result<Settled, Refusal> {
        // Of another version than expected, or of what is settled, it may be the same request that made it so.
        let again = |refusal: &Refusal| {
            matches!(refusal, Refusal::VersionConflict { .. } | Refusal::NotFound) || refusal.id_taken()
        };
        retry_once(again, || self.try_settle(caller, deadline, settlement, request)).await
    }

    async fn try_settle(
        &self,
        caller: UserId,
        deadline: Deadline,
        settlement: &Settlement,
        request: RequestKey,
    ) -> Result<Settled, Refusal> {
        let (content, local_time) = match &settlement.resolution {
            Resolution::Replace { content, local_time } => (Some(content), Some(*local_time)),
            Resolution::Keep | Resolution::Delete => (None, None),
        };
        let envelope = content.map(|content| &content.envelope);
        let mut tx = self
            .database
            .begin("ResolveConflict", Context::User(caller), deadline)
            .await?;
        let row = sqlx::query_as!(
            SettledRow,
            r#"/* ResolveConflict */
            WITH prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), done AS MATERIALIZED (
                SELECT (r.result).outcome, (r.result).version, (r.result).change_number, (r.result).changed_at,
                    (r.result).key_version, r.open_conflicts, r.next_rotation_at
                FROM (SELECT WHERE NOT EXISTS (SELECT FROM prior)) AS go
                CROSS JOIN LATERAL data.resolve_cycle_conflict($4, $5, $6, $7,
                    CASE WHEN NOT $8 THEN ROW($5, $6, $9::bytea IS NULL, $9, CASE WHEN $9 IS NOT NULL THEN $19::smallint END,
                        $10::text, $11::integer, $12::bytea, $13::bytea, $14::integer, $15::integer, $16::integer,
                        CASE WHEN $9 IS NOT NULL THEN $20::smallint END, $17::timestamptz, NULL)::data.cycle_change END,
                    $18) AS r
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'ResolveConflict', $3, jsonb_build_object('version', version, 'change_number', change_number,
                    'changed_at', changed_at, 'open_conflicts', open_conflicts), $18
                FROM done WHERE outcome IN ('applied', 'kept')
            )
            SELECT true AS "same!", true AS "now!", outcome, version, change_number, changed_at, key_version,
                open_conflicts, next_rotation_at
            FROM done
            UNION ALL
            SELECT payload_mac = $3 AND method = 'ResolveConflict', false, 'applied',
                (answer ->> 'version')::bigint, (answer ->> 'change_number')::bigint,
                (answer ->> 'changed_at')::timestamptz, NULL, (answer ->> 'open_conflicts')::integer,
                (SELECT next_rotation_at FROM data.device_key WHERE user_id = $1 AND id = $4)
            FROM prior"#,
            caller.as_uuid(),
            request.id,
            &request.payload_mac,
            settlement.device,
            settlement.record_id,
            settlement.expected_version,
            &settlement.conflicts,
            matches!(settlement.resolution, Resolution::Keep),
            content.map(|content| content.payload.as_slice()),
            envelope.map(|envelope| envelope.algorithm.name()),
            envelope.map(|envelope| envelope.key_version),
            envelope.map(|envelope| envelope.nonce.as_slice()),
            envelope.map(|envelope| envelope.salt.as_slice()),
            envelope.map(|envelope| envelope.key_derivation.memory_kib),
            envelope.map(|envelope| envelope.key_derivation.iterations),
            envelope.map(|envelope| envelope.key_derivation.parallelism),
            local_time,
            settlement.at,
            ENVELOPE_VERSION,
            ASSOCIATED_DATA_VERSION,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        may_call(&mut tx, caller, row.outcome.as_deref().unwrap_or_default()).await?;
        tx.commit().await?;
        row.settled(settlement)
    }
}

/// What became of it, now or before, or why nothing did.
struct SettledRow {
    same: bool,
    now: bool,
    outcome: Option<String>,
    version: Option<i64>,
    change_number: Option<i64>,
    changed_at: Option<DateTime<Utc>>,
    key_version: Option<i32>,
    open_conflicts: Option<i32>,
    next_rotation_at: Option<DateTime<Utc>>,
}

impl SettledRow {
    fn settled(self, settlement: &Settlement) -> Result<Settled, Refusal> {
        if !self.same {
            return Err(Refusal::RequestIdReused);
        }
        match self.outcome.as_deref() {
            Some("applied" | "kept") => {}
            Some("no_conflict") => return Err(Refusal::NotFound),
            // The version is as expected, and what becomes of the change is known by its nonce: it is that of a
            // conflict, and has to be encrypted anew.
            Some("deleted" | "already_applied") => return Err(Refusal::NonceReused),
            Some("conflict") if self.version == Some(settlement.expected_version) => {
                return Err(Refusal::NonceReused);
            }
            other => {
                return Err(Refusal::of(
                    other.unwrap_or_default(),
                    self.version,
                    self.key_version,
                ));
            }
        }
        match (
            self.version,
            self.change_number,
            self.changed_at,
            self.open_conflicts,
        ) {
            (Some(version), Some(change_number), Some(changed_at), Some(open_conflicts)) => Ok(Settled {
                record: RecordVersion {
                    record_id: settlement.record_id,
                    version,
                    change_number,
                    changed_at,
                },
                open_conflicts,
                next_rotation_at: self.next_rotation_at,
                now: self.now,
            }),
            _ => Err(DbError::unexpected("the answer of a request").into()),
        }
    }
}
