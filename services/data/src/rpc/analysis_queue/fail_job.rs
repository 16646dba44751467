//! FailJob: ends a worker's failed attempt at a leased job.

use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    handler::Handler,
    mac::MacKeys,
    request_key::RequestKey,
    time::timestamp,
    violations::Violations,
};
use haven_proto::data::v1::{AnalysisJobState, FailJobRequest, FailJobResponse};

use super::{AnalysisQueueRpc, lease::parse_lease};
use crate::domain::{error_code::ErrorCode, job::FailedAttempt, lease::Lease};

/// The parsed [`FailJobRequest`].
#[derive(Debug)]
pub(super) struct FailJob {
    pub(super) lease: Lease,
    pub(super) error: ErrorCode,
    pub(super) request: RequestKey,
}

impl Handler<FailJobRequest> for AnalysisQueueRpc {
    type Answer = FailJobResponse;

    async fn handle(&self, call: &Call, request: FailJobRequest) -> Result<FailJobResponse, Failure> {
        let FailJob {
            lease,
            error,
            request,
        } = FailJob::parse(request, &self.requests)?;
        let failed = FailedAttempt {
            error: &error,
            retry_delays: self.retry_delays(),
        };
        let retry_at = self
            .queue
            .fail(&lease, failed, request, self.clock.now(), call.deadline)
            .await?;
        let state = match retry_at {
            Some(_) => AnalysisJobState::Queued,
            None => AnalysisJobState::Dead,
        };
        Ok(FailJobResponse {
            state: state.into(),
            retry_time: retry_at.map(timestamp),
        })
    }
}

impl FailJob {
    pub(super) fn parse(mut request: FailJobRequest, requests: &MacKeys) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let key = RequestKey::take(
            "FailJob",
            &mut request,
            |request| &mut request.request_id,
            requests,
            &mut violations,
        );
        let lease = parse_lease(request.lease.as_ref(), &mut violations);
        let error = ErrorCode::parse(request.error_code);
        if error.is_none() {
            let description = "error_code must be an upper-case letter, followed by at most 62 upper-case letters, digits and \
                underscores";
            violations.add(Violation::new("error_code", "NOT_A_NAME", description));
        }
        let (lease, error) = violations.finish(lease.zip(error))?;
        Ok(Self {
            lease,
            error,
            request: key,
        })
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKeys;
    use haven_proto::data::v1::JobLease;

    use super::*;

    #[test]
    fn all_violations_are_reported_at_once() {
        let key = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
        let sent = FailJobRequest {
            lease: Some(JobLease::default()),
            error_code: "she said".into(),
            request_id: "x".into(),
        };
        let expected = [
            ("request_id", "NOT_A_UUID"),
            ("lease.user_id", "REQUIRED"),
            ("lease.job_id", "REQUIRED"),
            ("lease.lease_token", "REQUIRED"),
            ("lease.attempt", "OUT_OF_RANGE"),
            ("error_code", "NOT_A_NAME"),
        ];
        let failure = FailJob::parse(sent, &key).unwrap_err();
        let violations: Vec<_> = failure
            .all_violations()
            .iter()
            .map(|one| (one.field.as_str(), one.name))
            .collect();
        assert_eq!(violations, expected);
    }
}
