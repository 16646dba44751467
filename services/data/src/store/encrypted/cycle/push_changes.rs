//! PushChanges: applies the changes of one device in their order, in one transaction.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    request_key::RequestKey,
};
use serde::Deserialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    super::{calling_device::check_outcome, error::ChangeError},
    Changes,
    cycle_change::CycleChange,
};
use crate::{
    domain::encrypted::push::{ChangeRefusal, ChangeResult, Outcome, Push, PushMode, held_back},
    store::request::retry_once,
};

/// The result of a push.
#[derive(Debug)]
pub struct Pushed {
    /// The result of each change, in the order of the push.
    pub results: Vec<ChangeResult>,
    /// The time at which the next rotation of the device's key is due. `None` for a retry when the device no longer
    /// exists.
    pub next_rotation_at: Option<DateTime<Utc>>,
    /// `true` when this call changed anything, so that the person's other devices have something new to read.
    pub changed: bool,
}

/// The result of a change, as the stored answer of a request has it.
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
    /// Applies the changes of a device of the caller. Changes nothing, and returns the first answer again, when
    /// `request` did so before.
    ///
    /// An atomic push with a change that cannot be applied is rolled back and not remembered: a retry is evaluated
    /// again.
    ///
    /// # Errors
    ///
    /// Caller, CursorExpired and RequestIdReused of [`ChangeError`]. Nothing was changed, except possibly when the
    /// database failed: a retry finds out.
    pub async fn push(
        &self,
        caller: UserId,
        push: &Push,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<Pushed, ChangeError> {
        let attempted = retry_once(ChangeError::is_id_taken, || {
            self.try_push(caller, push, request, deadline)
        })
        .await;
        let is_rolled_back = match &attempted {
            Ok(Attempt::Done(_)) => false,
            Ok(Attempt::RolledBack(_)) => true,
            Err(error) => error.is_over_limit(),
        };
        if is_rolled_back {
            self.charge(caller, deadline).await;
        }
        attempted.map(|(Attempt::Done(pushed) | Attempt::RolledBack(pushed))| pushed)
    }

    /// Counts a push that was rolled back as a mutation: the database wrote its changes, and took them back. An error is only
    /// logged: the push has its outcome already.
    async fn charge(&self, caller: UserId, deadline: Deadline) {
        let charged = async {
            let mut tx = self
                .database
                .begin("PushChanges", Context::User(caller), deadline)
                .await?;
            sqlx::query!(r#"SELECT /* PushChanges, charge */ data.charge_mutations(1) AS "charged: ()""#,)
                .execute(&mut tx)
                .await?;
            tx.commit().await
        };
        match charged.await {
            Err(error) if !error.is_over_limit() => {
                tracing::warn!(%error, "a push that was rolled back is not counted");
            }
            _ => {}
        }
    }

    async fn try_push(
        &self,
        caller: UserId,
        push: &Push,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<Attempt, ChangeError> {
        let mut tx = self
            .database
            .begin("PushChanges", Context::User(caller), deadline)
            .await?;
        let changes: Vec<_> = push.changes.iter().map(CycleChange::from).collect();
        let row = sqlx::query!(
            r#"
            WITH /* PushChanges */ prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), done AS MATERIALIZED (
                SELECT p.ordinality, (p.result).outcome, (p.result).version, (p.result).change_number,
                    (p.result).conflict_id, (p.result).key_version, p.next_rotation_at
                FROM data.push_cycle_changes($4, $7, $5, $6) AS p
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
                SELECT $1, $2, 'PushChanges', ($3::bytea[])[1], answer, $6 FROM told WHERE stands
            )
            SELECT true AS "same!", true AS "now!", answer AS "answer!: Json<Vec<ResultRow>>", next_rotation_at FROM told
            UNION ALL
            SELECT payload_mac = ANY ($3) AND method = 'PushChanges', false, CASE method WHEN 'PushChanges' THEN answer ELSE '[]' END,
                (SELECT next_rotation_at FROM data.device_key WHERE user_id = $1 AND id = $4)
            FROM prior"#,
            caller.as_uuid(),
            request.id,
            &request.payload_macs.to_vecs() as &[Vec<u8>],
            push.device,
            push.mode == PushMode::Independent,
            push.at,
            &changes as &[CycleChange<'_>],
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        if !row.same {
            return Err(ChangeError::RequestIdReused);
        }
        // The answer for a device that may not push has one row, which is about no change.
        if let Some(first) = row.answer.first() {
            check_outcome(&mut tx, caller, &first.outcome).await?;
            if first.outcome == "behind" {
                return Err(ChangeError::from_outcome("behind", None, None));
            }
        }
        let results = row.answer.0.into_iter().map(ChangeResult::try_from);
        let results = results.collect::<Result<Vec<_>, _>>()?;
        let next_rotation_at = row.next_rotation_at;
        if row.now && !push.mode.commits(&results) {
            // The transaction is not committed, which rolls it back.
            return Ok(Attempt::RolledBack(Pushed {
                results: held_back(&push.changes, results),
                next_rotation_at,
                changed: false,
            }));
        }
        tx.commit().await?;
        Ok(Attempt::Done(Pushed {
            changed: row.now && results.iter().any(|result| result.change_number.is_some()),
            results,
            next_rotation_at,
        }))
    }
}

/// The outcome of a transaction.
enum Attempt {
    /// It was committed, or repeats an answer.
    Done(Pushed),
    /// It was rolled back, because one of its changes is not applied and the others were to be applied only with it.
    RolledBack(Pushed),
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
            _ => return Err(DbError::unexpected("the outcome of a change")),
        };
        Ok(Self {
            outcome,
            version: row.version.unwrap_or_default(),
            change_number: row.change_number,
            conflict_id: row.conflict_id,
        })
    }
}
