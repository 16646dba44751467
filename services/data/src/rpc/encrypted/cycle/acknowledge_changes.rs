//! AcknowledgeChanges: notes up to which change a device has read the feed.

use haven_platform::{call::Call, failure::Failure, handler::Handler, violations::Violations};
use haven_proto::data::v1::{AcknowledgeChangesRequest, AcknowledgeChangesResponse};

use super::{super::rotation_notice::WithRotationNotice, CycleRpc, sync_cursor};

impl Handler<AcknowledgeChangesRequest> for CycleRpc {
    type Answer = WithRotationNotice<AcknowledgeChangesResponse>;

    async fn handle(&self, call: &Call, request: AcknowledgeChangesRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let device = violations.uuid("device_id", &request.device_id);
        let cursor = sync_cursor::open(&self.pages, caller, &request.cursor, &mut violations);
        if request.cursor.is_empty() {
            violations.required("cursor");
        }
        let cursor = violations.finish(cursor)?;
        let now = self.clock.now();
        let acknowledged = self
            .changes
            .acknowledge(caller, device, cursor, now, call.deadline)
            .await?;
        Ok(WithRotationNotice::new(
            AcknowledgeChangesResponse {
                acknowledged_change_number: acknowledged.number,
                synced_change_number: acknowledged.synced_number,
            },
            Some(acknowledged.next_rotation_at),
            self.clock.now(),
        ))
    }
}
