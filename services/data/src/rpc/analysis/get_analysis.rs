//! GetAnalysis: reads one of the caller's analyses.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, reason::Reason, violations::Violations,
};
use haven_proto::data::v1::{GetAnalysisRequest, GetAnalysisResponse};

use super::AnalysisRpc;

impl Handler<GetAnalysisRequest> for AnalysisRpc {
    type Answer = GetAnalysisResponse;

    async fn handle(&self, call: &Call, request: GetAnalysisRequest) -> Result<GetAnalysisResponse, Failure> {
        let owner = call.user()?;
        let mut violations = Violations::new();
        let id = violations.uuid("analysis_id", &request.analysis_id);
        violations.check()?;
        let sealed = self.analyses.get(owner, id, call.deadline).await?;
        let sealed = sealed.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(GetAnalysisResponse {
            analysis: Some(self.open_analysis(owner, sealed)?),
        })
    }
}
