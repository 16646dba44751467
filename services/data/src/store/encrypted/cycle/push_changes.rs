//! PushChanges: applies the changes of one device in their order, by one call of a function.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, Effect},
    deadline::Deadline,
    request_key::RequestKey,
};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    super::{calling_device::check_call, error::ChangeError},
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

/// The answer of the SQL function.
struct PushRow {
    /// `false` when the request id belongs to a request with other content.
    same: bool,
    /// `false` for a retry.
    now: bool,
    /// `false` when the push was rolled back, because one of its changes is not applied and the others were to be applied only
    /// with it.
    stands: bool,
    /// The results as JSON.
    answer: String,
    next_rotation_at: Option<DateTime<Utc>>,
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
        let pushed = retry_once(ChangeError::is_id_taken, || {
            self.try_push(caller, push, request, deadline)
        })
        .await;
        // The function counts an atomic push that it takes back. An error takes everything back.
        if pushed.as_ref().is_err_and(ChangeError::is_over_limit) {
            self.charge(caller, deadline).await;
        }
        pushed
    }

    /// Counts a push that is over a limit as a mutation: the database wrote its changes, and took them back. An error is only
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
    ) -> Result<Pushed, ChangeError> {
        let context = Context::User(caller);
        let payload_macs = request.payload_macs.to_vecs();
        let row = self
            .database
            .call("PushChanges", context, Effect::Repeatable, deadline)
            .fetch_one(|| {
                let changes: Vec<_> = push.changes.iter().map(CycleChange::from).collect();
                sqlx::query_as!(
                    PushRow,
                    r#"
                    SELECT /* PushChanges */ same AS "same!", now AS "now!", stands AS "stands!", answer AS "answer!",
                        next_rotation_at
                    FROM data.push_changes_1($1, $2, $3, $4, $5, $6, $7, $8)"#,
                    caller.as_uuid(),
                    self.database.limits(context),
                    request.id,
                    &payload_macs as &[Vec<u8>],
                    push.device,
                    push.mode == PushMode::Independent,
                    push.at,
                    &changes as &[CycleChange<'_>],
                )
            })
            .await?;
        if !row.same {
            return Err(ChangeError::RequestIdReused);
        }
        let answer: Vec<ResultRow> =
            serde_json::from_str(&row.answer).map_err(|_| DbError::unexpected("the answer of a request"))?;
        // The answer for a device that may not push has one result, which is about no change.
        if let Some(first) = answer.first() {
            check_call(&self.database, "PushChanges", caller, &first.outcome, deadline).await?;
            if first.outcome == "behind" {
                return Err(ChangeError::from_outcome("behind", None, None));
            }
        }
        let results = answer.into_iter().map(ChangeResult::try_from);
        let results = results.collect::<Result<Vec<_>, _>>()?;
        let next_rotation_at = row.next_rotation_at;
        if !row.stands {
            return Ok(Pushed {
                results: held_back(&push.changes, results),
                next_rotation_at,
                changed: false,
            });
        }
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
