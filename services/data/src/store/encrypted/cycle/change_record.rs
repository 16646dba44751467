//! The statement of CreateRecord, UpdateRecord and DeleteRecord: one change over the version that the device last saw.
//!
//! The statement pushes one change that is not kept when it loses. `data.update_cycle_data_optimistic` does so for
//! callers with psql, but cannot delete, so it is not used here.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    request_key::RequestKey,
};

use super::{
    super::{calling_device::check_outcome, error::ChangeError},
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
        retry_once(ChangeError::is_id_taken, || {
            self.try_change(method, caller, change, request, deadline)
        })
        .await
    }

    async fn try_change(
        &self,
        method: &'static str,
        caller: UserId,
        single: &SingleChange,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<ChangedRecord, ChangeError> {
        let mut tx = self
            .database
            .begin(method, Context::User(caller), deadline)
            .await?;
        let row = sqlx::query_as!(
            ChangeRow,
            r#"
            WITH /* UpdateRecord, and CreateRecord and DeleteRecord */ prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), done AS MATERIALIZED (
                SELECT (pushed.result).outcome, (pushed.result).version, (pushed.result).change_number,
                    (pushed.result).changed_at, (pushed.result).key_version, pushed.next_rotation_at
                FROM data.push_cycle_changes($5, ARRAY[$6::data.cycle_change], false, $7) AS pushed
                WHERE NOT EXISTS (SELECT FROM prior)
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, $3, ($4::bytea[])[1],
                    jsonb_build_object('record_id', ($6::data.cycle_change).record_id, 'version', version,
                        'change_number', change_number, 'changed_at', changed_at),
                    $7
                FROM done
                WHERE outcome IN ('applied', 'already_applied')
            )
            SELECT outcome, version, change_number, changed_at, key_version, next_rotation_at FROM done
            UNION ALL
            SELECT CASE WHEN payload_mac = ANY ($4) AND method = $3 THEN 'answered' ELSE 'request_id_reused' END,
                (answer ->> 'version')::bigint, (answer ->> 'change_number')::bigint,
                (answer ->> 'changed_at')::timestamptz, NULL,
                (SELECT d.next_rotation_at FROM data.device_key AS d WHERE d.user_id = $1 AND d.id = $5)
            FROM prior"#,
            caller.as_uuid(),
            request.id,
            method,
            &request.payload_macs.to_vecs() as &[Vec<u8>],
            single.device,
            CycleChange::from(&single.change) as CycleChange<'_>,
            single.at,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        check_outcome(&mut tx, caller, row.outcome.as_deref().unwrap_or_default()).await?;
        let changed = row.changed(&single.change)?;
        tx.commit().await?;
        Ok(changed)
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
