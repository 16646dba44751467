//! GetConsentRequirements: returns the documents that sign-up requires, and the versions that are accepted.

use haven_platform::{call::Call, failure::Failure, handler::Handler};
use haven_proto::identity::v1::{GetConsentRequirementsRequest, GetConsentRequirementsResponse};

use super::AccountRpc;
use crate::rpc::consent_grant::grant_message;

impl Handler<GetConsentRequirementsRequest> for AccountRpc {
    type Answer = GetConsentRequirementsResponse;

    async fn handle(
        &self,
        _call: &Call,
        _request: GetConsentRequirementsRequest,
    ) -> Result<GetConsentRequirementsResponse, Failure> {
        Ok(GetConsentRequirementsResponse {
            required: self.required_consents.iter().map(grant_message).collect(),
            accepted: self.consent_versions.iter().map(grant_message).collect(),
            any_accepted: self.consent_versions.are_any(),
        })
    }
}
