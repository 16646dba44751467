//! Registering a device: what it says of itself, parsed, and what is answered.

use chrono::TimeDelta;
use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    mac::MacKey,
    reason::Reason,
    violations::{NO_VALUE, Violations},
};
use haven_proto::data::v1::{RegisterDeviceRequest, RegisterDeviceResponse};
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use super::{EncryptedRpc, device_message, device_parsing as parsing, notice::Noticed};
use crate::{
    domain::encrypted::device::{AppVersion, Device, DevicePlatform, DeviceStatus, KeyPath, WrappedKey},
    store::{
        encrypted::device::register_device::{NewDevice, Quota, RegisterError},
        request::RequestKey,
    },
};

/// A device that somebody wants to register.
struct Register {
    /// None: the server makes one up.
    id: Option<Uuid>,
    installation_hash: [u8; 32],
    wrapped_key: WrappedKey,
    key_path: KeyPath,
    platform: DevicePlatform,
    app_version: AppVersion,
    request: RequestKey,
}

impl EncryptedRpc {
    pub(super) async fn register_device_of(
        &self,
        call: &Call,
        request: RegisterDeviceRequest,
    ) -> Result<Noticed<RegisterDeviceResponse>, Failure> {
        let caller = call.user()?;
        let wanted = Register::parse(request, caller, &self.installations, &self.requests)?;
        let now = self.clock.now();
        let new = NewDevice {
            id: wanted.id.unwrap_or_else(|| self.entropy.uuid_v7(&self.clock)),
            installation_hash: wanted.installation_hash,
            wrapped_key: wanted.wrapped_key,
            key_path: wanted.key_path,
            platform: wanted.platform,
            app_version: wanted.app_version,
            next_rotation_at: now + TimeDelta::days(Device::ROTATION_DAYS),
            created_at: now,
        };
        let registered = self
            .devices
            .register(caller, call.deadline, &new, wanted.request)
            .await?;
        // What a retry says of itself is what the first request said, or its keyed hash would be another.
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
        };
        Ok(Noticed {
            next_rotation_at: Some(device.next_rotation_at),
            answer: RegisterDeviceResponse {
                device: Some(device_message(device, now)),
            },
        })
    }
}

impl Register {
    fn parse(
        mut sent: RegisterDeviceRequest,
        caller: UserId,
        installations: &MacKey,
        requests: &MacKey,
    ) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let request = RequestKey::take(
            "RegisterDevice",
            &mut sent,
            |sent| &mut sent.request_id,
            requests,
            &mut violations,
        );
        let id = violations.optional_uuid("device_id", &sent.device_id);
        let installation_id = Zeroizing::new(sent.installation_id);
        parsing::installation_id(&installation_id, &mut violations);
        let wrapped_key = parsing::wrapped_key(sent.encrypted_master_key, &mut violations);
        let key_path = parsing::key_path(sent.key_derivation_path, &mut violations);
        let platform = parsing::platform(sent.platform, &mut violations);
        let app_version = parsing::app_version(sent.app_version, &mut violations);
        violations.check()?;
        let unsaid = || Failure::internal(NO_VALUE);
        Ok(Self {
            id,
            // With the person's id, so that nobody can see that two people use one device.
            installation_hash: installations.mac(&[caller.as_uuid().as_bytes(), installation_id.as_bytes()]),
            wrapped_key: wrapped_key.ok_or_else(unsaid)?,
            key_path: key_path.ok_or_else(unsaid)?,
            platform: platform.ok_or_else(unsaid)?,
            app_version: app_version.ok_or_else(unsaid)?,
            request,
        })
    }
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Unknown(unknown) => unknown.into(),
            RegisterError::DeviceExists => Self::new(Reason::DeviceExists),
            RegisterError::QuotaExceeded(quota) => {
                let (limit, description) = match quota {
                    Quota::Live => ("10", "At most 10 that are not revoked"),
                    Quota::InAll => ("100", "At most 100 in all, with those that are revoked"),
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
    use haven_platform::mac::SecretKey;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn key(purpose: &'static str) -> MacKey {
        MacKey::derive(&SecretKey::new(Box::new([7; 32])), purpose)
    }

    fn parse_as(caller: u128, sent: RegisterDeviceRequest) -> Result<Register, Failure> {
        let caller = UserId::new(Uuid::from_u128(caller));
        Register::parse(sent, caller, &key("installations"), &key("requests"))
    }

    fn registration() -> RegisterDeviceRequest {
        RegisterDeviceRequest {
            device_id: ID.into(),
            installation_id: "x".repeat(16),
            encrypted_master_key: vec![7; 32],
            key_derivation_path: "m/44'".into(),
            platform: 1,
            app_version: "1.0".into(),
            request_id: ID.into(),
        }
    }

    fn violations(sent: RegisterDeviceRequest) -> Vec<(String, &'static str)> {
        let failure = parse_as(1, sent).err().unwrap();
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
            ..registration()
        };
        let expected = [("device_id", "NOT_A_UUID"), ("installation_id", "TOO_LONG")];
        assert_eq!(
            violations(wrong),
            expected.map(|(field, name)| (field.to_owned(), name))
        );
    }

    #[test]
    fn an_installation_may_have_128_characters_of_any_script() {
        let sent = RegisterDeviceRequest {
            installation_id: "é".repeat(128),
            ..registration()
        };
        assert!(parse_as(1, sent).is_ok());
    }

    #[test]
    fn two_people_on_one_device_have_nothing_in_common() {
        let hash = |caller| parse_as(caller, registration()).ok().unwrap().installation_hash;
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }

    #[test]
    fn a_request_is_known_by_all_of_its_content_but_its_id() {
        let mac = |sent| parse_as(1, sent).ok().unwrap().request.payload_mac;
        let first = mac(registration());
        let same = RegisterDeviceRequest {
            request_id: OTHER_ID.into(),
            ..registration()
        };
        assert_eq!(first, mac(same));
        let others: [fn(&mut RegisterDeviceRequest); 6] = [
            |sent| sent.device_id = OTHER_ID.into(),
            |sent| sent.installation_id.push('y'),
            |sent| sent.encrypted_master_key.push(7),
            |sent| sent.key_derivation_path.push_str("/1"),
            |sent| sent.platform = 2,
            |sent| sent.app_version.push('1'),
        ];
        for change in others {
            let mut other = registration();
            change(&mut other);
            assert_ne!(first, mac(other));
        }
    }
}
