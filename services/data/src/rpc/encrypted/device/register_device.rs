//! RegisterDevice: registers a device with its wrapped key.

use chrono::TimeDelta;
use haven_platform::{
    call::{Call, UserId},
    failure::{Failure, Violation},
    handler::Handler,
    mac::{MacKeys, StoredMacs},
    reason::Reason,
    request_key::RequestKey,
    violations::{NO_VALUE, Violations},
};
use haven_proto::data::v1::{RegisterDeviceRequest, RegisterDeviceResponse};
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use super::{super::rotation_notice::WithRotationNotice, DeviceRpc, device_message, fields};
use crate::{
    domain::encrypted::{
        device::{AppVersion, Device, DevicePlatform, DeviceStatus, EncryptedLabel, KeyPath, WrappedKey},
        device_change::NewDevice,
    },
    store::encrypted::device::{ExistingDevice, Quota, RegisterError},
};

/// The parsed [`RegisterDeviceRequest`].
struct Register {
    /// The requested id. `None` when the server generates one.
    id: Option<Uuid>,
    installation_hashes: StoredMacs,
    wrapped_key: WrappedKey,
    key_path: KeyPath,
    platform: DevicePlatform,
    app_version: AppVersion,
    label: Option<EncryptedLabel>,
    replaces: Option<Uuid>,
    key: RequestKey,
}

impl Handler<RegisterDeviceRequest> for DeviceRpc {
    type Answer = WithRotationNotice<RegisterDeviceResponse>;

    async fn handle(&self, call: &Call, request: RegisterDeviceRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let register = Register::parse(request, caller, &self.installations, &self.requests)?;
        let now = self.clock.now();
        let new = NewDevice {
            id: register.id.unwrap_or_else(|| self.entropy.uuid_v7(&self.clock)),
            installation_hashes: register.installation_hashes,
            wrapped_key: register.wrapped_key,
            key_path: register.key_path,
            platform: register.platform,
            app_version: register.app_version,
            label: register.label,
            replaces: register.replaces,
            next_rotation_at: now + TimeDelta::days(Device::ROTATION_DAYS),
            created_at: now,
        };
        let registered = self
            .devices
            .register(caller, &new, register.key, call.deadline)
            .await?;
        if new.replaces.is_some() {
            // If the replaced device watches the feed, its next read finds that it is revoked.
            self.changed.of(caller).notify();
        }
        // A retry has the same fields as the first request, because the keyed hash covers them.
        let device = Device {
            id: registered.id,
            platform: new.platform,
            app_version: new.app_version.as_str().to_owned(),
            wrapped_key: Some(new.wrapped_key.into_bytes()),
            key_derivation_path: new.key_path.as_str().to_owned(),
            key_version: 1,
            next_rotation_at: registered.next_rotation_at,
            status: DeviceStatus::Active,
            last_active_at: registered.created_at,
            acknowledged_number: 0,
            created_at: registered.created_at,
            label: new.label.as_ref().map(|label| label.as_bytes().to_vec()),
        };
        Ok(WithRotationNotice::new(
            RegisterDeviceResponse {
                device: Some(device_message(device, now)),
            },
            Some(registered.next_rotation_at),
            self.clock.now(),
        ))
    }
}

