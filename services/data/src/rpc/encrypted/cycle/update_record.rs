//! UpdateRecord: replaces the content of a record over the version that the device last saw.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::Call, failure::Failure, handler::Handler, mac::MacKeys, request_key::RequestKey,
    violations::Violations,
};
use haven_proto::data::v1::{UpdateRecordRequest, UpdateRecordResponse};

use super::{
    super::{
        envelope::{self, PayloadPath},
        local_time,
        rotation_notice::WithRotationNotice,
    },
    CycleRpc, expected_version,
    record::version_message,
};
use crate::domain::encrypted::change::{Change, SingleChange};

impl Handler<UpdateRecordRequest> for CycleRpc {
    type Answer = WithRotationNotice<UpdateRecordResponse>;

    async fn handle(&self, call: &Call, request: UpdateRecordRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let (change, key) = parse(request, &self.requests, self.clock.now())?;
        let updated = self.records.update(caller, &change, key, call.deadline).await?;
        if updated.now {
            self.changed.of(caller).notify();
        }
        Ok(WithRotationNotice::new(
            UpdateRecordResponse {
                record: Some(version_message(updated.version)),
            },
            updated.next_rotation_at,
            self.clock.now(),
        ))
    }
}

fn parse(
    mut request: UpdateRecordRequest,
    requests: &MacKeys,
    now: DateTime<Utc>,
) -> Result<(SingleChange, RequestKey), Failure> {
    let mut violations = Violations::new();
    let key = RequestKey::take(
        "UpdateRecord",
        &mut request,
        |request| &mut request.request_id,
        requests,
        &mut violations,
    );
    let device = violations.uuid("device_id", &request.device_id);
    let record_id = violations.uuid("record_id", &request.record_id);
    expected_version::check(request.expected_version, &mut violations);
    let content = envelope::parse(
        request.encrypted_payload,
        request.crypto_envelope,
        &PayloadPath::of_device(device),
        &mut violations,
    );
    let local_time = local_time::required("local_time", request.local_time.as_ref(), &mut violations);
    let (content, local_time) = envelope::finish(violations, content.zip(local_time))?;
    let change = SingleChange {
        device,
        change: Change {
            record_id,
            expected_version: request.expected_version,
            content: Some(content),
            local_time: Some(local_time),
            conflict_id: None,
        },
        at: now,
    };
    Ok((change, key))
}

#[cfg(test)]
mod tests {
    use haven_platform::{mac::SecretKeys, reason::Reason};
    use haven_proto::data::v1::{CryptoEnvelope, EncryptionAlgorithm, KeyDerivation};
    use prost_types::Timestamp;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn request() -> UpdateRecordRequest {
        UpdateRecordRequest {
            device_id: ID.into(),
            record_id: OTHER_ID.into(),
            expected_version: 3,
            encrypted_payload: vec![0xff; 40],
            crypto_envelope: Some(CryptoEnvelope {
                envelope_version: 1,
                algorithm: EncryptionAlgorithm::Aes256Gcm.into(),
                key_id: ID.into(),
                key_version: 1,
                nonce: vec![1; 12],
                salt: vec![2; 16],
                key_derivation: Some(KeyDerivation {
                    memory_kib: 19_456,
                    iterations: 2,
                    parallelism: 1,
                }),
                associated_data_version: 1,
            }),
            local_time: at(9),
            request_id: ID.into(),
        }
    }

    fn parsed(request: UpdateRecordRequest) -> Result<(SingleChange, RequestKey), Failure> {
        let key = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
        parse(request, &key, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_change_has_the_fields_of_the_request() {
        let (single, key) = parsed(request()).ok().unwrap();
        assert_eq!(single.device.to_string(), ID);
        assert_eq!(single.change.record_id.to_string(), OTHER_ID);
        assert_eq!(
            (single.change.expected_version, single.at),
            (3, DateTime::UNIX_EPOCH)
        );
        assert_eq!(single.change.content.unwrap().payload, [0xff; 40]);
        assert_eq!(single.change.local_time.unwrap().timestamp(), 9);
        assert_eq!(single.change.conflict_id, None);
        assert_eq!(key.id.to_string(), ID);
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        for expected_version in [0, -1, i64::MIN] {
            let wrong = UpdateRecordRequest {
                device_id: String::new(),
                record_id: "x".into(),
                expected_version,
                local_time: None,
                request_id: String::new(),
                ..request()
            };
            let failure = parsed(wrong).err().unwrap();
            assert_eq!(failure.reason(), Reason::InvalidField);
            let violations = failure.all_violations().iter();
            let violations: Vec<_> = violations.map(|one| (one.field.as_str(), one.name)).collect();
            let expected = [
                ("request_id", "REQUIRED"),
                ("device_id", "REQUIRED"),
                ("record_id", "NOT_A_UUID"),
                ("expected_version", "REQUIRED"),
                ("local_time", "REQUIRED"),
            ];
            assert_eq!(violations, expected);
        }
    }

    #[test]
    fn the_payload_hash_covers_every_field_but_the_request_id() {
        let mac = |request| parsed(request).ok().unwrap().1.payload_macs;
        let first = mac(request());
        let other_request_id = UpdateRecordRequest {
            request_id: OTHER_ID.into(),
            ..request()
        };
        assert_eq!(first, mac(other_request_id));
        for other in [
            UpdateRecordRequest {
                record_id: ID.into(),
                ..request()
            },
            UpdateRecordRequest {
                expected_version: 4,
                ..request()
            },
            UpdateRecordRequest {
                encrypted_payload: vec![0xfe; 40],
                ..request()
            },
            UpdateRecordRequest {
                local_time: at(10),
                ..request()
            },
            UpdateRecordRequest {
                crypto_envelope: request().crypto_envelope.map(|envelope| CryptoEnvelope {
                    nonce: vec![3; 12],
                    ..envelope
                }),
                ..request()
            },
        ] {
            assert_ne!(first, mac(other));
        }
    }
}
