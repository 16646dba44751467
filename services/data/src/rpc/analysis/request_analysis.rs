//! RequestAnalysis: requests an analysis of the caller's messages.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, mac::MacKeys, reason::Reason, request_key::RequestKey,
    violations::Violations,
};
use haven_proto::data::v1::{RequestAnalysisRequest, RequestAnalysisResponse};

use super::{AnalysisRpc, job::job_to_proto};
use crate::{domain::job::NewJob, store::analysis::request_analysis::RequestError};

impl Handler<RequestAnalysisRequest> for AnalysisRpc {
    type Answer = RequestAnalysisResponse;

    async fn handle(
        &self,
        call: &Call,
        request: RequestAnalysisRequest,
    ) -> Result<RequestAnalysisResponse, Failure> {
        let owner = call.user()?;
        let request = parse(request, &self.requests)?;
        let new_job = NewJob {
            id: self.entropy.uuid_v7(&self.clock),
            created_at: self.clock.now(),
        };
        let requested = self
            .analyses
            .request(owner, new_job, request, call.deadline)
            .await?;
        if requested.is_new {
            self.new_jobs.notify();
        }
        Ok(RequestAnalysisResponse {
            job: Some(job_to_proto(&requested.job)),
        })
    }
}

pub(super) fn parse(mut request: RequestAnalysisRequest, requests: &MacKeys) -> Result<RequestKey, Failure> {
    let mut violations = Violations::new();
    let key = RequestKey::take(
        "RequestAnalysis",
        &mut request,
        |request| &mut request.request_id,
        requests,
        &mut violations,
    );
    violations.check()?;
    Ok(key)
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NothingToAnalyze => Self::new(Reason::NothingToAnalyze),
            RequestError::Unknown(unknown) => unknown.into(),
            RequestError::RequestIdReused => Self::new(Reason::RequestIdReused),
            RequestError::Database(error) => error.into(),
        }
    }
}
