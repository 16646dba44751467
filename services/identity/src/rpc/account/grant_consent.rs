//! ListConsents, GrantConsent and WithdrawConsent: what the caller agrees to.

use std::mem;

use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    page::PageSize,
    reason::Reason,
    time::timestamp,
    violations::Violations,
};
use haven_proto::identity::v1::{
    self as proto, GrantConsentRequest, GrantConsentResponse, ListConsentsRequest, ListConsentsResponse,
    WithdrawConsentRequest, WithdrawConsentResponse,
};
use prost::Message as _;
use uuid::Uuid;

use crate::rpc::{IdentityRpc, rate_limit_keys::origin};
use crate::{
    domain::{
        account::NewConsent,
        audit::{AuditEventType, NewAuditEvent, Origin},
        consent::{Consent, ConsentEntry},
    },
    store::{account::consent::ConsentError, request::RequestKey},
};

/// What has to be the same from page to page.
const LIST: &[u8] = b"ListConsents";

impl IdentityRpc {
    pub(in crate::rpc) async fn list_consents_of(
        &self,
        call: &Call,
        request: ListConsentsRequest,
    ) -> Result<ListConsentsResponse, Failure> {
        let caller = call.user()?;
        let size = PageSize::parse_alone(request.page_size)?;
        let after = self.pages.cursor(caller, LIST, &request.page_token)?;
        let after = after.map(Uuid::from_bytes);
        let page = self.consents.list(caller, after, size, call.deadline).await?;
        let next = page.entries.last().filter(|_| page.more);
        let next_page_token = next
            .map(|last| self.pages.seal(caller, LIST, last.id.as_bytes()))
            .unwrap_or_default();
        Ok(ListConsentsResponse {
            consents: page.entries.iter().map(answer).collect(),
            next_page_token,
            required: self.required.iter().map(grant_answer).collect(),
        })
    }

    pub(in crate::rpc) async fn grant_consent_of(
        &self,
        call: &Call,
        mut request: GrantConsentRequest,
    ) -> Result<GrantConsentResponse, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let id = violations.uuid("request_id", &mem::take(&mut request.request_id));
        let key = RequestKey {
            id,
            payload_mac: self.requests.mac(&[b"GrantConsent", &request.encode_to_vec()]),
        };
        let consent = consent(request.consent.as_ref(), &mut violations);
        let consent = violations.finish(consent)?;
        self.ensure_account(call).await?;
        let new = NewConsent {
            id: self.entropy.uuid_v7(&self.clock),
            consent,
        };
        let origin = origin(call, &self.networks);
        let event = self.consent_event(call, AuditEventType::ConsentGrant, &origin);
        let entry = self
            .consents
            .grant(caller, &new, &key, &event, call.deadline)
            .await?;
        Ok(GrantConsentResponse {
            consent: Some(answer(&entry)),
        })
    }

    pub(in crate::rpc) async fn withdraw_consent_of(
        &self,
        call: &Call,
        mut request: WithdrawConsentRequest,
    ) -> Result<WithdrawConsentResponse, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let id = violations.uuid("request_id", &mem::take(&mut request.request_id));
        let consent_id = violations.uuid("consent_id", &request.consent_id);
        violations.check()?;
        let key = RequestKey {
            id,
            // Its canonical form: another spelling of the same id is the same content.
            payload_mac: self.requests.mac(&[b"WithdrawConsent", consent_id.as_bytes()]),
        };
        let origin = origin(call, &self.networks);
        let event = self.consent_event(call, AuditEventType::ConsentWithdraw, &origin);
        let entry = self
            .consents
            .withdraw(caller, consent_id, &key, &event, call.deadline)
            .await?;
        Ok(WithdrawConsentResponse {
            consent: Some(answer(&entry)),
        })
    }

    fn consent_event<'a>(&self, call: &Call, event: AuditEventType, origin: &'a Origin) -> NewAuditEvent<'a> {
        NewAuditEvent {
            event,
            refused: false,
            origin,
            session_id: call.caller.user.and_then(|user| user.own_session()),
            at: self.clock.now(),
        }
    }
}

/// The consent in `sent`.
fn consent(sent: Option<&proto::ConsentGrant>, violations: &mut Violations) -> Option<Consent> {
    let Some(sent) = sent else {
        violations.add(Violation::new(
            "consent",
            "REQUIRED",
            "A document is required here",
        ));
        return None;
    };
    Consent::parse(&sent.document, &sent.document_version)
        .map_err(|broken| {
            violations.extend(broken.into_iter().map(|one| {
                Violation::new(format!("consent.{}", one.field()), one.name(), one.description())
            }));
        })
        .ok()
}

fn answer(entry: &ConsentEntry) -> proto::Consent {
    proto::Consent {
        id: entry.id.to_string(),
        document: entry.consent.document().to_owned(),
        document_version: entry.consent.version().to_owned(),
        grant_time: Some(timestamp(entry.granted_at)),
        withdraw_time: entry.withdrawn_at.map(timestamp),
    }
}

fn grant_answer(consent: &Consent) -> proto::ConsentGrant {
    proto::ConsentGrant {
        document: consent.document().to_owned(),
        document_version: consent.version().to_owned(),
    }
}

impl From<ConsentError> for Failure {
    fn from(error: ConsentError) -> Self {
        match error {
            ConsentError::NotFound => Self::new(Reason::NotFound),
            ConsentError::Erased => Self::new(Reason::AccountErased),
            ConsentError::RequestIdReused => Self::new(Reason::RequestIdReused),
            ConsentError::Database(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(sent: Option<proto::ConsentGrant>) -> Vec<(String, &'static str)> {
        let mut violations = Violations::new();
        assert_eq!(consent(sent.as_ref(), &mut violations), None);
        let failure = violations.check().unwrap_err();
        let all = failure.all_violations().iter();
        all.map(|one| (one.field.clone(), one.name)).collect()
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        assert_eq!(violations(None), [("consent".to_owned(), "REQUIRED")]);
        assert_eq!(
            violations(Some(proto::ConsentGrant::default())),
            [
                ("consent.document".to_owned(), "DOCUMENT_INVALID"),
                ("consent.document_version".to_owned(), "VERSION_INVALID")
            ]
        );
    }
}
