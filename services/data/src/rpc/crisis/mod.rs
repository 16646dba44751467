//! `haven.data.v1.CrisisService`: messages in which somebody may be in danger.

mod watch_crisis_events;

use chrono::DateTime;
use futures_util::stream::BoxStream;
use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    page::PageSize,
    reason::Reason,
    time::timestamp,
    violations::Violations,
};
use haven_proto::data::v1::{
    self as proto, AcknowledgeCrisisEventRequest, AcknowledgeCrisisEventResponse, CrisisResource,
    CrisisSeverityLevel, CrisisTriggerType, ListCrisisEventsRequest, ListCrisisEventsResponse,
    ResolveCrisisEventRequest, ResolveCrisisEventResponse, WatchCrisisEventsRequest,
    WatchCrisisEventsResponse, crisis_service_server::CrisisService,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::DataRpc;
use crate::{
    domain::crisis::{CrisisEvent, Resource, SeverityLevel, TriggerType},
    store::crisis::EventPlace,
};

/// What is the same from page to page.
const LIST: &[u8] = b"ListCrisisEvents";

#[tonic::async_trait]
impl CrisisService for DataRpc {
    type WatchCrisisEventsStream = BoxStream<'static, Result<WatchCrisisEventsResponse, Status>>;

    async fn list_crisis_events(
        &self,
        request: Request<ListCrisisEventsRequest>,
    ) -> Result<Response<ListCrisisEventsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.list_crisis_events_of(&call, request.into_inner()).await?,
        ))
    }

    async fn acknowledge_crisis_event(
        &self,
        request: Request<AcknowledgeCrisisEventRequest>,
    ) -> Result<Response<AcknowledgeCrisisEventResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.acknowledge_crisis_event_of(&call, request.get_ref()).await?,
        ))
    }

    async fn resolve_crisis_event(
        &self,
        request: Request<ResolveCrisisEventRequest>,
    ) -> Result<Response<ResolveCrisisEventResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.resolve_crisis_event_of(&call, request.get_ref()).await?,
        ))
    }

    async fn watch_crisis_events(
        &self,
        request: Request<WatchCrisisEventsRequest>,
    ) -> Result<Response<Self::WatchCrisisEventsStream>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.watch_crisis_events_of(&call, request.get_ref()).await?,
        ))
    }
}

impl DataRpc {
    async fn list_crisis_events_of(
        &self,
        call: &Call,
        request: ListCrisisEventsRequest,
    ) -> Result<ListCrisisEventsResponse, Failure> {
        let caller = call.user()?;
        let size = PageSize::parse_alone(request.page_size)?;
        let after = self.pages.cursor(caller, LIST, &request.page_token)?;
        let after = after.map(place).transpose()?;
        let page = self
            .crisis_events
            .list(caller, call.deadline, after, size)
            .await?;
        let last = page.events.last().filter(|_| page.more);
        let next_page_token = last.map(|last| {
            let micros = last.created_at.timestamp_micros().to_be_bytes();
            let cursor = [micros.as_slice(), last.id.as_bytes()].concat();
            self.pages.seal(caller, LIST, &cursor)
        });
        Ok(ListCrisisEventsResponse {
            next_page_token: next_page_token.unwrap_or_default(),
            events: page.events.iter().map(event_message).collect(),
        })
    }

    async fn acknowledge_crisis_event_of(
        &self,
        call: &Call,
        request: &AcknowledgeCrisisEventRequest,
    ) -> Result<AcknowledgeCrisisEventResponse, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let id = violations.uuid("event_id", &request.event_id);
        violations.check()?;
        let event = self
            .crisis_events
            .acknowledge(caller, call.deadline, id, self.clock.now())
            .await?;
        let event = event.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(AcknowledgeCrisisEventResponse {
            event: Some(event_message(&event)),
        })
    }

    async fn resolve_crisis_event_of(
        &self,
        call: &Call,
        request: &ResolveCrisisEventRequest,
    ) -> Result<ResolveCrisisEventResponse, Failure> {
        let mut violations = Violations::new();
        let person = UserId::new(violations.uuid("user_id", &request.user_id));
        let id = violations.uuid("event_id", &request.event_id);
        violations.check()?;
        let event = self
            .crisis_events
            .resolve(person, call.deadline, id, self.clock.now())
            .await?;
        let event = event.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(ResolveCrisisEventResponse {
            event: Some(event_message(&event)),
        })
    }
}

