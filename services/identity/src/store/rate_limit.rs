//! Rate limits, and the delay after wrong passwords: one statement decides about a call. Functions that the store calls in one
//! round trip decide in the same way, by `identity.count_call`.

use std::time::Duration;

use haven_platform::database::{DbError, TenantTx};
use sqlx::postgres::types::PgInterval;
use thiserror::Error;

use crate::domain::rate_limit::{FailureKeys, LimitKind, Quota};

/// The error when a call is not admitted. The transaction must be rolled back, so that the call uses up nothing.
#[derive(Debug, Error)]
pub enum LimitError {
    /// The call is over one or more limits.
    #[error("over {} limits", .0.len())]
    Limited(Vec<Limited>),
    /// The database failed. No call is admitted then.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// A limit that a call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The subject of the limit.
    pub kind: LimitKind,
    /// The limit. `None` for wrong passwords: the caller's have a growing delay, the account's a cap.
    pub quota: Option<Quota>,
    /// The delay after which the call would be admitted.
    pub retry_after: Duration,
}

/// Admits a call that is within all of `quotas`, and counts it. `failures` has the keys under which the caller's wrong
/// passwords are counted.
///
/// Takes one round trip. Both roles of the request pool may call the SQL function.
///
/// # Errors
///
/// [`LimitError::Limited`] with every limit that the call is over.
pub(super) async fn admit(
    tx: &mut TenantTx,
    quotas: &[Quota],
    failures: Option<&FailureKeys>,
) -> Result<(), LimitError> {
    let Arrays {
        keys,
        emissions,
        tolerances,
    } = Arrays::of(quotas);
    let cap = Cap::of(failures);
    let refused = sqlx::query!(
        r#"
        SELECT /* Limits.admit */
               key AS "key!", retry_after AS "retry_after!" FROM identity.admit_call($1, $2, $3, $4, $5, $6, $7)
        WHERE NOT admitted"#,
        &keys as &[Vec<u8>],
        &emissions as &[PgInterval],
        &tolerances as &[PgInterval],
        failures.map_or(&[] as &[Vec<u8>], FailureKeys::as_slice) as &[Vec<u8>],
        cap.keys as &[Vec<u8>],
        cap.emission,
        cap.tolerance,
    )
    .fetch_all(tx)
    .await
    .map_err(DbError::from)?;
    let (keys, waits) = refused.into_iter().map(|row| (row.key, row.retry_after)).unzip();
    check(Some(keys), Some(waits), quotas, cap.keys)
}

/// Limits, as parameters of a statement.
pub(super) struct Arrays {
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) emissions: Vec<PgInterval>,
    pub(super) tolerances: Vec<PgInterval>,
}

impl Arrays {
    pub(super) fn of(quotas: &[Quota]) -> Self {
        let limits = quotas.iter().map(|quota| quota.limit);
        Self {
            keys: quotas.iter().map(|quota| quota.key.to_vec()).collect(),
            emissions: limits.clone().map(|limit| interval(limit.emission())).collect(),
            tolerances: limits.map(|limit| interval(limit.tolerance())).collect(),
        }
    }
}

/// Returns an error with the limits that refused a call: their keys, and the wait of each. `None` when the call was admitted.
/// `quotas` are those that the call may have, and `caps` has the keys of caps.
pub(super) fn check(
    refused: Option<Vec<Vec<u8>>>,
    waits: Option<Vec<PgInterval>>,
    quotas: &[Quota],
    caps: &[Vec<u8>],
) -> Result<(), LimitError> {
    let mut limited: Vec<Limited> = Vec::new();
    for (key, delay) in refused.into_iter().flatten().zip(waits.into_iter().flatten()) {
        let quota = quotas.iter().find(|quota| quota.key == *key).copied();
        let kind = match quota {
            Some(quota) => quota.kind,
            None if caps.contains(&key) => LimitKind::Account,
            None => LimitKind::Failures,
        };
        let retry_after = duration(&delay);
        // A limit is counted under each key of the ring, and reported once.
        match limited.iter_mut().find(|one| one.kind == kind) {
            Some(one) => one.retry_after = one.retry_after.max(retry_after),
            None => limited.push(Limited {
                kind,
                quota,
                retry_after,
            }),
        }
    }
    match limited.is_empty() {
        true => Ok(()),
        false => Err(LimitError::Limited(limited)),
    }
}

/// The cap on an account's wrong passwords, as parameters of a statement. Without a cap there are no keys.
pub(super) struct Cap<'a> {
    pub(super) keys: &'a [Vec<u8>],
    pub(super) emission: PgInterval,
    pub(super) tolerance: PgInterval,
}

impl<'a> Cap<'a> {
    pub(super) fn of(failures: Option<&'a FailureKeys>) -> Self {
        match failures.and_then(FailureKeys::cap) {
            Some(cap) => Self {
                keys: &cap.keys,
                emission: interval(cap.limit.emission()),
                tolerance: interval(cap.limit.tolerance()),
            },
            None => Self {
                keys: &[],
                emission: interval(Duration::ZERO),
                tolerance: interval(Duration::ZERO),
            },
        }
    }
}

/// Converts a duration for a statement.
pub(super) fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}

/// Converts the difference of two times. Its days always have 24 hours.
fn duration(interval: &PgInterval) -> Duration {
    const DAY: i64 = 24 * 60 * 60 * 1_000_000;
    let micros = interval.microseconds + i64::from(interval.days) * DAY;
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}
