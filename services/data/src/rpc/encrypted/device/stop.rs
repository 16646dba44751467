//! The part that SuspendDevice and RevokeDevice share, and the failures of changes of devices.

use haven_platform::{
    call::Call, failure::Failure, reason::Reason, request_key::RequestKey, violations::Violations,
};

use super::DeviceRpc;
use crate::{
    domain::encrypted::{
        device::Device,
        device_change::{DeviceStop, StopKind},
    },
    store::encrypted::device::DeviceChangeError,
};

impl DeviceRpc {
    /// Stops the device with the id `device`. `violations` has what is wrong with the request so far.
    pub(super) async fn stop(
        &self,
        call: &Call,
        kind: StopKind,
        device: &str,
        key: RequestKey,
        mut violations: Violations,
    ) -> Result<Device, Failure> {
        let caller = call.user()?;
        let id = violations.uuid("device_id", device);
        violations.check()?;
        let stop = DeviceStop {
            id,
            kind,
            at: self.clock.now(),
        };
        let device = self.devices.stop(caller, stop, key, call.deadline).await?;
        // If the device watches the feed, its next read finds that it is stopped.
        self.changed.of(caller).notify();
        Ok(device)
    }
}

impl From<DeviceChangeError> for Failure {
    fn from(error: DeviceChangeError) -> Self {
        match error {
            DeviceChangeError::Caller(error) => error.into(),
            DeviceChangeError::Revoked => Self::new(Reason::DeviceInactive),
            DeviceChangeError::VersionConflict { current } => {
                Self::new(Reason::VersionConflict).metadata("current_version", current.to_string())
            }
            DeviceChangeError::RequestIdReused => Self::new(Reason::RequestIdReused),
        }
    }
}
