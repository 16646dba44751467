//! CreateRecord: stores a new record.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::Call, failure::Failure, handler::Handler, mac::MacKeys, request_key::RequestKey,
    violations::Violations,
};
use haven_proto::data::v1::{CreateRecordRequest, CreateRecordResponse};

use super::{
    super::{
        envelope::{self, PayloadPath},
        local_time,
        rotation_notice::WithRotationNotice,
    },
    CycleRpc,
    record::version_message,
};
use crate::domain::encrypted::change::{Change, SingleChange};

impl Handler<CreateRecordRequest> for CycleRpc {
    type Answer = WithRotationNotice<CreateRecordResponse>;

    async fn handle(&self, call: &Call, request: CreateRecordRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let (change, key) = parse(request, &self.requests, self.clock.now())?;
        let created = self.records.create(caller, &change, key, call.deadline).await?;
        if created.now {
            self.changed.of(caller).notify();
        }
        Ok(WithRotationNotice::new(
            CreateRecordResponse {
                record: Some(version_message(created.version)),
            },
            created.next_rotation_at,
            self.clock.now(),
        ))
    }
}

fn parse(
    mut request: CreateRecordRequest,
    requests: &MacKeys,
    now: DateTime<Utc>,
) -> Result<(SingleChange, RequestKey), Failure> {
    let mut violations = Violations::new();
    let key = RequestKey::take(
        "CreateRecord",
        &mut request,
        |request| &mut request.request_id,
        requests,
        &mut violations,
    );
    let device = violations.uuid("device_id", &request.device_id);
    let record_id = violations.optional_uuid("record_id", &request.record_id);
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
            record_id: record_id.unwrap_or(key.id),
            expected_version: 0,
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

    fn request() -> CreateRecordRequest {
        CreateRecordRequest {
            device_id: ID.into(),
            record_id: String::new(),
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
            local_time: Some(Timestamp::default()),
            request_id: OTHER_ID.into(),
        }
    }

    fn parsed(request: CreateRecordRequest) -> Result<(SingleChange, RequestKey), Failure> {
        let key = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
        parse(request, &key, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_record_has_the_given_id_or_the_request_id() {
        let (first, key) = parsed(request()).ok().unwrap();
        assert_eq!(first.change.record_id.to_string(), OTHER_ID);
        assert_eq!(
            (key.id, first.change.expected_version),
            (first.change.record_id, 0)
        );
        let named = CreateRecordRequest {
            record_id: ID.into(),
            ..request()
        };
        let (with_id, other_key) = parsed(named).ok().unwrap();
        assert_eq!(with_id.change.record_id.to_string(), ID);
        assert_ne!(other_key.payload_macs, key.payload_macs);
        let other_request = CreateRecordRequest {
            request_id: ID.into(),
            ..request()
        };
        let (other, other_key) = parsed(other_request).ok().unwrap();
        assert_eq!(other.change.record_id.to_string(), ID);
        assert_eq!(other_key.payload_macs, key.payload_macs);
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let wrong = CreateRecordRequest {
            record_id: "x".into(),
            ..CreateRecordRequest::default()
        };
        let failure = parsed(wrong).err().unwrap();
        assert_eq!(failure.reason(), Reason::EnvelopeInvalid);
        let violations = failure.all_violations().iter();
        let violations: Vec<_> = violations.map(|one| (one.field.as_str(), one.name)).collect();
        let expected = [
            ("request_id", "REQUIRED"),
            ("device_id", "REQUIRED"),
            ("record_id", "NOT_A_UUID"),
            ("encrypted_payload", "REQUIRED"),
            ("crypto_envelope", "REQUIRED"),
            ("local_time", "REQUIRED"),
        ];
        assert_eq!(violations, expected);
        let without_time = CreateRecordRequest {
            local_time: None,
            ..request()
        };
        let failure = parsed(without_time).err().unwrap();
        assert_eq!(failure.reason(), Reason::InvalidField);
    }
}
