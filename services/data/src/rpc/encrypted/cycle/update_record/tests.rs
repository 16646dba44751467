use haven_platform::request_key::RequestKey;
use haven_platform::{mac::SecretKey, reason::Reason};
use haven_proto::data::v1::{CryptoEnvelope, EncryptionAlgorithm, KeyDerivation};
use prost_types::Timestamp;

use super::*;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

fn key() -> MacKey {
    MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests")
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn sent() -> UpdateRecordRequest {
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

fn sent_deletion() -> DeleteRecordRequest {
    DeleteRecordRequest {
        device_id: ID.into(),
        record_id: OTHER_ID.into(),
        expected_version: 3,
        request_id: ID.into(),
    }
}

fn parsed(sent: UpdateRecordRequest) -> Result<(RecordChange, RequestKey), Failure> {
    update(sent, &key(), DateTime::UNIX_EPOCH)
}

fn parsed_deletion(sent: DeleteRecordRequest) -> Result<(RecordChange, RequestKey), Failure> {
    deletion(sent, &key(), DateTime::UNIX_EPOCH)
}

fn violations<T>(parsed: Result<T, Failure>, reason: Reason) -> Vec<String> {
    let failure = parsed.err().unwrap();
    assert_eq!(failure.reason(), reason);
    let violations = failure.all_violations().iter();
    violations
        .map(|one| format!("{} {}", one.field, one.name))
        .collect()
}

#[test]
fn a_change_is_what_was_sent() {
    let (change, request) = parsed(sent()).ok().unwrap();
    assert_eq!(change.device.to_string(), ID);
    assert_eq!(change.record.to_string(), OTHER_ID);
    assert_eq!((change.expected_version, change.at), (3, DateTime::UNIX_EPOCH));
    let content = change.content.unwrap();
    assert_eq!(content.encrypted.payload, [0xff; 40]);
    assert_eq!(content.local_time.timestamp(), 9);
    assert_eq!(request.id.to_string(), ID);
    let (change, _) = parsed_deletion(sent_deletion()).ok().unwrap();
    assert_eq!(change.device.to_string(), ID);
    assert_eq!(change.record.to_string(), OTHER_ID);
    assert!(change.content.is_none());
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let wrong = |expected_version| UpdateRecordRequest {
        device_id: String::new(),
        record_id: "x".into(),
        expected_version,
        local_time: None,
        request_id: String::new(),
        ..sent()
    };
    for version in [0, -1, i64::MIN] {
        let expected = [
            "request_id REQUIRED",
            "device_id REQUIRED",
            "record_id NOT_A_UUID",
            "expected_version REQUIRED",
            "local_time REQUIRED",
        ];
        assert_eq!(violations(parsed(wrong(version)), Reason::InvalidField), expected);
    }
    let found = violations(
        parsed_deletion(DeleteRecordRequest::default()),
        Reason::InvalidField,
    );
    let expected = [
        "request_id REQUIRED",
        "device_id REQUIRED",
        "record_id REQUIRED",
        "expected_version REQUIRED",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_request_is_known_by_all_of_its_content_but_its_id() {
    let mac = |sent| parsed(sent).ok().unwrap().1.payload_mac;
    let first = mac(sent());
    let another_id = UpdateRecordRequest {
        request_id: OTHER_ID.into(),
        ..sent()
    };
    assert_eq!(first, mac(another_id));
    for other in [
        UpdateRecordRequest {
            record_id: ID.into(),
            ..sent()
        },
        UpdateRecordRequest {
            expected_version: 4,
            ..sent()
        },
        UpdateRecordRequest {
            encrypted_payload: vec![0xfe; 40],
            ..sent()
        },
        UpdateRecordRequest {
            local_time: at(10),
            ..sent()
        },
        UpdateRecordRequest {
            crypto_envelope: sent().crypto_envelope.map(|envelope| CryptoEnvelope {
                nonce: vec![3; 12],
                ..envelope
            }),
            ..sent()
        },
    ] {
        assert_ne!(first, mac(other));
    }
    let mac = |sent| parsed_deletion(sent).ok().unwrap().1.payload_mac;
    let first = mac(sent_deletion());
    let another_id = DeleteRecordRequest {
        request_id: OTHER_ID.into(),
        ..sent_deletion()
    };
    assert_eq!(first, mac(another_id));
    for other in [
        DeleteRecordRequest {
            device_id: OTHER_ID.into(),
            ..sent_deletion()
        },
        DeleteRecordRequest {
            record_id: ID.into(),
            ..sent_deletion()
        },
        DeleteRecordRequest {
            expected_version: 2,
            ..sent_deletion()
        },
    ] {
        assert_ne!(first, mac(other));
    }
}
