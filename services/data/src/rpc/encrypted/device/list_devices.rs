//! ListDevices: lists the caller's devices, including revoked ones, in the order of registration.

use haven_platform::{
    call::Call, cursor::Cursor, failure::Failure, handler::Handler, page::PageSize, violations::Violations,
};
use haven_proto::data::v1::{ListDevicesRequest, ListDevicesResponse};

use super::{super::rotation_notice::WithRotationNotice, DeviceRpc, device_message};

/// The request that page tokens are sealed for: it has no field that must stay the same from page to page.
const LIST: &[u8] = b"ListDevices";

impl Handler<ListDevicesRequest> for DeviceRpc {
    type Answer = WithRotationNotice<ListDevicesResponse>;

    async fn handle(&self, call: &Call, request: ListDevicesRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let size = PageSize::parse(request.page_size, &mut violations);
        let device = violations.optional_uuid("device_id", &request.device_id);
        let size = violations.finish(size)?;
        let after = self.pages.time_cursor(caller, LIST, &request.page_token)?;
        let listed = self
            .devices
            .list(caller, device, after, size, call.deadline)
            .await?;
        let next_page_token = self.pages.next(caller, LIST, &listed.page, |last| {
            let cursor = Cursor {
                at: last.created_at,
                id: last.id,
            };
            cursor.to_bytes()
        });
        let now = self.clock.now();
        let devices = listed.page.items.into_iter();
        Ok(WithRotationNotice::new(
            ListDevicesResponse {
                devices: devices.map(|device| device_message(device, now)).collect(),
                next_page_token,
            },
            listed.next_rotation_at,
            now,
        ))
    }
}
