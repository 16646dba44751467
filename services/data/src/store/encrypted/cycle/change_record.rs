//! The statement of CreateRecord, UpdateRecord and DeleteRecord: one change over the version that the device last saw.
//!
//! One call of a function, which pushes one change that is not kept when it loses. `data.update_cycle_data_optimistic` does so
//! for callers with psql, but cannot delete, so it is not used here.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, Effect},
    deadline::Deadline,
    request_key::RequestKey,
};

use super::{
    super::{calling_device::check_call, error::ChangeError},
    Records,
    cycle_change::CycleChange,
};
use crate::{
    domain::encrypted::{
        change::{Change, SingleChange},
        record::RecordVersion,
    },
    store::request::retry_once,
};

/// The result of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedRecord {
    /// The version of the record that the change made.
    pub version: RecordVersion,
    /// The time at which the next rotation of the device's key is due. `None` for a retry when the device no longer
    /// exists.
    pub next_rotation_at: Option<DateTime<Utc>>,
    /// `true` when this call made the change, so that the person's other devices have something new to read. `false`
    /// for a retry.
    pub now: bool,
}

impl Records {
    /// Makes `change` for the RPC `method`.
    pub(super) async fn change(
        &self,
        method: &'static str,
        caller: UserId,
        change: &SingleChange,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<ChangedRecord, ChangeError> {
        // The function assumes that the request is a new one, and learns otherwise from the first error.
        let again = AtomicBool::new(false);
        retry_once(ChangeError::is_id_taken, || {
            let again = again.swap(true, Ordering::Relaxed);
            self.try_change(method, caller, change, request, again, deadline)
        })
        .await
    }

    async fn try_change(
        &self,
        method: &'static str,
        caller: UserId,
        single: &SingleChange,
        request: RequestKey,
        again: bool,
        deadline: Deadline,
    ) -> Result<ChangedRecord, ChangeError> {
        let context = Context::User(caller);
        let payload_macs = request.payload_macs.to_vecs();
        let row = self
            .database
            .call(method, context, Effect::Repeatable, deadline)
            .fetch_one(|| {
                sqlx::query_as!(
                    ChangeRow,
                    r#"
                    SELECT /* UpdateRecord, and CreateRecord and DeleteRecord */ outcome, version, change_number, changed_at,
                        key_version, next_rotation_at
                    FROM data.change_record_1($1, $2, $3, $4, $5, $6, $7, $8, $9)"#,
                    caller.as_uuid(),
                    self.database.limits(context),
                    request.id,
                    method,
                    &payload_macs as &[Vec<u8>],
                    single.device,
                    CycleChange::from(&single.change) as CycleChange<'_>,
                    single.at,
                    again,
                )
            })
            .await?;
        let outcome = row.outcome.as_deref().unwrap_or_default();
        check_call(&self.database, method, caller, outcome, deadline).await?;
        row.changed(&single.change)
    }
}

/// The outcome of the SQL function, or the first answer to the request.
struct ChangeRow {
    outcome: Option<String>,
    version: Option<i64>,
    change_number: Option<i64>,
    changed_at: Option<DateTime<Utc>>,
    key_version: Option<i32>,
    next_rotation_at: Option<DateTime<Utc>>,
}

impl ChangeRow {
    fn changed(self, change: &Change) -> Result<ChangedRecord, ChangeError> {
        let outcome = self.outcome.as_deref().unwrap_or_default();
        match outcome {
            "applied" | "already_applied" | "answered" => {}
            // The version is the expected one, so the nonce is that of a change that lost before and was not applied.
            // The device has to encrypt the content again.
            "conflict" if self.version == Some(change.expected_version) => {
                return Err(ChangeError::NonceReused);
            }
            _ => return Err(ChangeError::from_outcome(outcome, self.version, self.key_version)),
        }
        match (self.version, self.change_number, self.changed_at) {
            (Some(version), Some(change_number), Some(changed_at)) => Ok(ChangedRecord {
                version: RecordVersion {
                    record_id: change.record_id,
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
