use haven_platform::{mac::SecretKeys, reason::Reason};
use haven_proto::data::v1::{CryptoEnvelope, EncryptionAlgorithm, KeyDerivation};
use prost_types::Timestamp;

use super::*;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

fn key() -> MacKeys {
    MacKeys::derive(&SecretKeys::one([7; 32]), "requests")
}

fn resolve(resolution: ConflictResolution) -> ResolveConflictRequest {
    ResolveConflictRequest {
        device_id: ID.into(),
        record_id: OTHER_ID.into(),
        expected_version: 2,
        conflict_ids: vec![ID.into()],
        resolution: resolution.into(),
        request_id: ID.into(),
        ..ResolveConflictRequest::default()
    }
}

fn replace() -> ResolveConflictRequest {
    ResolveConflictRequest {
        encrypted_payload: vec![0x93; 32],
        crypto_envelope: Some(CryptoEnvelope {
            envelope_version: 1,
            algorithm: EncryptionAlgorithm::Aes256Gcm.into(),
            key_id: ID.into(),
            key_version: 1,
            nonce: vec![0x91; 12],
            salt: vec![0x92; 16],
            key_derivation: Some(KeyDerivation {
                memory_kib: 19_456,
                iterations: 2,
                parallelism: 1,
            }),
            associated_data_version: 1,
        }),
        local_time: Some(Timestamp::default()),
        ..resolve(ConflictResolution::Replace)
    }
}

fn parsed(request: ResolveConflictRequest) -> Result<(Settlement, RequestKey), Failure> {
    parse(request, &key(), DateTime::UNIX_EPOCH)
}

/// The reason and the violations of a request that is rejected.
fn rejected(request: ResolveConflictRequest) -> (Reason, Vec<String>) {
    let failure = parsed(request).err().expect("a request that is rejected");
    let violations = failure.all_violations().iter();
    let named = violations.map(|one| format!("{} {}", one.field, one.name));
    (failure.reason(), named.collect())
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let (reason, violations) = rejected(ResolveConflictRequest::default());
    assert_eq!(reason, Reason::InvalidField);
    let expected = [
        "request_id REQUIRED",
        "device_id REQUIRED",
        "record_id REQUIRED",
        "expected_version REQUIRED",
        "conflict_ids REQUIRED",
        "resolution REQUIRED",
    ];
    assert_eq!(violations, expected);
    let wrong = ResolveConflictRequest {
        conflict_ids: vec![ID.into(), "x".into(), ID.to_uppercase()],
        resolution: 9,
        ..resolve(ConflictResolution::Keep)
    };
    let expected = [
        "conflict_ids[1] NOT_A_UUID",
        "conflict_ids[2] DUPLICATE",
        "resolution UNKNOWN_VALUE",
    ];
    assert_eq!(rejected(wrong).1, expected);
    let many = ResolveConflictRequest {
        conflict_ids: vec!["x".into(); 101],
        ..resolve(ConflictResolution::Keep)
    };
    assert_eq!(rejected(many).1, ["conflict_ids TOO_MANY"]);
}

#[test]
fn content_is_required_to_replace_a_record_and_forbidden_otherwise() {
    let (settlement, _) = parsed(replace()).unwrap();
    assert!(
        matches!(settlement.resolution, Resolution::Apply(change) if change.content.as_ref().unwrap().payload == vec![0x93; 32])
    );
    let nothing = resolve(ConflictResolution::Replace);
    let (reason, violations) = rejected(nothing);
    assert_eq!(reason, Reason::EnvelopeInvalid);
    let expected = [
        "encrypted_payload REQUIRED",
        "crypto_envelope REQUIRED",
        "local_time REQUIRED",
    ];
    assert_eq!(violations, expected);
    for other in [ConflictResolution::Keep, ConflictResolution::Delete] {
        assert!(parsed(resolve(other)).is_ok());
        let with_content = ResolveConflictRequest {
            resolution: other.into(),
            ..replace()
        };
        let (reason, violations) = rejected(with_content);
        assert_eq!(reason, Reason::EnvelopeInvalid);
        let expected = [
            "encrypted_payload NOT_EMPTY",
            "crypto_envelope NOT_EMPTY",
            "local_time NOT_EMPTY",
        ];
        assert_eq!(violations, expected);
    }
}

#[test]
fn the_payload_hash_covers_every_field_but_the_request_id() {
    let mac = |request| parsed(request).unwrap().1.payload_macs;
    let first = mac(resolve(ConflictResolution::Keep));
    let another_id = ResolveConflictRequest {
        request_id: OTHER_ID.into(),
        ..resolve(ConflictResolution::Keep)
    };
    assert_eq!(first, mac(another_id));
    let another_version = ResolveConflictRequest {
        expected_version: 3,
        ..resolve(ConflictResolution::Keep)
    };
    let another_conflict = ResolveConflictRequest {
        conflict_ids: vec![OTHER_ID.into()],
        ..resolve(ConflictResolution::Keep)
    };
    for other in [
        another_version,
        another_conflict,
        resolve(ConflictResolution::Delete),
        replace(),
    ] {
        assert_ne!(first, mac(other));
    }
}
