//! ResolveCrisisEvent: stores that a service has followed up a person's crisis event.

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    handler::Handler,
    reason::Reason,
    violations::Violations,
};
use haven_proto::data::v1::{ResolveCrisisEventRequest, ResolveCrisisEventResponse};

use super::{CrisisRpc, event::event_to_proto};

impl Handler<ResolveCrisisEventRequest> for CrisisRpc {
    type Answer = ResolveCrisisEventResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ResolveCrisisEventRequest,
    ) -> Result<ResolveCrisisEventResponse, Failure> {
        let mut violations = Violations::new();
        let person = UserId::new(violations.uuid("user_id", &request.user_id));
        let id = violations.uuid("event_id", &request.event_id);
        violations.check()?;
        let event = self
            .crisis_events
            .resolve(person, id, self.clock.now(), call.deadline)
            .await?;
        let event = event.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(ResolveCrisisEventResponse {
            event: Some(event_to_proto(&event)),
        })
    }
}
