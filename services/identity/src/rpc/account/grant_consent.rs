//! GrantConsent: adds a consent to the caller's ledger.

use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    handler::Handler,
    request_key::RequestKey,
    violations::Violations,
};
use haven_proto::identity::v1::{ConsentGrant, GrantConsentRequest, GrantConsentResponse};

use super::{AccountRpc, consent::consent_message};
use crate::{
    domain::{
        audit::AuditEventType,
        consent::{Consent, NewConsent},
    },
    store::account::GrantRules,
};

impl Handler<GrantConsentRequest> for AccountRpc {
    type Answer = GrantConsentResponse;

    async fn handle(
        &self,
        call: &Call,
        mut request: GrantConsentRequest,
    ) -> Result<GrantConsentResponse, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let key = RequestKey::take(
            "GrantConsent",
            &mut request,
            |request| &mut request.request_id,
            &self.request_mac,
            &mut violations,
        );
        let consent = parse_consent(request.consent.as_ref(), &mut violations);
        let consent = violations.finish(consent)?;
        self.ensure_account(call).await?;
        let new = NewConsent {
            id: self.entropy.uuid_v7(&self.clock),
            consent,
        };
        let quotas = self
            .rate_limit_keys
            .person_quota("Mutation", &self.mutation_limits, caller);
        let origin = self.audit_origins.of(call);
        let event = self.consent_event(call, AuditEventType::ConsentGrant, &origin);
        let rules = GrantRules {
            quotas: &quotas,
            max_entries: self.quotas.consents,
            is_accepted: self.consent_versions.accept(&new.consent),
        };
        let entry = self
            .consents
            .grant(caller, &new, &key, &rules, &event, call.deadline)
            .await?;
        Ok(GrantConsentResponse {
            consent: Some(consent_message(&entry)),
        })
    }
}

/// Parses the field `consent`. `None` when it is missing or malformed, which adds a violation.
fn parse_consent(grant: Option<&ConsentGrant>, violations: &mut Violations) -> Option<Consent> {
    let Some(grant) = grant else {
        violations.required("consent");
        return None;
    };
    Consent::parse(&grant.document, &grant.document_version)
        .map_err(|broken| {
            violations.extend(broken.into_iter().map(|rule| {
                let field = format!("consent.{}", rule.field());
                Violation::new(field, rule.name(), rule.description())
            }));
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations_of(grant: Option<ConsentGrant>) -> Vec<(String, &'static str)> {
        let mut violations = Violations::new();
        assert_eq!(parse_consent(grant.as_ref(), &mut violations), None);
        let failure = violations.check().unwrap_err();
        let all = failure.all_violations().iter();
        all.map(|one| (one.field.clone(), one.name)).collect()
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        assert_eq!(violations_of(None), [("consent".to_owned(), "REQUIRED")]);
        assert_eq!(
            violations_of(Some(ConsentGrant::default())),
            [
                ("consent.document".to_owned(), "DOCUMENT_INVALID"),
                ("consent.document_version".to_owned(), "VERSION_INVALID")
            ]
        );
    }
}
