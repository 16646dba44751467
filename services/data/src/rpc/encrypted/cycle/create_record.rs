//! Storing a new record: what somebody sends for it, parsed, and what is answered.

use chrono::{DateTime, Utc};
use haven_platform::{call::Call, failure::Failure, mac::MacKey, violations::Violations};
use haven_proto::data::v1::{CreateRecordRequest, CreateRecordResponse};

use super::{
    EncryptedRpc,
    envelope::{self, MOST_BYTES, PayloadPath},
    local_time,
    message::version_message,
    notice::Noticed,
};
use crate::store::{
    encrypted::cycle::change_record::{RecordChange, RecordContent},
    request::RequestKey,
};

impl EncryptedRpc {
    pub(super) async fn create_record_of(
        &self,
        call: &Call,
        request: CreateRecordRequest,
    ) -> Result<Noticed<CreateRecordResponse>, Failure> {
        let owner = call.user()?;
        let (change, request) = parse(request, &self.requests, self.clock.now())?;
        let created = self
            .records
            .create(owner, call.deadline, &change, request)
            .await?;
        if created.now {
            self.changed.of(owner).notify();
        }
        Ok(Noticed {
            answer: CreateRecordResponse {
                record: Some(version_message(created.version)),
            },
            next_rotation_at: created.next_rotation_at,
        })
    }
}

fn parse(
    mut sent: CreateRecordRequest,
    requests: &MacKey,
    now: DateTime<Utc>,
) -> Result<(RecordChange, RequestKey), Failure> {
    let mut violations = Violations::new();
    let request = RequestKey::take(
        "CreateRecord",
        &mut sent,
        |sent| &mut sent.request_id,
        requests,
        &mut violations,
    );
    let device = violations.uuid("device_id", &sent.device_id);
    let record = violations.optional_uuid("record_id", &sent.record_id);
    let place = PayloadPath {
        within: "",
        payload: "encrypted_payload",
        most: MOST_BYTES,
        device: Some(device),
    };
    let encrypted = envelope::encrypted(
        sent.encrypted_payload,
        sent.crypto_envelope,
        &place,
        &mut violations,
    );
    let local_time = local_time::required("local_time", sent.local_time.as_ref(), &mut violations);
    let content = encrypted.zip(local_time);
    let (encrypted, local_time) = envelope::finish(violations, content)?;
    let change = RecordChange {
        device,
        record: record.unwrap_or(request.id),
        expected_version: 0,
        content: Some(RecordContent {
            encrypted,
            local_time,
        }),
        at: now,
    };
    Ok((change, request))
}

#[cfg(test)]
mod tests {
    use haven_platform::{mac::SecretKey, reason::Reason};
    use haven_proto::data::v1::{CryptoEnvelope, EncryptionAlgorithm, KeyDerivation};
    use prost_types::Timestamp;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn sent() -> CreateRecordRequest {
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

    fn parsed(sent: CreateRecordRequest) -> Result<(RecordChange, RequestKey), Failure> {
        let key = MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests");
        parse(sent, &key, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_record_has_the_id_that_it_brings_or_that_of_its_request() {
        let (change, request) = parsed(sent()).ok().unwrap();
        assert_eq!(change.record.to_string(), OTHER_ID);
        assert_eq!((request.id, change.expected_version), (change.record, 0));
        let named = CreateRecordRequest {
            record_id: ID.into(),
            ..sent()
        };
        let (change, named) = parsed(named).ok().unwrap();
        assert_eq!(change.record.to_string(), ID);
        assert_ne!(named.payload_mac, request.payload_mac);
        let again = CreateRecordRequest {
            request_id: ID.into(),
            ..sent()
        };
        let (change, again) = parsed(again).ok().unwrap();
        assert_eq!(change.record.to_string(), ID);
        assert_eq!(again.payload_mac, request.payload_mac);
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
        let found: Vec<_> = violations.map(|one| (one.field.as_str(), one.name)).collect();
        let expected = [
            ("request_id", "REQUIRED"),
            ("device_id", "REQUIRED"),
            ("record_id", "NOT_A_UUID"),
            ("encrypted_payload", "REQUIRED"),
            ("crypto_envelope", "REQUIRED"),
            ("local_time", "REQUIRED"),
        ];
        assert_eq!(found, expected);
        let timeless = CreateRecordRequest {
            local_time: None,
            ..sent()
        };
        let failure = parsed(timeless).err().unwrap();
        assert_eq!(failure.reason(), Reason::InvalidField);
    }
}
