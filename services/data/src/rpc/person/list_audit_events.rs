//! ListAuditEvents: reads the caller's security audit log by pages, the newest event first.

use haven_platform::{
    call::Call, cursor::Cursor, failure::Failure, handler::Handler, page::PageSize, time::timestamp,
};
use haven_proto::data::v1::{self as proto, ListAuditEventsRequest, ListAuditEventsResponse};

use super::PersonRpc;
use crate::domain::audit::{AuditEvent, AuditEventType};

/// The name of this list in page tokens.
const LIST: &[u8] = b"ListAuditEvents";

impl Handler<ListAuditEventsRequest> for PersonRpc {
    type Answer = ListAuditEventsResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ListAuditEventsRequest,
    ) -> Result<ListAuditEventsResponse, Failure> {
        let caller = call.user()?;
        let size = PageSize::parse_alone(request.page_size)?;
        let after = self.pages.time_cursor(caller, LIST, &request.page_token)?;
        let page = self.audit_log.list(caller, after, size, call.deadline).await?;
        let next_page_token = self.pages.next(caller, LIST, &page, |last| {
            let cursor = Cursor {
                at: last.occurred_at,
                id: last.id,
            };
            cursor.to_bytes()
        });
        Ok(ListAuditEventsResponse {
            next_page_token,
            events: page.items.into_iter().map(audit_event_to_proto).collect(),
        })
    }
}

/// Converts an audit event to the response message.
pub(super) fn audit_event_to_proto(event: AuditEvent) -> proto::AuditEvent {
    proto::AuditEvent {
        event_id: event.id.to_string(),
        event_type: event_type_to_proto(event.event).into(),
        subject_id: event.subject_id.map(|id| id.to_string()).unwrap_or_default(),
        event_time: Some(timestamp(event.occurred_at)),
    }
}

/// Converts the type of an audit event to the enum value.
fn event_type_to_proto(event: AuditEventType) -> proto::AuditEventType {
    match event {
        AuditEventType::DeviceRegistered => proto::AuditEventType::DeviceRegistered,
        AuditEventType::DeviceKeyRotated => proto::AuditEventType::DeviceKeyRotated,
        AuditEventType::DeviceSuspended => proto::AuditEventType::DeviceSuspended,
        AuditEventType::DeviceRevoked => proto::AuditEventType::DeviceRevoked,
        AuditEventType::ShareCreated => proto::AuditEventType::ShareCreated,
        AuditEventType::ShareRevoked => proto::AuditEventType::ShareRevoked,
        AuditEventType::DataExported => proto::AuditEventType::DataExported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_type_has_the_enum_value_of_its_name() {
        for event in AuditEventType::ALL {
            assert_eq!(AuditEventType::from_name(event.name()), Some(event));
            let expected = format!("AUDIT_EVENT_TYPE_{}", event.name().to_uppercase());
            assert_eq!(event_type_to_proto(event).as_str_name(), expected);
        }
        assert_eq!(AuditEventType::from_name("signed_in"), None);
    }
}
