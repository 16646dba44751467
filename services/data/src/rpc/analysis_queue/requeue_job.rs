//! RequeueJob: gives a dead job three more attempts, for operators.

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    handler::Handler,
    mac::MacKeys,
    reason::Reason,
    request_key::RequestKey,
    violations::Violations,
};
use haven_proto::data::v1::{RequeueJobRequest, RequeueJobResponse};
use uuid::Uuid;

use super::AnalysisQueueRpc;
use crate::{rpc::analysis::job::job_to_proto, store::analysis_queue::requeue_job::RequeueError};

/// The parsed [`RequeueJobRequest`].
#[derive(Debug)]
struct Requeue {
    person: UserId,
    job: Uuid,
    request: RequestKey,
}

impl Handler<RequeueJobRequest> for AnalysisQueueRpc {
    type Answer = RequeueJobResponse;

    async fn handle(&self, call: &Call, request: RequeueJobRequest) -> Result<RequeueJobResponse, Failure> {
        let Requeue { person, job, request } = Requeue::parse(request, &self.requests)?;
        let job = self
            .queue
            .requeue(person, job, request, self.clock.now(), call.deadline)
            .await?;
        self.new_jobs.notify();
        Ok(RequeueJobResponse {
            job: Some(job_to_proto(&job)),
        })
    }
}

impl Requeue {
    fn parse(mut request: RequeueJobRequest, requests: &MacKeys) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let key = RequestKey::take(
            "RequeueJob",
            &mut request,
            |request| &mut request.request_id,
            requests,
            &mut violations,
        );
        let person = violations.uuid("user_id", &request.user_id);
        let job = violations.uuid("job_id", &request.job_id);
        violations.check()?;
        Ok(Self {
            person: UserId::new(person),
            job,
            request: key,
        })
    }
}

impl From<RequeueError> for Failure {
    fn from(error: RequeueError) -> Self {
        match error {
            RequeueError::NotFound => Self::new(Reason::NotFound),
            RequeueError::RequestIdReused => Self::new(Reason::RequestIdReused),
            RequeueError::Database(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKeys;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn key() -> MacKeys {
        MacKeys::derive(&SecretKeys::one([7; 32]), "requests")
    }

    #[test]
    fn all_three_ids_are_required() {
        let failure = Requeue::parse(RequeueJobRequest::default(), &key()).unwrap_err();
        let found: Vec<_> = failure
            .all_violations()
            .iter()
            .map(|one| (one.field.as_str(), one.name))
            .collect();
        let expected = ["request_id", "user_id", "job_id"].map(|field| (field, "REQUIRED"));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_payload_hash_covers_all_fields_but_the_request_id() {
        let mac = |job: u128, request: u128| {
            let sent = RequeueJobRequest {
                user_id: ID.into(),
                job_id: Uuid::from_u128(job).to_string(),
                request_id: Uuid::from_u128(request).to_string(),
            };
            Requeue::parse(sent, &key()).unwrap().request.payload_macs
        };
        assert_eq!(mac(1, 1), mac(1, 2));
        assert_ne!(mac(1, 1), mac(2, 1));
    }
}
