//! WithdrawConsent: withdraws one of the caller's consents.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, request_key::RequestKey, violations::Violations,
};
use haven_proto::identity::v1::{WithdrawConsentRequest, WithdrawConsentResponse};

use super::{AccountRpc, consent::consent_message};
use crate::domain::audit::AuditEventType;

impl Handler<WithdrawConsentRequest> for AccountRpc {
    type Answer = WithdrawConsentResponse;

    async fn handle(
        &self,
        call: &Call,
        request: WithdrawConsentRequest,
    ) -> Result<WithdrawConsentResponse, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let id = violations.uuid("request_id", &request.request_id);
        let consent_id = violations.uuid("consent_id", &request.consent_id);
        violations.check()?;
        let key = RequestKey {
            id,
            // A hash of the parsed id rather than of the request, so that another spelling of the id is the same content.
            payload_macs: self
                .request_mac
                .macs(&[b"WithdrawConsent", consent_id.as_bytes()]),
        };
        let quotas = self
            .rate_limit_keys
            .person_quota("Mutation", &self.mutation_limits, caller);
        let origin = self.audit_origins.of(call);
        let event = self.consent_event(call, AuditEventType::ConsentWithdraw, &origin);
        let entry = self
            .consents
            .withdraw(caller, consent_id, &key, &quotas, &event, call.deadline)
            .await?;
        Ok(WithdrawConsentResponse {
            consent: Some(consent_message(&entry)),
        })
    }
}
