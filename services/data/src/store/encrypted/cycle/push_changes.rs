//! Pushing changes: each once, in their order, in one transaction.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use serde::Deserialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    super::{calling_device::may_call, error::Refusal},
    Changes,
};
use crate::{
    domain::encrypted::{
        change::{Change, ChangeRefusal, ChangeResult, Outcome, PushMode, held_back},
        envelope::{ASSOCIATED_DATA_VERSION, ENVELOPE_VERSION},
    },
    store::request::{RequestKey, retry_once},
};

/// What a device pushes.
pub struct Push {
    /// The device.
    pub device: Uuid,
    /// What it did, in its order.
    pub changes: Vec<Change>,
    /// Whether that stands together.
    pub mode: PushMode,
    /// When it comes.
    pub at: DateTime<Utc>,
}

/// What a push comes to.
#[derive(Debug)]
pub struct Pushed {
    /// What became of each change.
    pub results: Vec<ChangeResult>,
    /// When the next rotation of the device's key is due.
    pub next_rotation_at: Option<DateTime<Utc>>,
    /// Whether anything is different than before, for the person's other devices.
    pub changed: bool,
}

/// What became of a change, as the answer of a request keeps it.
#[derive(Debug, Deserialize)]
struct ResultRow {
    outcome: String,
    version: Option<i64>,
    change_number: Option<i64>,
    conflict_id: Option<Uuid>,
    key_version: Option<i32>,
}

// === impl Changes ===

impl Changes {
    /// Applies what a device of the caller did; or, when `request` did so before, changes nothing and answers as it was
    /// answered then. An atomic push that does not stand is not remembered: whoever sends it again has it looked at
    /// again.
    ///
    /// # Errors
    ///
    /// Caller, CursorExpired and RequestIdReused of [`Refusal`]. Nothing was changed then, unless it was the database
    /// that failed: a retry finds out.
    pub async fn push(
        &self,
        caller: UserId,
        deadline: Deadline,
        push: &Push,
        request: RequestKey,
    ) -> Result<Pushed, Refusal> {
        retry_once(Refusal::id_taken, || {
            self.try_push(caller, deadline, push, request)
        })
        .await
    }

    async fn try_push(
        &self,
        caller: UserId,
        deadline: Deadline,
        push: &Push,
        request: RequestKey,
    ) -> Result<Pushed, Refusal> {
        let mut tx = self
            .database
            .begin("PushChanges", Context::User(caller), deadline)
            .await?;
        let columns = Columns::of(&push.changes);
        let row = sqlx::query!(
            r#"/* PushChanges */
            WITH prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), done AS MATERIALIZED (
                SELECT p.ordinality, (p.result).outcome, (p.result).version, (p.result).change_number,
                    (p.result).conflict_id, (p.result).key_version, p.next_rotation_at
                FROM (
                    SELECT array_agg(ROW(c.record_id, c.expected_version, c.payload IS NULL, c.payload,
                        CASE WHEN c.payload IS NOT NULL THEN $19::smallint END, c.algorithm, c.key_version, c.nonce, c.salt,
                        c.memory_kib, c.iterations, c.parallelism,
                        CASE WHEN c.payload IS NOT NULL THEN $20::smallint END, c.local_time, c.conflict_id
                    )::data.cycle_change ORDER BY c.place) AS changes
                    FROM unnest($7::uuid[], $8::bigint[], $9::bytea[], $10::text[], $11::integer[], $12::bytea[],
                        $13::bytea[], $14::integer[], $15::integer[], $16::integer[], $17::timestamptz[], $18::uuid[])
                        WITH ORDINALITY AS c (record_id, expected_version, payload, algorithm, key_version, nonce, salt,
                            memory_kib, iterations, parallelism, local_time, conflict_id, place)
                ) AS sent
                CROSS JOIN LATERAL data.push_cycle_changes($4, sent.changes, $5, $6) AS p
                WHERE NOT EXISTS (SELECT FROM prior)
            ), told AS (
                SELECT max(next_rotation_at) AS next_rotation_at,
                    bool_and(ordinality IS NOT NULL AND ($5 OR outcome IN ('applied', 'already_applied'))) AS stands,
                    jsonb_agg(jsonb_strip_nulls(jsonb_build_object('outcome', outcome, 'version', version,
                        'change_number', change_number, 'conflict_id', conflict_id, 'key_version', key_version))
                        ORDER BY ordinality) AS answer
                FROM done
                HAVING count(*) > 0
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'PushChanges', $3, answer, $6 FROM told WHERE stands
            )
            SELECT true AS "same!", true AS "now!", answer AS "answer!: Json<Vec<ResultRow>>", next_rotation_at FROM told
            UNION ALL
            SELECT payload_mac = $3 AND method = 'PushChanges', false, CASE method WHEN 'PushChanges' THEN answer ELSE '[]' END,
                (SELECT next_rotation_at FROM data.device_key WHERE user_id = $1 AND id = $4)
            FROM prior"#,
            caller.as_uuid(),
            request.id,
            &request.payload_mac,
            push.device,
            push.mode == PushMode::Independent,
            push.at,
            &columns.record_id,
            &columns.expected_version,
            &columns.payload as &[Option<&[u8]>],
            &columns.algorithm as &[Option<&str>],
            &columns.key_version as &[Option<i32>],
            &columns.nonce as &[Option<&[u8]>],
            &columns.salt as &[Option<&[u8]>],
            &columns.memory_kib as &[Option<i32>],
            &columns.iterations as &[Option<i32>],
            &columns.parallelism as &[Option<i32>],
            &columns.local_time as &[Option<DateTime<Utc>>],
            &columns.conflict_id,
            ENVELOPE_VERSION,
            ASSOCIATED_DATA_VERSION,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        if !row.same {
            return Err(Refusal::RequestIdReused);
        }
        // Of a device that may not push there is one row, and nothing of any change.
        if let Some(first) = row.answer.first() {
            may_call(&mut tx, caller, &first.outcome).await?;
            if first.outcome == "behind" {
                return Err(Refusal::of("behind", None, None));
            }
        }
        let results = row.answer.0.into_iter().map(ChangeResult::try_from);
        let results = results.collect::<Result<Vec<_>, _>>()?;
        let next_rotation_at = row.next_rotation_at;
        if row.now && !push.mode.stands(&results) {
            // Not committed: it is taken back.
            return Ok(Pushed {
                results: held_back(&push.changes, results),
                next_rotation_at,
                changed: false,
            });
        }
        tx.commit().await?;
        Ok(Pushed {
            changed: row.now && results.iter().any(|result| result.change_number.is_some()),
            results,
            next_rotation_at,
        })
    }
}

