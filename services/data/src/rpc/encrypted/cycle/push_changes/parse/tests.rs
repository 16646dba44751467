use haven_platform::{mac::SecretKeys, reason::Reason};
use haven_proto::data::v1::{CryptoEnvelope, EncryptionAlgorithm, KeyDerivation};
use prost_types::Timestamp;

use super::*;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

fn key() -> MacKeys {
    MacKeys::derive(&SecretKeys::one([7; 32]), "requests")
}

fn envelope() -> CryptoEnvelope {
    CryptoEnvelope {
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
    }
}

fn put() -> proto::Change {
    proto::Change {
        kind: ChangeKind::Put.into(),
        record_id: OTHER_ID.into(),
        expected_version: 0,
        encrypted_payload: vec![0x93; 32],
        crypto_envelope: Some(envelope()),
        local_time: Some(Timestamp::default()),
    }
}

fn delete() -> proto::Change {
    proto::Change {
        kind: ChangeKind::Delete.into(),
        record_id: OTHER_ID.into(),
        expected_version: 1,
        ..proto::Change::default()
    }
}

fn push(changes: Vec<proto::Change>) -> PushChangesRequest {
    PushChangesRequest {
        device_id: ID.into(),
        changes,
        mode: proto::PushMode::Independent.into(),
        request_id: ID.into(),
    }
}

fn parsed(request: PushChangesRequest) -> Result<(Push, RequestKey), Failure> {
    parse(request, &key(), DateTime::UNIX_EPOCH, || Uuid::from_u128(3))
}

/// The reason and the violations of a push that is rejected.
fn rejected(request: PushChangesRequest) -> (Reason, Vec<String>) {
    let failure = parsed(request).err().expect("a push that is rejected");
    let violations = failure.all_violations().iter();
    let named = violations.map(|one| format!("{} {}", one.field, one.name));
    (failure.reason(), named.collect())
}

#[test]
fn changes_keep_their_order() {
    let (made, _) = parsed(push(vec![put(), delete()])).unwrap();
    assert_eq!(made.device.to_string(), ID);
    assert_eq!(made.mode, PushMode::Independent);
    let [first, second] = made.changes.as_slice() else {
        panic!("two changes");
    };
    let content = first.content.as_ref().unwrap();
    assert_eq!(content.payload, vec![0x93; 32]);
    assert_eq!((first.expected_version, second.expected_version), (0, 1));
    assert!(first.local_time.is_some());
    assert!(second.content.is_none() && second.local_time.is_none());
    assert_eq!(first.record_id.to_string(), OTHER_ID);
    assert_eq!(first.conflict_id, Some(Uuid::from_u128(3)));
    let atomic = PushChangesRequest {
        mode: proto::PushMode::Atomic.into(),
        ..push(vec![put()])
    };
    assert_eq!(parsed(atomic).unwrap().0.mode, PushMode::Atomic);
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let (reason, violations) = rejected(PushChangesRequest::default());
    assert_eq!(reason, Reason::InvalidField);
    let expected = [
        "request_id REQUIRED",
        "device_id REQUIRED",
        "mode REQUIRED",
        "changes REQUIRED",
    ];
    assert_eq!(violations, expected);
    let nothing = proto::Change::default();
    let unknown = proto::Change { kind: 9, ..delete() };
    let wrong = PushChangesRequest {
        mode: 9,
        ..push(vec![put(), nothing, unknown])
    };
    let (reason, violations) = rejected(wrong);
    assert_eq!(reason, Reason::InvalidField);
    let expected = [
        "mode UNKNOWN_VALUE",
        "changes[1].record_id REQUIRED",
        "changes[1].kind REQUIRED",
        "changes[2].kind UNKNOWN_VALUE",
    ];
    assert_eq!(violations, expected);
}

#[test]
fn a_push_has_1_to_100_changes() {
    assert!(parsed(push(vec![put(); 100])).is_ok());
    let (reason, violations) = rejected(push(vec![proto::Change::default(); 101]));
    assert_eq!(reason, Reason::InvalidField);
    assert_eq!(violations, ["changes TOO_MANY"]);
}

