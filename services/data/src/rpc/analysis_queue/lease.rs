//! From requests about leases to domain types. Everything that is wrong with a request is reported at once.

use std::{ops::RangeInclusive, time::Duration};

use haven_platform::{
    call::UserId,
    failure::{Failure, Violation},
    violations::{NO_VALUE, Violations},
};
use haven_proto::data::v1::{ExtendLeaseRequest, JobLease, LeaseJobsRequest};
use uuid::Uuid;

use crate::domain::lease::{Lease, LeaseToken};

/// The most jobs that are leased at once.
const MAX_JOBS: u8 = 10;

/// How long a worker can wait for a first one.
const WAIT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(30);

/// How long a lease can be.
const LEASE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(10 * 60);

/// How long it is unless said.
const DEFAULT_LEASE: Duration = Duration::from_secs(60);

/// What a worker asks for.
#[derive(Debug)]
pub(in crate::rpc) struct LeaseJobs {
    pub(in crate::rpc) max_jobs: u8,
    pub(in crate::rpc) wait: Duration,
    pub(in crate::rpc) duration: Duration,
    pub(in crate::rpc) request_id: Uuid,
}

pub(in crate::rpc) fn lease_jobs(request: &LeaseJobsRequest) -> Result<LeaseJobs, Failure> {
    let mut violations = Violations::new();
    let max_jobs = u8::try_from(request.max_jobs).ok().filter(|max| *max <= MAX_JOBS);
    if max_jobs.is_none() {
        let description = "This has to be 1 to 10, or 0 for 1";
        violations.add(Violation::new("max_jobs", "OUT_OF_RANGE", description));
    }
    let wait = duration("wait", request.wait.as_ref(), &WAIT, &mut violations);
    let lease = duration(
        "lease_duration",
        request.lease_duration.as_ref(),
        &LEASE,
        &mut violations,
    );
    let request_id = violations.uuid("request_id", &request.request_id);
    violations.check()?;
    Ok(LeaseJobs {
        max_jobs: max_jobs.unwrap_or_default().max(1),
        wait: wait.unwrap_or_default(),
        duration: lease.unwrap_or(DEFAULT_LEASE),
        request_id,
    })
}

pub(in crate::rpc) fn extend_lease(request: &ExtendLeaseRequest) -> Result<(Lease, Duration), Failure> {
    let mut violations = Violations::new();
    let lease = lease(request.lease.as_ref(), &mut violations);
    let duration = duration(
        "lease_duration",
        request.lease_duration.as_ref(),
        &LEASE,
        &mut violations,
    );
    violations.check()?;
    let lease = lease.ok_or_else(|| Failure::internal(NO_VALUE))?;
    Ok((lease, duration.unwrap_or(DEFAULT_LEASE)))
}

/// The lease that a worker shows, if it shows one. Where something is wrong with it, [`Violations::check`] fails.
pub(in crate::rpc) fn lease(sent: Option<&JobLease>, violations: &mut Violations) -> Option<Lease> {
    let Some(sent) = sent else {
        violations.add(Violation::new("lease", "REQUIRED", "The lease is required here"));
        return None;
    };
    let lease = Lease {
        person: UserId::new(violations.uuid("lease.user_id", &sent.user_id)),
        job: violations.uuid("lease.job_id", &sent.job_id),
        token: LeaseToken::new(violations.uuid("lease.lease_token", &sent.lease_token)),
        attempt: i16::try_from(sent.attempt).unwrap_or_default(),
    };
    if lease.attempt < 1 {
        let description = "This has to be that of a job that was leased: 1 or more";
        violations.add(Violation::new("lease.attempt", "OUT_OF_RANGE", description));
    }
    Some(lease)
}