impl TryFrom<ResultRow> for ChangeResult {
    type Error = DbError;

    fn try_from(row: ResultRow) -> Result<Self, DbError> {
        let current = || {
            row.key_version
                .ok_or_else(|| DbError::unexpected("the version of a key"))
        };
        let outcome = match row.outcome.as_str() {
            "applied" => Outcome::Applied,
            "already_applied" => Outcome::AlreadyApplied,
            "conflict" => Outcome::Conflict,
            "deleted" => Outcome::Deleted,
            "not_found" => Outcome::Refused(ChangeRefusal::NotFound),
            "nonce_reused" => Outcome::Refused(ChangeRefusal::NonceReused),
            "key_version_stale" => Outcome::Refused(ChangeRefusal::KeyVersionStale { current: current()? }),
            "key_version_unknown" => {
                Outcome::Refused(ChangeRefusal::KeyVersionUnknown { current: current()? })
            }
            _ => return Err(DbError::unexpected("what became of a change")),
        };
        Ok(Self {
            outcome,
            version: row.version.unwrap_or_default(),
            change_number: row.change_number,
            conflict_id: row.conflict_id,
        })
    }
}

/// Changes, a column at a time, as a statement takes them.
#[derive(Default)]
struct Columns<'a> {
    record_id: Vec<Uuid>,
    expected_version: Vec<i64>,
    payload: Vec<Option<&'a [u8]>>,
    algorithm: Vec<Option<&'a str>>,
    key_version: Vec<Option<i32>>,
    nonce: Vec<Option<&'a [u8]>>,
    salt: Vec<Option<&'a [u8]>>,
    memory_kib: Vec<Option<i32>>,
    iterations: Vec<Option<i32>>,
    parallelism: Vec<Option<i32>>,
    local_time: Vec<Option<DateTime<Utc>>>,
    conflict_id: Vec<Uuid>,
}

impl<'a> Columns<'a> {
    fn of(changes: &'a [Change]) -> Self {
        let mut columns = Self::default();
        for change in changes {
            let content = change.content.as_ref();
            let envelope = content.map(|content| &content.envelope);
            columns.record_id.push(change.record_id);
            columns.expected_version.push(change.expected_version);
            columns
                .payload
                .push(content.map(|content| content.payload.as_slice()));
            columns.algorithm.push(envelope.map(|it| it.algorithm.name()));
            columns.key_version.push(envelope.map(|it| it.key_version));
            columns.nonce.push(envelope.map(|it| it.nonce.as_slice()));
            columns.salt.push(envelope.map(|it| it.salt.as_slice()));
            columns
                .memory_kib
                .push(envelope.map(|it| it.key_derivation.memory_kib));
            columns
                .iterations
                .push(envelope.map(|it| it.key_derivation.iterations));
            columns
                .parallelism
                .push(envelope.map(|it| it.key_derivation.parallelism));
            columns.local_time.push(change.local_time);
            columns.conflict_id.push(change.conflict_id);
        }
        columns
    }
}
