//! Reading one record.

use haven_platform::{call::Call, failure::Failure, violations::Violations};
use haven_proto::data::v1::{GetRecordRequest, GetRecordResponse};

use super::{EncryptedRpc, message::record_message, notice::Noticed};

impl EncryptedRpc {
    pub(super) async fn get_record_of(
        &self,
        call: &Call,
        request: GetRecordRequest,
    ) -> Result<Noticed<GetRecordResponse>, Failure> {
        let owner = call.user()?;
        let mut violations = Violations::new();
        let id = violations.uuid("record_id", &request.record_id);
        let device = violations.optional_uuid("device_id", &request.device_id);
        violations.check()?;
        let found = self.records.get(owner, call.deadline, id, device).await?;
        Ok(Noticed {
            answer: GetRecordResponse {
                record: Some(record_message(found.record)),
            },
            next_rotation_at: found.next_rotation_at,
        })
    }
}
