//! RevokeDevice: revokes a device permanently.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, request_key::RequestKey, violations::Violations,
};
use haven_proto::data::v1::{RevokeDeviceRequest, RevokeDeviceResponse};

use super::{DeviceRpc, device_message};
use crate::domain::encrypted::device_change::StopKind;

impl Handler<RevokeDeviceRequest> for DeviceRpc {
    // No notice of rotation is sent: the device that is revoked may be another one than the device that calls.
    type Answer = RevokeDeviceResponse;

    async fn handle(&self, call: &Call, mut request: RevokeDeviceRequest) -> Result<Self::Answer, Failure> {
        let mut violations = Violations::new();
        let kind = StopKind::Revoke;
        let key = RequestKey::take(
            kind.method(),
            &mut request,
            |request| &mut request.request_id,
            &self.requests,
            &mut violations,
        );
        let device = self.stop(call, kind, &request.device_id, key, violations).await?;
        Ok(RevokeDeviceResponse {
            device: Some(device_message(device, self.clock.now())),
        })
    }
}
