//! Listing devices, and what is done to one: its key is rotated, it is suspended, it is revoked.

use std::mem;

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    fields::Fields,
    mac::MacKey,
    reason::Reason,
};
use haven_proto::data::v1::{
    ListDevicesRequest, ListDevicesResponse, RevokeDeviceRequest, RevokeDeviceResponse,
    RotateDeviceKeyRequest, RotateDeviceKeyResponse, SuspendDeviceRequest, SuspendDeviceResponse,
};
use prost::Message;
use uuid::Uuid;

use super::{EncryptedRpc, device_parsing as parsing, devices::device_message, notice::Noticed};
use crate::{
    domain::{
        encrypted::device::{Device, KeyPath, WrappedKey},
        place::Place,
    },
    rpc::parsing::{UNSAID, page_size},
    store::{
        encrypted::device_change::{DeviceChangeError, Rotation, Stop, Stopping},
        request::RequestKey,
    },
};

/// What is the same from page to page.
const LIST: &[u8] = b"ListDevices";

/// A key that somebody wants to rotate.
struct Rotate {
    id: Uuid,
    expected_key_version: i32,
    wrapped_key: WrappedKey,
    key_path: KeyPath,
    request: RequestKey,
}

impl EncryptedRpc {
    pub(super) async fn list_devices_of(
        &self,
        call: &Call,
        request: ListDevicesRequest,
    ) -> Result<Noticed<ListDevicesResponse>, Failure> {
        let caller = call.user()?;
        let mut fields = Fields::new();
        let size = page_size(request.page_size, &mut fields);
        let device = fields.optional_uuid("device_id", &request.device_id);
        fields.check()?;
        let size = size.ok_or_else(|| Failure::internal(UNSAID))?;
        let after = self.pages.cursor(caller, LIST, &request.page_token)?;
        let invalid = || Failure::new(Reason::PageTokenInvalid);
        let after = after
            .map(|cursor| Place::from_octets(cursor).ok_or_else(invalid))
            .transpose()?;
        let page = self
            .devices
            .list(caller, call.deadline, device, after, size)
            .await?;
        let last = page.devices.last().filter(|_| page.more);
        let next_page_token = last.map(|last| {
            let place = Place {
                at: last.created_at,
                id: last.id,
            };
            self.pages.seal(caller, LIST, &place.to_octets())
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
        let wanted = Rotate::parse(request, &self.requests)?;
        let now = self.clock.now();
        let rotation = Rotation {
            id: wanted.id,
            expected_key_version: wanted.expected_key_version,
            wrapped_key: wanted.wrapped_key,
            key_path: wanted.key_path,
            at: now,
        };
        let device = self
            .devices
            .rotate(caller, call.deadline, rotation, wanted.request)
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
        mut request: SuspendDeviceRequest,
    ) -> Result<Noticed<SuspendDeviceResponse>, Failure> {
        let caller = call.user()?;
        let mut fields = Fields::new();
        let request_id = fields.uuid("request_id", &mem::take(&mut request.request_id));
        let id = fields.uuid("device_id", &request.device_id);
        fields.check()?;
        let how = Stopping::Suspend;
        let request = self.stop_request(request_id, how, &request);
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
        mut request: RevokeDeviceRequest,
    ) -> Result<Noticed<RevokeDeviceResponse>, Failure> {
        let caller = call.user()?;
        let mut fields = Fields::new();
        let request_id = fields.uuid("request_id", &mem::take(&mut request.request_id));
        let id = fields.uuid("device_id", &request.device_id);
        fields.check()?;
        let how = Stopping::Revoke;
        let request = self.stop_request(request_id, how, &request);
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
        self.changed.of(caller).raise();
        Ok(device)
    }

    /// `request` without its id.
    fn stop_request(&self, id: Uuid, how: Stopping, request: &impl Message) -> RequestKey {
        RequestKey {
            id,
            payload_mac: self
                .requests
                .mac(&[how.method().as_bytes(), &request.encode_to_vec()]),
        }
    }
}

impl Rotate {
    fn parse(mut sent: RotateDeviceKeyRequest, requests: &MacKey) -> Result<Self, Failure> {
        let mut fields = Fields::new();
        let request_id = fields.uuid("request_id", &mem::take(&mut sent.request_id));
        let payload = sent.encode_to_vec();
        let id = fields.uuid("device_id", &sent.device_id);
        parsing::expected_key_version(sent.expected_key_version, &mut fields);
        let wrapped_key = parsing::wrapped_key(sent.encrypted_master_key, &mut fields);
        let key_path = parsing::key_path(sent.key_derivation_path, &mut fields);
        fields.check()?;
        let (wrapped_key, key_path) = wrapped_key
            .zip(key_path)
            .ok_or_else(|| Failure::internal(UNSAID))?;
        Ok(Self {
            id,
            expected_key_version: sent.expected_key_version,
            wrapped_key,
            key_path,
            request: RequestKey {
                id: request_id,
                payload_mac: requests.mac(&[b"RotateDeviceKey", &payload]),
            },
        })
    }
}

impl From<DeviceChangeError> for Failure {
    fn from(error: DeviceChangeError) -> Self {
        match error {
            DeviceChangeError::NotFound => Self::new(Reason::NotFound),
            DeviceChangeError::Revoked => Self::new(Reason::DeviceInactive),
            DeviceChangeError::VersionConflict { current } => {
                Self::new(Reason::VersionConflict).metadata("current_version", current.to_string())
            }
            DeviceChangeError::RequestIdReused => Self::new(Reason::RequestIdReused),
            DeviceChangeError::Database(error) => error.into(),
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

    fn rotation() -> RotateDeviceKeyRequest {
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
            let failure = Rotate::parse(sent, &key()).err().unwrap();
            assert_eq!(failure.reason(), Reason::InvalidField);
            let violations = failure.all_violations().iter();
            let found: Vec<_> = violations.map(|one| (one.field.as_str(), one.name)).collect();
            assert_eq!(found, fields.into_iter().zip(names).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_request_is_known_by_all_of_its_content_but_its_id() {
        let mac = |sent| Rotate::parse(sent, &key()).ok().unwrap().request.payload_mac;
        let first = mac(rotation());
        let same = RotateDeviceKeyRequest {
            request_id: OTHER_ID.into(),
            ..rotation()
        };
        assert_eq!(first, mac(same));
        let others: [fn(&mut RotateDeviceKeyRequest); 4] = [
            |sent| sent.device_id = OTHER_ID.into(),
            |sent| sent.expected_key_version = 2,
            |sent| sent.encrypted_master_key.push(7),
            |sent| sent.key_derivation_path.push_str("/1"),
        ];
        for change in others {
            let mut other = rotation();
            change(&mut other);
            assert_ne!(first, mac(other));
        }
    }
}
