//! GetRecord: returns one record that is not deleted.

use haven_platform::{call::Call, failure::Failure, handler::Handler, violations::Violations};
use haven_proto::data::v1::{GetRecordRequest, GetRecordResponse};

use super::{super::rotation_notice::WithRotationNotice, CycleRpc, record::record_message};

impl Handler<GetRecordRequest> for CycleRpc {
    type Answer = WithRotationNotice<GetRecordResponse>;

    async fn handle(&self, call: &Call, request: GetRecordRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let id = violations.uuid("record_id", &request.record_id);
        let device = violations.optional_uuid("device_id", &request.device_id);
        violations.check()?;
        let found = self.records.get(caller, id, device, call.deadline).await?;
        Ok(WithRotationNotice::new(
            GetRecordResponse {
                record: Some(record_message(found.record)),
            },
            found.next_rotation_at,
            self.clock.now(),
        ))
    }
}
