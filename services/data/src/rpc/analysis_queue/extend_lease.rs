//! ExtendLease: moves the end of a worker's lease.

use std::time::Duration;

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, time::timestamp, violations::Violations,
};
use haven_proto::data::v1::{ExtendLeaseRequest, ExtendLeaseResponse};

use super::{
    AnalysisQueueRpc,
    lease::{DEFAULT_LEASE, LEASE_RANGE, parse_duration, parse_lease},
};
use crate::domain::lease::Lease;

impl Handler<ExtendLeaseRequest> for AnalysisQueueRpc {
    type Answer = ExtendLeaseResponse;

    async fn handle(&self, call: &Call, request: ExtendLeaseRequest) -> Result<ExtendLeaseResponse, Failure> {
        let (lease, duration) = parse(&request)?;
        let expires_at = self.queue.extend(&lease, duration, call.deadline).await?;
        Ok(ExtendLeaseResponse {
            lease_expire_time: Some(timestamp(expires_at)),
        })
    }
}

/// Parses the lease and its new duration from now.
fn parse(request: &ExtendLeaseRequest) -> Result<(Lease, Duration), Failure> {
    let mut violations = Violations::new();
    let lease = parse_lease(request.lease.as_ref(), &mut violations);
    let duration = parse_duration(
        "lease_duration",
        request.lease_duration.as_ref(),
        &LEASE_RANGE,
        &mut violations,
    );
    let lease = violations.finish(lease)?;
    Ok((lease, duration.unwrap_or(DEFAULT_LEASE)))
}

#[cfg(test)]
mod tests {
    use haven_proto::data::v1::JobLease;

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
    fn all_violations_of_a_lease_are_reported_at_once() {
        let failure = parse(&ExtendLeaseRequest::default()).unwrap_err();
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
            let (lease, duration) = parse(&request(attempt)).unwrap();
            assert_eq!(i32::from(lease.attempt), attempt);
            assert_eq!(
                (lease.token.expose().to_string(), duration),
                (ID.into(), DEFAULT_LEASE)
            );
        }
        for attempt in [i32::MIN, -1, 0, i32::from(i16::MAX) + 1, i32::MAX] {
            let failure = parse(&request(attempt)).unwrap_err();
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
        assert_eq!(violations(&parse(&empty).unwrap_err()), expected);
    }
}