impl Register {
    fn parse(
        mut request: RegisterDeviceRequest,
        caller: UserId,
        installations: &MacKeys,
        requests: &MacKeys,
    ) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let key = RequestKey::take(
            "RegisterDevice",
            &mut request,
            |request| &mut request.request_id,
            requests,
            &mut violations,
        );
        let id = violations.optional_uuid("device_id", &request.device_id);
        let installation_id = Zeroizing::new(request.installation_id);
        fields::check_installation_id(&installation_id, &mut violations);
        let wrapped_key = fields::wrapped_key(request.encrypted_master_key, &mut violations);
        let key_path = fields::key_path(request.key_derivation_path, &mut violations);
        let platform = fields::platform(request.platform, &mut violations);
        let app_version = fields::app_version(request.app_version, &mut violations);
        let label = fields::label(request.encrypted_label, &mut violations);
        let replaces = violations.optional_uuid("replace_device_id", &request.replace_device_id);
        // An id that is not a UUID is nil, and has its violation already.
        if replaces.is_some_and(|replaced| !replaced.is_nil()) && replaces == id {
            let description = "replace_device_id must not be device_id: the ID of a device is not used again";
            violations.add(Violation::new("replace_device_id", "SAME_DEVICE", description));
        }
        violations.check()?;
        let no_value = || Failure::internal(NO_VALUE);
        Ok(Self {
            id,
            // With the person's id in it, the hash does not show that two people use one device.
            installation_hashes: installations
                .macs(&[caller.as_uuid().as_bytes(), installation_id.as_bytes()]),
            wrapped_key: wrapped_key.ok_or_else(no_value)?,
            key_path: key_path.ok_or_else(no_value)?,
            platform: platform.ok_or_else(no_value)?,
            app_version: app_version.ok_or_else(no_value)?,
            label,
            replaces,
            key,
        })
    }
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Unknown(unknown) => unknown.into(),
            RegisterError::Caller(error) => error.into(),
            RegisterError::DeviceExists(existing) => {
                let (id, cause) = match existing {
                    ExistingDevice::OfInstallation(id) => (id, "INSTALLATION_REGISTERED"),
                    ExistingDevice::WithId(id) => (id, "DEVICE_ID_USED"),
                };
                Self::new(Reason::DeviceExists)
                    .metadata("device_id", id.to_string())
                    .metadata("cause", cause)
            }
            RegisterError::QuotaExceeded(quota) => {
                let (limit, description) = match quota {
                    Quota::Live => ("10", "At most 10 devices that are not revoked"),
                    Quota::Total => ("100", "At most 100 devices in total, including revoked ones"),
                };
                Self::new(Reason::QuotaExceeded)
                    .metadata("limit", limit)
                    .quota("devices", description)
            }
            RegisterError::RequestIdReused => Self::new(Reason::RequestIdReused),
            RegisterError::Database(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKeys;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn key(purpose: &'static str) -> MacKeys {
        MacKeys::derive(&SecretKeys::one([7; 32]), purpose)
    }

    fn parsed_for(caller: u128, request: RegisterDeviceRequest) -> Result<Register, Failure> {
        let caller = UserId::new(Uuid::from_u128(caller));
        Register::parse(request, caller, &key("installations"), &key("requests"))
    }

    fn request() -> RegisterDeviceRequest {
        RegisterDeviceRequest {
            device_id: ID.into(),
            installation_id: "x".repeat(16),
            encrypted_master_key: vec![7; 32],
            key_derivation_path: "m/44'".into(),
            platform: 1,
            app_version: "1.0".into(),
            request_id: ID.into(),
            replace_device_id: String::new(),
            encrypted_label: Vec::new(),
        }
    }

    fn violations(request: RegisterDeviceRequest) -> Vec<(String, &'static str)> {
        let failure = parsed_for(1, request).err().unwrap();
        assert_eq!(failure.reason(), Reason::InvalidField);
        let violations = failure.all_violations().iter();
        violations.map(|one| (one.field.clone(), one.name)).collect()
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let expected = |names: [&'static str; 6]| {
            let fields = [
                "request_id",
                "installation_id",
                "encrypted_master_key",
                "key_derivation_path",
                "platform",
                "app_version",
            ];
            fields
                .map(str::to_owned)
                .into_iter()
                .zip(names)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            violations(RegisterDeviceRequest::default()),
            expected(["REQUIRED"; 6])
        );
        let wrong = RegisterDeviceRequest {
            device_id: String::new(),
            installation_id: "x".repeat(15),
            encrypted_master_key: vec![7; 1_025],
            key_derivation_path: "44".into(),
            platform: 4,
            app_version: "é".into(),
            request_id: "x".into(),
            ..RegisterDeviceRequest::default()
        };
        let names = [
            "NOT_A_UUID",
            "TOO_SHORT",
            "TOO_LONG",
            "NOT_A_PATH",
            "UNKNOWN_VALUE",
            "NOT_ASCII",
        ];
        assert_eq!(violations(wrong), expected(names));
        let wrong = RegisterDeviceRequest {
            device_id: "x".into(),
            installation_id: "é".repeat(129),
            replace_device_id: "x".into(),
            encrypted_label: vec![7; 257],
            ..request()
        };
        let expected = [
            ("device_id", "NOT_A_UUID"),
            ("installation_id", "TOO_LONG"),
            ("encrypted_label", "TOO_LONG"),
            ("replace_device_id", "NOT_A_UUID"),
        ];
        assert_eq!(
            violations(wrong),
            expected.map(|(field, name)| (field.to_owned(), name))
        );
    }

    #[test]
    fn a_device_does_not_replace_itself() {
        let itself = RegisterDeviceRequest {
            replace_device_id: ID.into(),
            ..request()
        };
        assert_eq!(
            violations(itself),
            [("replace_device_id".to_owned(), "SAME_DEVICE")]
        );
    }

    #[test]
    fn a_label_has_28_to_256_bytes() {
        let accepted = |length| {
            let request = RegisterDeviceRequest {
                encrypted_label: vec![7; length],
                ..request()
            };
            parsed_for(1, request).is_ok()
        };
        let lengths = [0, 1, 27, 28, 256, 257].map(accepted);
        assert_eq!(lengths, [true, false, false, true, true, false]);
    }

    #[test]
    fn an_installation_id_may_have_128_characters_of_any_script() {
        let longest = RegisterDeviceRequest {
            installation_id: "é".repeat(128),
            ..request()
        };
        assert!(parsed_for(1, longest).is_ok());
    }

    #[test]
    fn one_device_has_another_installation_hash_for_each_person() {
        let hash = |caller| parsed_for(caller, request()).ok().unwrap().installation_hashes;
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }

    #[test]
    fn the_payload_hash_covers_every_field_but_the_request_id() {
        let mac = |request| parsed_for(1, request).ok().unwrap().key.payload_macs;
        let first = mac(request());
        let other_request_id = RegisterDeviceRequest {
            request_id: OTHER_ID.into(),
            ..request()
        };
        assert_eq!(first, mac(other_request_id));
        let changes: [fn(&mut RegisterDeviceRequest); 8] = [
            |request| request.device_id = OTHER_ID.into(),
            |request| request.installation_id.push('y'),
            |request| request.encrypted_master_key.push(7),
            |request| request.key_derivation_path.push_str("/1"),
            |request| request.platform = 2,
            |request| request.app_version.push('1'),
            |request| request.replace_device_id = OTHER_ID.into(),
            |request| request.encrypted_label = vec![7; 28],
        ];
        for change in changes {
            let mut other = request();
            change(&mut other);
            assert_ne!(first, mac(other));
        }
    }
}
