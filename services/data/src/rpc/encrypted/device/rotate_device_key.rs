//! RotateDeviceKey: replaces a device's key, and reactivates the device when it is suspended.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::Call, failure::Failure, handler::Handler, mac::MacKeys, request_key::RequestKey,
    violations::Violations,
};
use haven_proto::data::v1::{RotateDeviceKeyRequest, RotateDeviceKeyResponse};

use super::{super::rotation_notice::WithRotationNotice, DeviceRpc, device_message, fields};
use crate::domain::encrypted::device_change::KeyRotation;

impl Handler<RotateDeviceKeyRequest> for DeviceRpc {
    type Answer = WithRotationNotice<RotateDeviceKeyResponse>;

    async fn handle(&self, call: &Call, request: RotateDeviceKeyRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let now = self.clock.now();
        let (rotation, key) = parse(request, &self.requests, now)?;
        let device = self.devices.rotate(caller, rotation, key, call.deadline).await?;
        let next_rotation_at = Some(device.next_rotation_at);
        Ok(WithRotationNotice::new(
            RotateDeviceKeyResponse {
                device: Some(device_message(device, now)),
            },
            next_rotation_at,
            self.clock.now(),
        ))
    }
}

fn parse(
    mut request: RotateDeviceKeyRequest,
    requests: &MacKeys,
    now: DateTime<Utc>,
) -> Result<(KeyRotation, RequestKey), Failure> {
    let mut violations = Violations::new();
    let key = RequestKey::take(
        "RotateDeviceKey",
        &mut request,
        |request| &mut request.request_id,
        requests,
        &mut violations,
    );
    let id = violations.uuid("device_id", &request.device_id);
    fields::check_expected_key_version(request.expected_key_version, &mut violations);
    let wrapped_key = fields::wrapped_key(request.encrypted_master_key, &mut violations);
    let key_path = fields::key_path(request.key_derivation_path, &mut violations);
    let label = fields::label(request.encrypted_label, &mut violations);
    let (wrapped_key, key_path) = violations.finish(wrapped_key.zip(key_path))?;
    let rotation = KeyRotation {
        id,
        expected_key_version: request.expected_key_version,
        wrapped_key,
        key_path,
        label,
        at: now,
    };
    Ok((rotation, key))
}

#[cfg(test)]
mod tests {
    use haven_platform::{mac::SecretKeys, reason::Reason};

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn parsed(request: RotateDeviceKeyRequest) -> Result<(KeyRotation, RequestKey), Failure> {
        let key = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
        parse(request, &key, DateTime::UNIX_EPOCH)
    }

    fn request() -> RotateDeviceKeyRequest {
        RotateDeviceKeyRequest {
            device_id: ID.into(),
            expected_key_version: 1,
            encrypted_master_key: vec![7; 32],
            key_derivation_path: "m".into(),
            request_id: ID.into(),
            encrypted_label: Vec::new(),
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
            "encrypted_label",
        ];
        let wrong = RotateDeviceKeyRequest {
            device_id: "x".into(),
            expected_key_version: -1,
            encrypted_master_key: vec![7; 31],
            key_derivation_path: "x".into(),
            request_id: "x".into(),
            encrypted_label: vec![7; 27],
        };
        for (request, names) in [
            (RotateDeviceKeyRequest::default(), &["REQUIRED"; 5][..]),
            (
                wrong,
                &[
                    "NOT_A_UUID",
                    "NOT_A_UUID",
                    "REQUIRED",
                    "TOO_SHORT",
                    "NOT_A_PATH",
                    "TOO_SHORT",
                ],
            ),
        ] {
            let failure = parsed(request).err().unwrap();
            assert_eq!(failure.reason(), Reason::InvalidField);
            let violations = failure.all_violations().iter();
            let violations: Vec<_> = violations.map(|one| (one.field.as_str(), one.name)).collect();
            assert_eq!(
                violations,
                fields.into_iter().zip(names.iter().copied()).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn the_payload_hash_covers_every_field_but_the_request_id() {
        let mac = |request| parsed(request).ok().unwrap().1.payload_macs;
        let first = mac(request());
        let other_request_id = RotateDeviceKeyRequest {
            request_id: OTHER_ID.into(),
            ..request()
        };
        assert_eq!(first, mac(other_request_id));
        let changes: [fn(&mut RotateDeviceKeyRequest); 5] = [
            |request| request.device_id = OTHER_ID.into(),
            |request| request.expected_key_version = 2,
            |request| request.encrypted_master_key.push(7),
            |request| request.key_derivation_path.push_str("/1"),
            |request| request.encrypted_label = vec![7; 28],
        ];
        for change in changes {
            let mut other = request();
            change(&mut other);
            assert_ne!(first, mac(other));
        }
    }
}
