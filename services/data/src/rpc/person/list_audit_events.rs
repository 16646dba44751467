//! ListAuditEvents: what a person did to their devices, their shares and their data.

use haven_platform::cursor::Cursor;
use haven_platform::page::PageSize;
use haven_platform::{call::Call, failure::Failure, reason::Reason, time::timestamp};
use haven_proto::data::v1::{self as proto, ListAuditEventsRequest, ListAuditEventsResponse};

use super::PersonRpc;
use crate::domain::audit::{AuditEvent, AuditEventType};

/// What is the same from page to page.
const LIST: &[u8] = b"ListAuditEvents";

impl PersonRpc {
    pub(in crate::rpc) async fn list_audit_events_of(
        &self,
        call: &Call,
        request: ListAuditEventsRequest,
    ) -> Result<ListAuditEventsResponse, Failure> {
        let caller = call.user()?;
        let size = PageSize::parse_alone(request.page_size)?;
        let after = self.pages.cursor(caller, LIST, &request.page_token)?;
        let invalid = || Failure::new(Reason::PageTokenInvalid);
        let after = after
            .map(|cursor| Cursor::from_bytes(cursor).ok_or_else(invalid))
            .transpose()?;
        let page = self.audit_log.list(caller, call.deadline, after, size).await?;
        let last = page.events.last().filter(|_| page.more);
        let next_page_token = last.map(|last| {
            let place = Cursor {
                at: last.occurred_at,
                id: last.id,
            };
            self.pages.seal(caller, LIST, &place.to_bytes())
        });
        Ok(ListAuditEventsResponse {
            next_page_token: next_page_token.unwrap_or_default(),
            events: page.events.into_iter().map(audit_event_message).collect(),
        })
    }
}

/// An event as it goes over the wire.
pub(in crate::rpc) fn audit_event_message(event: AuditEvent) -> proto::AuditEvent {
    proto::AuditEvent {
        event_id: event.id.to_string(),
        event_type: event_type(event.event).into(),
        subject_id: event.subject_id.map(|id| id.to_string()).unwrap_or_default(),
        event_time: Some(timestamp(event.occurred_at)),
    }
}

fn event_type(event: AuditEventType) -> proto::AuditEventType {
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
    fn each_event_is_stored_and_sent_under_its_own_name() {
        for event in AuditEventType::ALL {
            assert_eq!(AuditEventType::from_name(event.name()), Some(event));
            let sent = format!("AUDIT_EVENT_TYPE_{}", event.name().to_uppercase());
            assert_eq!(event_type(event).as_str_name(), sent);
        }
        assert_eq!(AuditEventType::from_name("signed_in"), None);
    }
}
