//! AcknowledgeCrisisEvent: stores that the caller has seen one of their crisis events.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, reason::Reason, violations::Violations,
};
use haven_proto::data::v1::{AcknowledgeCrisisEventRequest, AcknowledgeCrisisEventResponse};

use super::{CrisisRpc, event::event_to_proto};

impl Handler<AcknowledgeCrisisEventRequest> for CrisisRpc {
    type Answer = AcknowledgeCrisisEventResponse;

    async fn handle(
        &self,
        call: &Call,
        request: AcknowledgeCrisisEventRequest,
    ) -> Result<AcknowledgeCrisisEventResponse, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let id = violations.uuid("event_id", &request.event_id);
        violations.check()?;
        let event = self
            .crisis_events
            .acknowledge(caller, id, self.clock.now(), call.deadline)
            .await?;
        let event = event.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(AcknowledgeCrisisEventResponse {
            event: Some(event_to_proto(&event)),
        })
    }
}
