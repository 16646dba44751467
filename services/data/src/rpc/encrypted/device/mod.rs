//! `haven.data.v1.DeviceService`: a person's devices and their keys.

mod fields;
mod list_devices;
mod message;
mod register_device;
mod revoke_device;
mod rotate_device_key;
mod stop;
mod suspend_device;

use haven_platform::{entropy::Entropy, mac::MacKeys, page::PageTokens, time::Clock};
use haven_proto::data::v1::{
    ListDevicesRequest, ListDevicesResponse, RegisterDeviceRequest, RegisterDeviceResponse,
    RevokeDeviceRequest, RevokeDeviceResponse, RotateDeviceKeyRequest, RotateDeviceKeyResponse,
    SuspendDeviceRequest, SuspendDeviceResponse, device_service_server::DeviceService,
};

pub(in crate::rpc) use self::message::device_message;
use crate::{notify::PersonNotify, store::encrypted::device::Devices};

/// The gRPC service `haven.data.v1.DeviceService`.
#[derive(Debug)]
pub struct DeviceRpc {
    /// The stored devices of all people.
    pub devices: Devices,
    /// Notifies a person's devices of new changes. A watch of a stopped device ends by it.
    pub changed: PersonNotify,
    /// The key of the keyed hashes of requests.
    pub requests: MacKeys,
    /// The key of the keyed hashes of installation ids.
    pub installations: MacKeys,
    /// Makes and opens page tokens.
    pub pages: PageTokens,
    /// The time of day.
    pub clock: Clock,
    /// The source of new ids.
    pub entropy: Entropy,
}

haven_platform::grpc_service! {
    impl DeviceService for DeviceRpc {
        rpc register_device(RegisterDeviceRequest) -> RegisterDeviceResponse;
        rpc list_devices(ListDevicesRequest) -> ListDevicesResponse;
        rpc rotate_device_key(RotateDeviceKeyRequest) -> RotateDeviceKeyResponse;
        rpc suspend_device(SuspendDeviceRequest) -> SuspendDeviceResponse;
        rpc revoke_device(RevokeDeviceRequest) -> RevokeDeviceResponse;
    }
}