/// The duration that is sent in `field`, if one is and there is nothing wrong with it.
fn duration(
    field: &'static str,
    sent: Option<&prost_types::Duration>,
    range: &RangeInclusive<Duration>,
    violations: &mut Violations,
) -> Option<Duration> {
    let sent = sent?;
    let name_and_description = match (u64::try_from(sent.seconds), u32::try_from(sent.nanos)) {
        // As the protocol defines it, both have the same sign.
        _ if sent.nanos.unsigned_abs() >= 1_000_000_000
            || sent.seconds.signum() * i64::from(sent.nanos) < 0 =>
        {
            ("NOT_A_DURATION", "This has to be a duration")
        }
        (Ok(seconds), Ok(nanos)) => {
            let duration = Duration::new(seconds, nanos);
            if range.contains(&duration) {
                return Some(duration);
            }
            match duration < *range.start() {
                true => ("TOO_SHORT", "This has to be longer"),
                false => ("TOO_LONG", "This has to be shorter"),
            }
        }
        _ => ("NEGATIVE", "This cannot be less than nothing"),
    };
    let (name, description) = name_and_description;
    violations.add(Violation::new(field, name, description));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn of(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos })
    }

    fn violations(failure: &Failure) -> Vec<(&str, &str)> {
        let all = failure.all_violations().iter();
        all.map(|one| (one.field.as_str(), one.name)).collect()
    }

    #[test]
    fn a_wish_is_one_job_for_a_minute_at_once_unless_said() {
        let request = LeaseJobsRequest {
            request_id: ID.into(),
            ..Default::default()
        };
        let wish = lease_jobs(&request).unwrap();
        assert_eq!((wish.max_jobs, wish.wait), (1, Duration::ZERO));
        assert_eq!(wish.duration, Duration::from_secs(60));
        let most = LeaseJobsRequest {
            max_jobs: 10,
            wait: of(30, 0),
            lease_duration: of(600, 0),
            ..request.clone()
        };
        let wish = lease_jobs(&most).unwrap();
        assert_eq!((wish.max_jobs, wish.wait), (10, Duration::from_secs(30)));
        assert_eq!(wish.duration, Duration::from_secs(600));
        let least = LeaseJobsRequest {
            wait: of(0, 1),
            lease_duration: of(1, 0),
            ..request
        };
        let wish = lease_jobs(&least).unwrap();
        assert_eq!(wish.wait, Duration::from_nanos(1));
    }

    #[test]
    fn everything_wrong_with_a_wish_is_reported_at_once() {
        let request = LeaseJobsRequest {
            max_jobs: 11,
            wait: of(30, 1),
            lease_duration: of(0, 999_999_999),
            request_id: "x".into(),
        };
        let expected = [
            ("max_jobs", "OUT_OF_RANGE"),
            ("wait", "TOO_LONG"),
            ("lease_duration", "TOO_SHORT"),
            ("request_id", "NOT_A_UUID"),
        ];
        assert_eq!(violations(&lease_jobs(&request).unwrap_err()), expected);
    }

    #[test]
    fn a_duration_is_one() {
        for (seconds, nanos, name) in [
            (-1, 0, "NEGATIVE"),
            (0, -1, "NEGATIVE"),
            (-1, -1, "NEGATIVE"),
            (i64::MIN, 0, "NEGATIVE"),
            (1, -1, "NOT_A_DURATION"),
            (-1, 1, "NOT_A_DURATION"),
            (1, 1_000_000_000, "NOT_A_DURATION"),
            (1, i32::MIN, "NOT_A_DURATION"),
            (i64::MAX, 0, "TOO_LONG"),
            (600, 1, "TOO_LONG"),
        ] {
            let request = LeaseJobsRequest {
                max_jobs: -1,
                lease_duration: of(seconds, nanos),
                request_id: ID.into(),
                wait: None,
            };
            let failure = lease_jobs(&request).unwrap_err();
            let expected = [("max_jobs", "OUT_OF_RANGE"), ("lease_duration", name)];
            assert_eq!(violations(&failure), expected, "{seconds} {nanos}");
        }
    }

    #[test]
    fn a_lease_has_four_parts() {
        let failure = extend_lease(&ExtendLeaseRequest::default()).unwrap_err();
        assert_eq!(violations(&failure), [("lease", "REQUIRED")]);
        let request = |attempt| ExtendLeaseRequest {
            lease: Some(JobLease {
                user_id: ID.into(),
                job_id: ID.into(),
                lease_token: ID.into(),
                attempt,
            }),
            lease_duration: None,
        };
        for attempt in [1, 3, 4, i16::MAX.into()] {
            let (lease, duration) = extend_lease(&request(attempt)).unwrap();
            assert_eq!(i32::from(lease.attempt), attempt);
            assert_eq!(
                (lease.token.expose().to_string(), duration),
                (ID.into(), DEFAULT_LEASE)
            );
        }
        for attempt in [i32::MIN, -1, 0, i32::from(i16::MAX) + 1, i32::MAX] {
            let failure = extend_lease(&request(attempt)).unwrap_err();
            assert_eq!(violations(&failure), [("lease.attempt", "OUT_OF_RANGE")]);
        }
        let empty = ExtendLeaseRequest {
            lease: Some(JobLease::default()),
            lease_duration: of(-1, 0),
        };
        let expected = [
            ("lease.user_id", "REQUIRED"),
            ("lease.job_id", "REQUIRED"),
            ("lease.lease_token", "REQUIRED"),
            ("lease.attempt", "OUT_OF_RANGE"),
            ("lease_duration", "NEGATIVE"),
        ];
        assert_eq!(violations(&extend_lease(&empty).unwrap_err()), expected);
    }
}
