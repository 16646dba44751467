//! ResolveConflict: settles conflicts of a record over the version that the device last saw.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    request_key::RequestKey,
};

use super::{
    super::{calling_device::check_outcome, error::ChangeError},
    Changes,
    cycle_change::CycleChange,
};
use crate::{
    domain::encrypted::{
        record::RecordVersion,
        resolution::{Resolution, Settlement},
    },
    store::request::retry_once,
};

/// The result of a settlement.
#[derive(Debug)]
pub struct Settled {
    /// The version that the record has now.
    pub record: RecordVersion,
    /// The number of the record's conflicts that are still open.
    pub open_conflicts: i32,
    /// The time at which the next rotation of the device's key is due. `None` for a retry when the device no longer
    /// exists.
    pub next_rotation_at: Option<DateTime<Utc>>,
    /// `true` when this call settled the conflicts, so that the person's other devices have something new to read.
    /// `false` for a retry.
    pub now: bool,
}

impl Changes {
    /// Settles conflicts of the caller's record. Changes nothing, and returns the first answer again, when `request`
    /// did so before.
    ///
    /// # Errors
    ///
    /// All of [`ChangeError`] but RecordExists. Nothing was settled, except possibly when the database failed: a retry
    /// finds out.
    pub async fn settle(
        &self,
        caller: UserId,
        settlement: &Settlement,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<Settled, ChangeError> {
        // The record may have another version, or the conflict be settled, because the same request was handled
        // concurrently.
        let may_be_retry = |error: &ChangeError| {
            matches!(error, ChangeError::VersionConflict { .. } | ChangeError::NotFound)
                || error.is_id_taken()
        };
        retry_once(may_be_retry, || {
            self.try_settle(caller, settlement, request, deadline)
        })
        .await
    }

    async fn try_settle(
        &self,
        caller: UserId,
        settlement: &Settlement,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<Settled, ChangeError> {
        let change = match &settlement.resolution {
            Resolution::Keep => None,
            Resolution::Apply(change) => Some(CycleChange::from(change)),
        };
        let mut tx = self
            .database
            .begin("ResolveConflict", Context::User(caller), deadline)
            .await?;
        let row = sqlx::query_as!(
            SettledRow,
            r#"
            WITH /* ResolveConflict */ prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), done AS MATERIALIZED (
                SELECT (r.result).outcome, (r.result).version, (r.result).change_number, (r.result).changed_at,
                    (r.result).key_version, r.open_conflicts, r.next_rotation_at
                FROM (SELECT WHERE NOT EXISTS (SELECT FROM prior)) AS go
                CROSS JOIN LATERAL data.resolve_cycle_conflict($4, $5, $6, $7, $8, $9) AS r
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'ResolveConflict', ($3::bytea[])[1], jsonb_build_object('version', version, 'change_number', change_number,
                    'changed_at', changed_at, 'open_conflicts', open_conflicts), $9
                FROM done WHERE outcome IN ('applied', 'kept')
            )
            SELECT true AS "same!", true AS "now!", outcome, version, change_number, changed_at, key_version,
                open_conflicts, next_rotation_at
            FROM done
            UNION ALL
            SELECT payload_mac = ANY ($3) AND method = 'ResolveConflict', false, 'applied',
                (answer ->> 'version')::bigint, (answer ->> 'change_number')::bigint,
                (answer ->> 'changed_at')::timestamptz, NULL, (answer ->> 'open_conflicts')::integer,
                (SELECT next_rotation_at FROM data.device_key WHERE user_id = $1 AND id = $4)
            FROM prior"#,
            caller.as_uuid(),
            request.id,
            &request.payload_macs.to_vecs() as &[Vec<u8>],
            settlement.device,
            settlement.record_id,
            settlement.expected_version,
            &settlement.conflicts,
            change as Option<CycleChange<'_>>,
            settlement.at,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        check_outcome(&mut tx, caller, row.outcome.as_deref().unwrap_or_default()).await?;
        tx.commit().await?;
        row.settled(settlement)
    }
}

/// The outcome of the SQL function, or the first answer to the request.
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
    fn settled(self, settlement: &Settlement) -> Result<Settled, ChangeError> {
        if !self.same {
            return Err(ChangeError::RequestIdReused);
        }
        match self.outcome.as_deref() {
            Some("applied" | "kept") => {}
            Some("no_conflict") => return Err(ChangeError::NotFound),
            // The version is the expected one, and the nonce is that of a known change: a conflict's. The device has to
            // encrypt the content again.
            Some("deleted" | "already_applied") => return Err(ChangeError::NonceReused),
            Some("conflict") if self.version == Some(settlement.expected_version) => {
                return Err(ChangeError::NonceReused);
            }
            other => {
                let outcome = other.unwrap_or_default();
                return Err(ChangeError::from_outcome(outcome, self.version, self.key_version));
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
