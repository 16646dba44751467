//! SuspendDevice: suspends a device until its key is rotated.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, request_key::RequestKey, violations::Violations,
};
use haven_proto::data::v1::{SuspendDeviceRequest, SuspendDeviceResponse};

use super::{DeviceRpc, device_message};
use crate::domain::encrypted::device_change::StopKind;

impl Handler<SuspendDeviceRequest> for DeviceRpc {
    // No notice of rotation is sent: the device that is suspended may be another one than the device that calls.
    type Answer = SuspendDeviceResponse;

    async fn handle(&self, call: &Call, mut request: SuspendDeviceRequest) -> Result<Self::Answer, Failure> {
        let mut violations = Violations::new();
        let kind = StopKind::Suspend;
        let key = RequestKey::take(
            kind.method(),
            &mut request,
            |request| &mut request.request_id,
            &self.requests,
            &mut violations,
        );
        let device = self.stop(call, kind, &request.device_id, key, violations).await?;
        Ok(SuspendDeviceResponse {
            device: Some(device_message(device, self.clock.now())),
        })
    }
}
