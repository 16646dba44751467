//! `haven.data.v1.DeviceService`, and the audit events of changes to devices.

mod concurrent_changes;
mod device_limits;
mod erasure;
mod list_devices;
mod overdue_rotation;
mod register_device;
mod replace_device;
mod revoke_device;
mod rotate_device_key;
mod suspend_device;

use haven_proto::data::v1::{
    Device, ListDevicesRequest, RegisterDeviceRequest, RevokeDeviceRequest, RotateDeviceKeyRequest,
    SuspendDeviceRequest,
};
use haven_testkit::{Client, Stack, encryption::Secret, random};
use tonic::Status;

use crate::{retry::retry_call, superuser_sql::scalar_with, test_device::registration};

/// Number of concurrent calls.
const CROWD: usize = 15;

/// Returns a client of a new person, who has no device yet.
pub(crate) async fn new_person(stack: &Stack) -> Client {
    stack.user(&stack.person().await.unwrap()).unwrap()
}

/// Returns a request to register a device with ids of its own.
pub(crate) fn new_registration() -> RegisterDeviceRequest {
    registration(&Secret::generate()).unwrap()
}

/// Calls RegisterDevice, and retries the call when the answer allows a retry.
pub(crate) async fn register(client: &Client, request: RegisterDeviceRequest) -> Result<Device, Status> {
    let mut devices = client.device();
    let answer = retry_call(request, async |request| devices.register_device(request).await).await?;
    Ok(answer.device.unwrap())
}

/// Returns a request to rotate the key of a device over its current version.
pub(crate) fn rotate_request(device: &Device) -> RotateDeviceKeyRequest {
    RotateDeviceKeyRequest {
        device_id: device.device_id.clone(),
        expected_key_version: device.key_version,
        encrypted_master_key: Secret::generate().wrapped().unwrap(),
        key_derivation_path: "m/44'/0'/2'".into(),
        request_id: random::uuid().to_string(),
        encrypted_label: Vec::new(),
    }
}

/// Calls RotateDeviceKey, and retries the call when the answer allows a retry.
pub(crate) async fn rotate(client: &Client, request: RotateDeviceKeyRequest) -> Result<Device, Status> {
    let mut devices = client.device();
    let answer = retry_call(request, async |request| devices.rotate_device_key(request).await).await?;
    Ok(answer.device.unwrap())
}

/// Returns a request to suspend a device.
pub(crate) fn suspend_request(device: &Device) -> SuspendDeviceRequest {
    SuspendDeviceRequest {
        device_id: device.device_id.clone(),
        request_id: random::uuid().to_string(),
    }
}

/// Calls SuspendDevice, and retries the call when the answer allows a retry.
pub(crate) async fn suspend(client: &Client, request: SuspendDeviceRequest) -> Result<Device, Status> {
    let mut devices = client.device();
    let answer = retry_call(request, async |request| devices.suspend_device(request).await).await?;
    Ok(answer.device.unwrap())
}

/// Returns a request to revoke a device.
pub(crate) fn revoke_request(device: &Device) -> RevokeDeviceRequest {
    RevokeDeviceRequest {
        device_id: device.device_id.clone(),
        request_id: random::uuid().to_string(),
    }
}

/// Calls RevokeDevice, and retries the call when the answer allows a retry.
pub(crate) async fn revoke(client: &Client, request: RevokeDeviceRequest) -> Result<Device, Status> {
    let mut devices = client.device();
    let answer = retry_call(request, async |request| devices.revoke_device(request).await).await?;
    Ok(answer.device.unwrap())
}

/// Returns all devices of the caller. They always fit on one page.
pub(crate) async fn list_all(client: &Client) -> Vec<Device> {
    let request = ListDevicesRequest {
        page_size: 200,
        ..ListDevicesRequest::default()
    };
    let page = client.device().list_devices(request).await.unwrap().into_inner();
    assert_eq!(page.next_page_token, "");
    page.devices
}

/// Returns three numbers about the person of `device`: the devices that are not revoked, all devices, and the audit
/// events.
async fn counts(stack: &Stack, device: &Device) -> String {
    let sql = "SELECT concat_ws(' ', c.live_devices, c.devices,
            (SELECT count(*) FROM data.security_audit_log AS l WHERE l.user_id = c.user_id))
        FROM data.change_counters AS c JOIN data.device_key AS d ON d.user_id = c.user_id WHERE d.id = $1";
    scalar_with(
        &stack.database,
        sql,
        device.device_id.parse::<uuid::Uuid>().unwrap(),
    )
    .await
}
