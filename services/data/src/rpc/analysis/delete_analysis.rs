//! DeleteAnalysis: deletes one of the caller's analyses.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, mac::MacKeys, reason::Reason, request_key::RequestKey,
    violations::Violations,
};
use haven_proto::data::v1::{DeleteAnalysisRequest, DeleteAnalysisResponse};
use uuid::Uuid;

use super::AnalysisRpc;
use crate::store::analysis::DeleteError;

impl Handler<DeleteAnalysisRequest> for AnalysisRpc {
    type Answer = DeleteAnalysisResponse;

    async fn handle(
        &self,
        call: &Call,
        request: DeleteAnalysisRequest,
    ) -> Result<DeleteAnalysisResponse, Failure> {
        let owner = call.user()?;
        let (id, request) = parse(request, &self.requests)?;
        self.analyses
            .delete(owner, id, request, self.clock.now(), call.deadline)
            .await?;
        Ok(DeleteAnalysisResponse {})
    }
}

/// Parses the id of the analysis and the key of the request.
fn parse(mut request: DeleteAnalysisRequest, requests: &MacKeys) -> Result<(Uuid, RequestKey), Failure> {
    let mut violations = Violations::new();
    let key = RequestKey::take(
        "DeleteAnalysis",
        &mut request,
        |request| &mut request.request_id,
        requests,
        &mut violations,
    );
    let id = violations.uuid("analysis_id", &request.analysis_id);
    violations.check()?;
    Ok((id, key))
}

impl From<DeleteError> for Failure {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::NotFound => Self::new(Reason::NotFound),
            DeleteError::RequestIdReused => Self::new(Reason::RequestIdReused),
            DeleteError::Database(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKeys;
    use haven_proto::data::v1::RequestAnalysisRequest;

    use super::*;
    use crate::rpc::analysis::request_analysis;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn key() -> MacKeys {
        MacKeys::derive(&SecretKeys::one([7; 32]), "requests")
    }

    fn deletion(analysis_id: &str, request_id: &str) -> DeleteAnalysisRequest {
        DeleteAnalysisRequest {
            analysis_id: analysis_id.into(),
            request_id: request_id.into(),
        }
    }

    #[test]
    fn all_violations_are_reported_at_once() {
        let failure = parse(deletion("x", ""), &key()).unwrap_err();
        let violations: Vec<_> = failure
            .all_violations()
            .iter()
            .map(|one| (one.field.as_str(), one.name))
            .collect();
        assert_eq!(
            violations,
            [("request_id", "REQUIRED"), ("analysis_id", "NOT_A_UUID")]
        );
    }

    #[test]
    fn a_payload_hash_covers_the_method_and_all_fields_but_the_request_id() {
        let deleted = |analysis, id| parse(deletion(analysis, id), &key()).unwrap().1.payload_macs;
        let requested = |id: &str| {
            let request = RequestAnalysisRequest {
                request_id: id.into(),
            };
            request_analysis::parse(request, &key()).unwrap().payload_macs
        };
        assert_eq!(deleted(ID, ID), deleted(ID, OTHER_ID));
        assert_ne!(deleted(ID, ID), deleted(OTHER_ID, ID));
        assert_eq!(requested(ID), requested(OTHER_ID));
        assert_ne!(requested(ID), deleted(ID, ID));
    }
}
