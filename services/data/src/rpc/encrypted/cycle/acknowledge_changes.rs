//! AcknowledgeChanges: what a device has dealt with.

use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    violations::Violations,
};
use haven_proto::data::v1::{AcknowledgeChangesRequest, AcknowledgeChangesResponse};

use super::{EncryptedRpc, feed, notice::Noticed};

impl EncryptedRpc {
    pub(super) async fn acknowledge_changes_of(
        &self,
        call: &Call,
        request: AcknowledgeChangesRequest,
    ) -> Result<Noticed<AcknowledgeChangesResponse>, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let device = violations.uuid("device_id", &request.device_id);
        let place = feed::open(&self.pages, caller, &request.cursor, &mut violations);
        if request.cursor.is_empty() {
            violations.add(Violation::new("cursor", "REQUIRED", "A cursor is required here"));
        }
        violations.check()?;
        let place = place.ok_or_else(|| Failure::internal("a cursor without a place"))?;
        let acknowledged = self
            .changes
            .acknowledge(caller, call.deadline, device, place, self.clock.now())
            .await?;
        Ok(Noticed {
            answer: AcknowledgeChangesResponse {
                acknowledged_change_number: acknowledged.number,
                synced_change_number: acknowledged.synced_number,
            },
            next_rotation_at: Some(acknowledged.next_rotation_at),
        })
    }
}