/// The place that a page token holds.
fn place(cursor: [u8; 24]) -> Result<EventPlace, Failure> {
    let place = cursor.split_first_chunk().and_then(|(micros, id)| {
        Some(EventPlace {
            created_at: DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?,
            id: Uuid::from_slice(id).ok()?,
        })
    });
    place.ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}

/// An event as it goes over the wire.
pub(in crate::rpc) fn event_message(event: &CrisisEvent) -> proto::CrisisEvent {
    proto::CrisisEvent {
        user_id: event.person.to_string(),
        id: event.id.to_string(),
        message_id: event.message_id.map(|id| id.to_string()).unwrap_or_default(),
        trigger_type: trigger_type(event.finding.trigger).into(),
        severity_level: severity_level(event.finding.severity).into(),
        resources: resources(&event.resources),
        followup_required: event.followup_required,
        create_time: Some(timestamp(event.created_at)),
        acknowledge_time: event.acknowledged_at.map(timestamp),
        resolve_time: event.resolved_at.map(timestamp),
    }
}

/// What somebody may be in danger of, as it goes over the wire.
pub(in crate::rpc) fn trigger_type(trigger: TriggerType) -> CrisisTriggerType {
    match trigger {
        TriggerType::Suicide => CrisisTriggerType::Suicide,
        TriggerType::SelfHarm => CrisisTriggerType::SelfHarm,
        TriggerType::Abuse => CrisisTriggerType::Abuse,
        TriggerType::Violence => CrisisTriggerType::Violence,
    }
}

/// How severe it seems, as it goes over the wire.
pub(in crate::rpc) fn severity_level(severity: SeverityLevel) -> CrisisSeverityLevel {
    match severity {
        SeverityLevel::Low => CrisisSeverityLevel::Low,
        SeverityLevel::Moderate => CrisisSeverityLevel::Moderate,
        SeverityLevel::High => CrisisSeverityLevel::High,
        SeverityLevel::Critical => CrisisSeverityLevel::Critical,
    }
}

/// The resources of these ids, as they go over the wire. One that is no longer known is left out: nobody is to call a
/// number that is gone.
pub(in crate::rpc) fn resources(ids: &[String]) -> Vec<CrisisResource> {
    let known = ids.iter().filter_map(|id| Resource::from_id(id));
    known
        .map(|resource| CrisisResource {
            id: resource.id.to_owned(),
            name: resource.name.to_owned(),
            contact: resource.contact.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_goes_out_under_its_own_name() {
        for (trigger, name) in [
            (TriggerType::Suicide, "SUICIDE"),
            (TriggerType::SelfHarm, "SELF_HARM"),
            (TriggerType::Abuse, "ABUSE"),
            (TriggerType::Violence, "VIOLENCE"),
        ] {
            let expected = format!("CRISIS_TRIGGER_TYPE_{name}");
            assert_eq!(trigger_type(trigger).as_str_name(), expected);
        }
        for (severity, name) in [
            (SeverityLevel::Low, "LOW"),
            (SeverityLevel::Moderate, "MODERATE"),
            (SeverityLevel::High, "HIGH"),
            (SeverityLevel::Critical, "CRITICAL"),
        ] {
            let expected = format!("CRISIS_SEVERITY_LEVEL_{name}");
            assert_eq!(severity_level(severity).as_str_name(), expected);
        }
    }

    #[test]
    fn a_place_is_a_time_and_an_id() {
        let mut cursor = [0; 24];
        cursor[7] = 1;
        cursor[23] = 2;
        let expected = EventPlace {
            created_at: DateTime::from_timestamp_micros(1).unwrap(),
            id: Uuid::from_u128(2),
        };
        assert_eq!(place(cursor).unwrap(), expected);
        cursor[..8].copy_from_slice(&i64::MAX.to_be_bytes());
        assert!(place(cursor).is_err());
    }
}