#[test]
fn a_violation_in_an_envelope_has_the_path_of_its_field() {
    let mut wrong = put();
    wrong.encrypted_payload.truncate(15);
    wrong.crypto_envelope = Some(CryptoEnvelope {
        key_version: 0,
        ..envelope()
    });
    let (reason, violations) = rejected(push(vec![put(), wrong]));
    assert_eq!(reason, Reason::EnvelopeInvalid);
    let fields: Vec<_> = violations
        .iter()
        .map(|one| one.split(' ').next().unwrap())
        .collect();
    let expected = [
        "changes[1].encrypted_payload",
        "changes[1].crypto_envelope.key_version",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn a_change_is_based_on_a_version_that_there_can_be() {
    for (kind, version, expected) in [
        (put(), -1, Some("NEGATIVE")),
        (put(), 0, None),
        (put(), 1, None),
        (put(), i64::MAX - 1, None),
        (put(), i64::MAX, Some("OUT_OF_RANGE")),
        (delete(), -1, Some("NEGATIVE")),
        (delete(), 0, Some("REQUIRED")),
        (delete(), 1, None),
        (delete(), i64::MAX - 1, None),
        (delete(), i64::MAX, Some("OUT_OF_RANGE")),
    ] {
        let change = proto::Change {
            expected_version: version,
            ..kind
        };
        let request = push(vec![change]);
        match expected {
            None => assert!(parsed(request).is_ok(), "{version}"),
            Some(name) => {
                let expected = [format!("changes[0].expected_version {name}")];
                assert_eq!(rejected(request), (Reason::InvalidField, expected.to_vec()));
            }
        }
    }
}

#[test]
fn a_deletion_has_no_content() {
    let with_content = proto::Change {
        expected_version: 1,
        kind: ChangeKind::Delete.into(),
        ..put()
    };
    let (reason, violations) = rejected(push(vec![with_content]));
    assert_eq!(reason, Reason::EnvelopeInvalid);
    let expected = [
        "changes[0].encrypted_payload NOT_EMPTY",
        "changes[0].crypto_envelope NOT_EMPTY",
    ];
    assert_eq!(violations, expected);
    // A deletion may have a time, which must be valid.
    let local_time = Some(Timestamp { seconds: 1, nanos: 0 });
    let timed = proto::Change {
        local_time,
        ..delete()
    };
    let (made, _) = parsed(push(vec![timed])).unwrap();
    assert_eq!(made.changes[0].local_time.unwrap().timestamp(), 1);
    let local_time = Some(Timestamp {
        seconds: 1,
        nanos: -1,
    });
    let (_, violations) = rejected(push(vec![proto::Change {
        local_time,
        ..delete()
    }]));
    assert_eq!(violations, ["changes[0].local_time NOT_A_TIME"]);
    let untimed = proto::Change {
        local_time: None,
        ..put()
    };
    let (_, violations) = rejected(push(vec![untimed]));
    assert_eq!(violations, ["changes[0].local_time REQUIRED"]);
}

#[test]
fn the_payload_hash_covers_every_field_but_the_request_id() {
    let mac = |request| parsed(request).unwrap().1.payload_macs;
    let first = mac(push(vec![put(), delete()]));
    let another_id = PushChangesRequest {
        request_id: OTHER_ID.into(),
        ..push(vec![put(), delete()])
    };
    assert_eq!(first, mac(another_id));
    let atomic = PushChangesRequest {
        mode: proto::PushMode::Atomic.into(),
        ..push(vec![put(), delete()])
    };
    let other_content = proto::Change {
        encrypted_payload: vec![0x94; 32],
        ..put()
    };
    for other in [
        atomic,
        push(vec![put()]),
        push(vec![delete(), put()]),
        push(vec![other_content, delete()]),
    ] {
        assert_ne!(first, mac(other));
    }
}
