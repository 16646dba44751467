//! ListAuditEvents: what happened to the caller's account and sessions.

use haven_platform::page::PageSize;
use haven_platform::{call::Call, failure::Failure, time::timestamp};
use haven_proto::identity::v1::{self as proto, ListAuditEventsRequest, ListAuditEventsResponse};

use crate::domain::audit::{AuditEvent, AuditEventType};
use crate::rpc::IdentityRpc;

/// What has to be the same from page to page.
const LIST: &[u8] = b"ListAuditEvents";

impl IdentityRpc {
    pub(in crate::rpc) async fn list_audit_events_of(
        &self,
        call: &Call,
        request: ListAuditEventsRequest,
    ) -> Result<ListAuditEventsResponse, Failure> {
        let caller = call.user()?;
        let size = PageSize::parse_alone(request.page_size)?;
        let after = self.pages.cursor(caller, LIST, &request.page_token)?;
        let after = after.map(i64::from_be_bytes);
        let page = self.audit.list(caller, after, size, call.deadline).await?;
        let next = page.events.last().filter(|_| page.more);
        let next_page_token = next
            .map(|last| self.pages.seal(caller, LIST, &last.number.to_be_bytes()))
            .unwrap_or_default();
        Ok(ListAuditEventsResponse {
            events: page.events.into_iter().map(answer).collect(),
            next_page_token,
        })
    }
}

fn answer(event: AuditEvent) -> proto::AuditEvent {
    let outcome = match event.refused {
        true => proto::AuditOutcome::Refused,
        false => proto::AuditOutcome::Success,
    };
    proto::AuditEvent {
        number: event.number,
        event_type: event_type(event.event).into(),
        outcome: outcome.into(),
        service: event.service.unwrap_or_default(),
        session_id: event.session_id.map(|id| id.to_string()).unwrap_or_default(),
        event_time: Some(timestamp(event.at)),
    }
}

fn event_type(event: AuditEventType) -> proto::AuditEventType {
    match event {
        AuditEventType::SignUp => proto::AuditEventType::SignUp,
        AuditEventType::SignIn => proto::AuditEventType::SignIn,
        AuditEventType::SignOut => proto::AuditEventType::SignOut,
        AuditEventType::PasswordChange => proto::AuditEventType::PasswordChange,
        AuditEventType::TokenReuse => proto::AuditEventType::TokenReuse,
        AuditEventType::ConsentGrant => proto::AuditEventType::ConsentGrant,
        AuditEventType::ConsentWithdraw => proto::AuditEventType::ConsentWithdraw,
        AuditEventType::Stage => proto::AuditEventType::Stage,
        AuditEventType::Deletion => proto::AuditEventType::Deletion,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_names_events_as_the_table_does() {
        for event in AuditEventType::ALL {
            let name = event_type(event).as_str_name().to_lowercase();
            assert_eq!(name, format!("audit_event_type_{}", event.name()));
        }
    }
}
