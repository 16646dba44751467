//! Listing devices, and what is done to one: its key is rotated, it is suspended, it is revoked.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::{Call, UserId},
    cursor::Cursor,
    failure::Failure,
    mac::MacKey,
    page::PageSize,
    reason::Reason,
    violations::{NO_VALUE, Violations},
};
use haven_proto::data::v1::{
    ListDevicesRequest, ListDevicesResponse, RevokeDeviceRequest, RevokeDeviceResponse,
    RotateDeviceKeyRequest, RotateDeviceKeyResponse, SuspendDeviceRequest, SuspendDeviceResponse,
};
use uuid::Uuid;

use super::{EncryptedRpc, device_message, device_parsing as parsing, notice::Noticed};
use crate::{
    domain::encrypted::device::Device,
    store::{
        encrypted::device::rotate_device_key::{DeviceChangeError, Rotation, Stop, Stopping},
        request::RequestKey,
    },
};

/// What is the same from page to page.
const LIST: &[u8] = b"ListDevices";

impl EncryptedRpc {
    pub(super) async fn list_devices_of(
        &self,
        call: &Call,
        request: ListDevicesRequest,
    ) -> Result<Noticed<ListDevicesResponse>, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let size = PageSize::parse(request.page_size, &mut violations);
        let device = violations.optional_uuid("device_id", &request.device_id);
        let size = violations.finish(size)?;
        let after = self.pages.cursor(caller, LIST, &request.page_token)?;
        let invalid = || Failure::new(Reason::PageTokenInvalid);
        let after = after
            .map(|cursor| Cursor::from_bytes(cursor).ok_or_else(invalid))
            .transpose()?;
        let page = self
            .devices
            .list(caller, call.deadline, device, after, size)
            .await?;
        let last = page.devices.last().filter(|_| page.more);
        let next_page_token = last.map(|last| {
            let place = Cursor {
                at: last.created_at,
                id: last.id,
            };
            self.pages.seal(caller, LIST, &place.to_bytes())
        });
        let now = self.clock.now();
        let devices = page.devices.into_iter();
        Ok(Noticed {
            next_rotation_at: page.next_rotation_at,
            answer: ListDevicesResponse {
                devices: devices.map(|device| device_message(device, now)).collect(),
                next_page_token: next_page_token.unwrap_or_default(),
            },
        })
    }

    pub(super) async fn rotate_device_key_of(
        &self,
        call: &Call,
        request: RotateDeviceKeyRequest,
    ) -> Result<Noticed<RotateDeviceKeyResponse>, Failure> {
        let caller = call.user()?;
        let now = self.clock.now();
        let (rotation, request) = rotation(request, &self.requests, now)?;
        let device = self
            .devices
            .rotate(caller, call.deadline, rotation, request)
            .await?;
        Ok(Noticed {
            next_rotation_at: Some(device.next_rotation_at),
            answer: RotateDeviceKeyResponse {
                device: Some(device_message(device, now)),
            },
        })
    }

    pub(super) async fn suspend_device_of(
        &self,
        call: &Call,
        mut sent: SuspendDeviceRequest,
    ) -> Result<Noticed<SuspendDeviceResponse>, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let (how, requests) = (Stopping::Suspend, &self.requests);
        let request = RequestKey::take(
            how.method(),
            &mut sent,
            |sent| &mut sent.request_id,
            requests,
            &mut violations,
        );
        let id = violations.uuid("device_id", &sent.device_id);
        violations.check()?;
        let device = self.stop(call, caller, id, how, request).await?;
        // The device that is stopped need not be the one that calls, so there is nobody to be told of a rotation.
        Ok(Noticed {
            next_rotation_at: None,
            answer: SuspendDeviceResponse {
                device: Some(device_message(device, self.clock.now())),
            },
        })
    }

    pub(super) async fn revoke_device_of(
        &self,
        call: &Call,
        mut sent: RevokeDeviceRequest,
    ) -> Result<Noticed<RevokeDeviceResponse>, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let (how, requests) = (Stopping::Revoke, &self.requests);
        let request = RequestKey::take(
            how.method(),
            &mut sent,
            |sent| &mut sent.request_id,
            requests,
            &mut violations,
        );
        let id = violations.uuid("device_id", &sent.device_id);
        violations.check()?;
        let device = self.stop(call, caller, id, how, request).await?;
        Ok(Noticed {
            next_rotation_at: None,
            answer: RevokeDeviceResponse {
                device: Some(device_message(device, self.clock.now())),
            },
        })
    }

    async fn stop(
        &self,
        call: &Call,
        caller: UserId,
        id: Uuid,
        how: Stopping,
        request: RequestKey,
    ) -> Result<Device, Failure> {
        let stop = Stop {
            id,
            how,
            at: self.clock.now(),
        };
        let device = self.devices.stop(caller, call.deadline, stop, request).await?;
        // If it watches, it is to hear of it.
        self.changed.of(caller).notify();
        Ok(device)
    }
}

