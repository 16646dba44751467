//! Parsing of leases and durations in the requests of workers.

use std::{ops::RangeInclusive, time::Duration};

use haven_platform::{
    call::UserId,
    failure::{Failure, Violation},
    reason::Reason,
    violations::Violations,
};
use haven_proto::data::v1::JobLease;

use crate::{
    domain::lease::{Lease, LeaseToken},
    store::analysis_queue::LeaseError,
};

/// The durations that a lease may have.
pub(super) const LEASE_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(10 * 60);

/// The duration of a lease when the request has none.
pub(super) const DEFAULT_LEASE: Duration = Duration::from_secs(60);

/// Parses the lease of a request. `None` when the lease is missing. Use the result only when there is no violation.
pub(super) fn parse_lease(lease: Option<&JobLease>, violations: &mut Violations) -> Option<Lease> {
    let Some(lease) = lease else {
        violations.required("lease");
        return None;
    };
    let lease = Lease {
        person: UserId::new(violations.uuid("lease.user_id", &lease.user_id)),
        job: violations.uuid("lease.job_id", &lease.job_id),
        token: LeaseToken::new(violations.uuid("lease.lease_token", &lease.lease_token)),
        attempt: i16::try_from(lease.attempt).unwrap_or_default(),
    };
    if lease.attempt < 1 {
        let description = "lease.attempt must be the attempt of a leased job, at least 1";
        violations.add(Violation::new("lease.attempt", "OUT_OF_RANGE", description));
    }
    Some(lease)
}

/// Parses the duration in `field`. `None` when the duration is missing; also when it is invalid, which adds a
/// violation.
pub(super) fn parse_duration(
    field: &'static str,
    duration: Option<&prost_types::Duration>,
    range: &RangeInclusive<Duration>,
    violations: &mut Violations,
) -> Option<Duration> {
    let sent = duration?;
    let (name, rule) = match (u64::try_from(sent.seconds), u32::try_from(sent.nanos)) {
        // google.protobuf.Duration: seconds and nanos have the same sign.
        _ if sent.nanos.unsigned_abs() >= 1_000_000_000
            || sent.seconds.signum() * i64::from(sent.nanos) < 0 =>
        {
            (
                "NOT_A_DURATION",
                "must be a valid google.protobuf.Duration".to_owned(),
            )
        }
        (Ok(seconds), Ok(nanos)) => {
            let duration = Duration::new(seconds, nanos);
            if range.contains(&duration) {
                return Some(duration);
            }
            match duration < *range.start() {
                true => ("TOO_SHORT", format!("must be at least {:?}", range.start())),
                false => ("TOO_LONG", format!("must be at most {:?}", range.end())),
            }
        }
        _ => ("NEGATIVE", "must not be negative".to_owned()),
    };
    violations.add(Violation::new(field, name, format!("{field} {rule}")));
    None
}

impl From<LeaseError> for Failure {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Lost => Self::new(Reason::LeaseLost),
            LeaseError::RequestIdReused => Self::new(Reason::RequestIdReused),
            LeaseError::Database(error) => error.into(),
        }
    }
}
