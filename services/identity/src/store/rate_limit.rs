//! Rate limits, and how long somebody waits after wrong passwords: one statement decides about a call.

use std::time::Duration;

use haven_platform::database::{DbError, TenantTx};
use sqlx::postgres::types::PgInterval;
use thiserror::Error;

use crate::domain::rate_limit::{LimitKind, Quota};

/// Why a call is not let through. Its transaction has to be rolled back, so that it uses up nothing.
#[derive(Debug, Error)]
pub enum LimitError {
    /// It is over limits.
    #[error("over {} limits", .0.len())]
    Limited(Vec<Limited>),
    /// The database failed: nobody is let through.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// A limit that a call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// What the limit is about.
    pub kind: LimitKind,
    /// The limit; none of wrong passwords, whose waiting grows.
    pub quota: Option<Quota>,
    /// When it would be let through.
    pub retry_after: Duration,
}

/// Lets a call through that is within all of `quotas`, and counts it; `account` is the key of its wrong passwords.
///
/// One round trip. Both roles of the request pool may ask.
///
/// # Errors
///
/// [`LimitError::Limited`] with every limit that it is over.
pub(super) async fn admit(
    tx: &mut TenantTx,
    quotas: &[Quota],
    account: Option<&[u8; 32]>,
) -> Result<(), LimitError> {
    let keys: Vec<Vec<u8>> = quotas.iter().map(|quota| quota.key.to_vec()).collect();
    let emissions: Vec<PgInterval> = quotas
        .iter()
        .map(|quota| interval(quota.limit.emission()))
        .collect();
    let tolerances: Vec<PgInterval> = quotas
        .iter()
        .map(|quota| interval(quota.limit.tolerance()))
        .collect();
    let refused = sqlx::query!(
        r#"/* Limits.admit */
        SELECT key AS "key!", retry_after AS "retry_after!" FROM identity.admit($1, $2, $3, $4) WHERE NOT admitted"#,
        &keys as &[Vec<u8>],
        &emissions as &[PgInterval],
        &tolerances as &[PgInterval],
        account.map(|key| key.as_slice()),
    )
    .fetch_all(tx)
    .await
    .map_err(DbError::from)?;
    let limited: Vec<Limited> = refused
        .into_iter()
        .map(|row| {
            let quota = quotas.iter().find(|quota| quota.key == *row.key).copied();
            Limited {
                kind: quota.map_or(LimitKind::Failures, |quota| quota.kind),
                quota,
                retry_after: duration(&row.retry_after),
            }
        })
        .collect();
    match limited.is_empty() {
        true => Ok(()),
        false => Err(LimitError::Limited(limited)),
    }
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}

/// A difference of two times has days in it, and those of a difference always have 24 hours.
fn duration(interval: &PgInterval) -> Duration {
    const DAY: i64 = 24 * 60 * 60 * 1_000_000;
    let micros = interval.microseconds + i64::from(interval.days) * DAY;
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}
