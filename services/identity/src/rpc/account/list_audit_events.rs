//! ListAuditEvents: lists the caller's security audit log, newest first.

use haven_platform::{call::Call, failure::Failure, handler::Handler, page::PageSize, time::timestamp};
use haven_proto::identity::v1::{self as proto, ListAuditEventsRequest, ListAuditEventsResponse};

use super::AccountRpc;
use crate::domain::audit::{AuditEvent, AuditEventType};

/// The list that page tokens are bound to.
const LIST: &[u8] = b"ListAuditEvents";

impl Handler<ListAuditEventsRequest> for AccountRpc {
    type Answer = ListAuditEventsResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ListAuditEventsRequest,
    ) -> Result<ListAuditEventsResponse, Failure> {
        let caller = call.user()?;
        let size = PageSize::parse_alone(request.page_size)?;
        let after = self.page_tokens.cursor(caller, LIST, &request.page_token)?;
        let after = after.map(i64::from_be_bytes);
        let page = self.audit_log.list(caller, after, size, call.deadline).await?;
        Ok(ListAuditEventsResponse {
            next_page_token: self
                .page_tokens
                .next(caller, LIST, &page, |last| last.number.to_be_bytes()),
            events: page.items.into_iter().map(event_message).collect(),
        })
    }
}

/// Converts `event` into its message.
pub(super) fn event_message(event: AuditEvent) -> proto::AuditEvent {
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
        AuditEventType::PasswordResetRequest => proto::AuditEventType::PasswordResetRequest,
        AuditEventType::PasswordReset => proto::AuditEventType::PasswordReset,
        AuditEventType::EmailVerificationRequest => proto::AuditEventType::EmailVerificationRequest,
        AuditEventType::EmailVerification => proto::AuditEventType::EmailVerification,
        AuditEventType::EmailChangeRequest => proto::AuditEventType::EmailChangeRequest,
        AuditEventType::EmailChange => proto::AuditEventType::EmailChange,
        AuditEventType::EmailUndo => proto::AuditEventType::EmailUndo,
        AuditEventType::AccountExport => proto::AuditEventType::AccountExport,
        AuditEventType::AccountImport => proto::AuditEventType::AccountImport,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_enum_and_the_table_have_the_same_names() {
        for event in AuditEventType::ALL {
            let name = event_type(event).as_str_name().to_lowercase();
            assert_eq!(name, format!("audit_event_type_{}", event.name()));
        }
    }
}