fn rotation(
    mut sent: RotateDeviceKeyRequest,
    requests: &MacKey,
    now: DateTime<Utc>,
) -> Result<(Rotation, RequestKey), Failure> {
    let mut violations = Violations::new();
    let request = RequestKey::take(
        "RotateDeviceKey",
        &mut sent,
        |sent| &mut sent.request_id,
        requests,
        &mut violations,
    );
    let id = violations.uuid("device_id", &sent.device_id);
    parsing::expected_key_version(sent.expected_key_version, &mut violations);
    let wrapped_key = parsing::wrapped_key(sent.encrypted_master_key, &mut violations);
    let key_path = parsing::key_path(sent.key_derivation_path, &mut violations);
    violations.check()?;
    let (wrapped_key, key_path) = wrapped_key
        .zip(key_path)
        .ok_or_else(|| Failure::internal(NO_VALUE))?;
    let rotation = Rotation {
        id,
        expected_key_version: sent.expected_key_version,
        wrapped_key,
        key_path,
        at: now,
    };
    Ok((rotation, request))
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

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKey;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn key() -> MacKey {
        MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests")
    }

    fn parse(sent: RotateDeviceKeyRequest) -> Result<(Rotation, RequestKey), Failure> {
        rotation(sent, &key(), DateTime::UNIX_EPOCH)
    }

    fn sent() -> RotateDeviceKeyRequest {
        RotateDeviceKeyRequest {
            device_id: ID.into(),
            expected_key_version: 1,
            encrypted_master_key: vec![7; 32],
            key_derivation_path: "m".into(),
            request_id: ID.into(),
        }
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let fields = [
            "request_id",
            "device_id",
            "expected_key_version",
            "encrypted_master_key",
            "key_derivation_path",
        ];
        let wrong = RotateDeviceKeyRequest {
            device_id: "x".into(),
            expected_key_version: -1,
            encrypted_master_key: vec![7; 31],
            key_derivation_path: "x".into(),
            request_id: "x".into(),
        };
        for (sent, names) in [
            (RotateDeviceKeyRequest::default(), ["REQUIRED"; 5]),
            (
                wrong,
                ["NOT_A_UUID", "NOT_A_UUID", "REQUIRED", "TOO_SHORT", "NOT_A_PATH"],
            ),
        ] {
            let failure = parse(sent).err().unwrap();
            assert_eq!(failure.reason(), Reason::InvalidField);
            let violations = failure.all_violations().iter();
            let found: Vec<_> = violations.map(|one| (one.field.as_str(), one.name)).collect();
            assert_eq!(found, fields.into_iter().zip(names).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_request_is_known_by_all_of_its_content_but_its_id() {
        let mac = |sent| parse(sent).ok().unwrap().1.payload_mac;
        let first = mac(sent());
        let same = RotateDeviceKeyRequest {
            request_id: OTHER_ID.into(),
            ..sent()
        };
        assert_eq!(first, mac(same));
        let others: [fn(&mut RotateDeviceKeyRequest); 4] = [
            |sent| sent.device_id = OTHER_ID.into(),
            |sent| sent.expected_key_version = 2,
            |sent| sent.encrypted_master_key.push(7),
            |sent| sent.key_derivation_path.push_str("/1"),
        ];
        for change in others {
            let mut other = sent();
            change(&mut other);
            assert_ne!(first, mac(other));
        }
    }
}
