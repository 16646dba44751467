//! Each rule of an envelope at its limit, and the path of the field in the violation.

use super::*;
use haven_platform::failure::Violation;

const DEVICE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const OTHER: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

/// Bytes that are not readable as text.
fn ciphertext(bytes: usize) -> Vec<u8> {
    vec![0xa5; bytes]
}

fn valid() -> CryptoEnvelope {
    CryptoEnvelope {
        envelope_version: 1,
        algorithm: EncryptionAlgorithm::Xchacha20Poly1305.into(),
        key_id: DEVICE.to_owned(),
        key_version: 1,
        nonce: vec![1; 24],
        salt: vec![2; 16],
        key_derivation: Some(proto::KeyDerivation {
            memory_kib: 19_456,
            iterations: 2,
            parallelism: 1,
        }),
        associated_data_version: 1,
    }
}

fn record(parent: &str) -> PayloadPath<'_> {
    PayloadPath {
        parent,
        ..PayloadPath::of_device(DEVICE.parse().unwrap())
    }
}

/// The paths and the names of the violations.
fn violations(
    payload: Vec<u8>,
    envelope: Option<CryptoEnvelope>,
    path: &PayloadPath<'_>,
) -> Vec<(String, &'static str)> {
    let mut violations = Violations::new();
    let parsed = parse(payload, envelope, path, &mut violations);
    let Err(failure) = check(violations) else {
        assert!(parsed.is_some());
        return Vec::new();
    };
    assert_eq!(failure.reason(), Reason::EnvelopeInvalid);
    let found = failure.all_violations();
    found
        .iter()
        .map(|violation| (violation.field.clone(), violation.name))
        .collect()
}

/// The only violation of a valid envelope after `change`; empty strings when there is none.
fn violation(change: impl FnOnce(&mut CryptoEnvelope)) -> (String, &'static str) {
    let mut envelope = valid();
    change(&mut envelope);
    let mut found = violations(ciphertext(16), Some(envelope), &record(""));
    assert!(found.len() <= 1, "{found:?}");
    let (path, name) = found.pop().unwrap_or_default();
    let field = path.strip_prefix("crypto_envelope.").unwrap_or(&path);
    (field.to_owned(), name)
}

fn derivation(memory_kib: i32, iterations: i32, parallelism: i32) -> (String, &'static str) {
    violation(|envelope| {
        envelope.key_derivation = Some(proto::KeyDerivation {
            memory_kib,
            iterations,
            parallelism,
        });
    })
}

fn named(field: &str, name: &'static str) -> (String, &'static str) {
    (field.to_owned(), name)
}

#[test]
fn an_envelope_that_keeps_every_rule_is_accepted() {
    let none = named("", "");
    assert_eq!(violation(|_| ()), none);
    assert_eq!(violation(|envelope| envelope.key_version = i32::MAX), none);
    assert_eq!(violation(|envelope| envelope.salt = vec![2; 64]), none);
    let gcm = |envelope: &mut CryptoEnvelope| {
        envelope.algorithm = EncryptionAlgorithm::Aes256Gcm.into();
        envelope.nonce = vec![1; 12];
    };
    assert_eq!(violation(gcm), none);
    assert_eq!(
        violation(|envelope| envelope.key_id = DEVICE.to_uppercase()),
        none
    );
    assert_eq!(derivation(1_048_576, 64, 16), none);
}

#[test]
fn unknown_versions_are_rejected() {
    for version in [i32::MIN, 0, 2] {
        assert_eq!(
            violation(|envelope| envelope.envelope_version = version),
            named("envelope_version", "UNKNOWN_VERSION")
        );
        assert_eq!(
            violation(|envelope| envelope.associated_data_version = version),
            named("associated_data_version", "UNKNOWN_VERSION")
        );
    }
    for version in [i32::MIN, -1, 0] {
        assert_eq!(
            violation(|envelope| envelope.key_version = version),
            named("key_version", "OUT_OF_RANGE")
        );
    }
}

#[test]
fn a_nonce_has_the_length_of_its_algorithm() {
    for algorithm in [-1, 0, 3] {
        assert_eq!(
            violation(|envelope| envelope.algorithm = algorithm),
            named("algorithm", "UNKNOWN_VALUE")
        );
        // With an unknown algorithm, only a length that no algorithm has is a violation.
        for (length, expected) in [(0, 2), (11, 2), (12, 1), (16, 2), (24, 1), (25, 2)] {
            let mut envelope = valid();
            (envelope.algorithm, envelope.nonce) = (algorithm, vec![1; length]);
            let names: Vec<_> = violations(ciphertext(16), Some(envelope), &record(""))
                .into_iter()
                .map(|(_, name)| name)
                .collect();
            assert_eq!(names, ["UNKNOWN_VALUE", "NONCE_LENGTH"][..expected], "{length}");
        }
    }
    for (algorithm, lengths) in [
        (EncryptionAlgorithm::Xchacha20Poly1305, [0, 12, 23, 25]),
        (EncryptionAlgorithm::Aes256Gcm, [0, 11, 13, 24]),
    ] {
        for length in lengths {
            let found = violation(|envelope| {
                envelope.algorithm = algorithm.into();
                envelope.nonce = vec![1; length];
            });
            assert_eq!(found, named("nonce", "NONCE_LENGTH"), "{algorithm:?}, {length}");
        }
    }
}

#[test]
fn the_key_is_the_devices_own() {
    assert_eq!(
        violation(|envelope| envelope.key_id = OTHER.to_owned()),
        named("key_id", "KEY_OF_ANOTHER_DEVICE")
    );
    assert_eq!(
        violation(|envelope| envelope.key_id.clear()),
        named("key_id", "REQUIRED")
    );
    assert_eq!(
        violation(|envelope| envelope.key_id = "key".to_owned()),
        named("key_id", "NOT_A_UUID")
    );
    // A share's key is no device's. An invalid device id is a violation of its own.
    for device in [None, Some(Uuid::nil())] {
        let path = PayloadPath { device, ..record("") };
        assert_eq!(violations(ciphertext(16), Some(valid()), &path), []);
    }
}

#[test]
fn a_salt_has_16_to_64_bytes() {
    for length in [0, 15, 65] {
        assert_eq!(
            violation(|envelope| envelope.salt = vec![2; length]),
            named("salt", "SALT_LENGTH")
        );
    }
}

#[test]
fn the_parameters_of_a_key_derivation_are_in_their_ranges() {
    for memory in [i32::MIN, 0, 19_455, 1_048_577] {
        assert_eq!(
            derivation(memory, 2, 1),
            named("key_derivation.memory_kib", "OUT_OF_RANGE")
        );
    }
    for iterations in [0, 1, 65] {
        assert_eq!(
            derivation(19_456, iterations, 1),
            named("key_derivation.iterations", "OUT_OF_RANGE")
        );
    }
    for parallelism in [-1, 0, 17] {
        assert_eq!(
            derivation(19_456, 2, parallelism),
            named("key_derivation.parallelism", "OUT_OF_RANGE")
        );
    }
    assert_eq!(
        violation(|envelope| envelope.key_derivation = None),
        named("key_derivation", "REQUIRED")
    );
}

#[test]
fn a_payload_is_a_ciphertext_of_limited_size() {
    let payload = |payload: Vec<u8>, max_bytes: usize| {
        let path = PayloadPath {
            max_bytes,
            ..record("")
        };
        violations(payload, Some(valid()), &path)
    };
    let rejected = |name| vec![named("encrypted_payload", name)];
    assert_eq!(payload(ciphertext(MAX_BYTES), MAX_BYTES), []);
    assert_eq!(payload(ciphertext(MAX_SHARED_BYTES), MAX_SHARED_BYTES), []);
    assert_eq!(payload(Vec::new(), MAX_BYTES), rejected("REQUIRED"));
    assert_eq!(payload(ciphertext(15), MAX_BYTES), rejected("PAYLOAD_TOO_SHORT"));
    let more = ciphertext(MAX_BYTES + 1);
    assert_eq!(payload(more, MAX_BYTES), rejected("PAYLOAD_TOO_LARGE"));
    let more = ciphertext(MAX_SHARED_BYTES + 1);
    assert_eq!(payload(more, MAX_SHARED_BYTES), rejected("PAYLOAD_TOO_LARGE"));
    let text = b"I write this down in the clear".to_vec();
    assert_eq!(payload(text, MAX_BYTES), rejected("PAYLOAD_NOT_ENCRYPTED"));
}

#[test]
fn the_violation_of_a_payload_that_is_too_large_has_the_limit() {
    for (max_bytes, expected) in [
        (MAX_BYTES, "the payload must have at most 65536 bytes"),
        (MAX_SHARED_BYTES, "the payload must have at most 262144 bytes"),
    ] {
        let (path, mut violations) = (
            PayloadPath {
                max_bytes,
                ..record("")
            },
            Violations::new(),
        );
        parse(ciphertext(max_bytes + 1), Some(valid()), &path, &mut violations);
        let failure = check(violations).unwrap_err();
        assert_eq!(failure.all_violations()[0].description, expected);
    }
}

#[test]
fn everything_wrong_is_reported_at_once_with_its_path() {
    let path = PayloadPath {
        payload: "encrypted_share_data",
        ..record("changes[3].")
    };
    let paths =
        |found: Vec<(String, &'static str)>| found.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    assert_eq!(
        paths(violations(Vec::new(), None, &path)),
        ["changes[3].encrypted_share_data", "changes[3].crypto_envelope"]
    );
    let mut envelope = CryptoEnvelope::default();
    assert_eq!(
        paths(violations(ciphertext(1), Some(envelope.clone()), &path)),
        [
            "changes[3].encrypted_share_data",
            "changes[3].crypto_envelope.envelope_version",
            "changes[3].crypto_envelope.algorithm",
            "changes[3].crypto_envelope.key_id",
            "changes[3].crypto_envelope.key_version",
            "changes[3].crypto_envelope.nonce",
            "changes[3].crypto_envelope.salt",
            "changes[3].crypto_envelope.key_derivation",
            "changes[3].crypto_envelope.associated_data_version",
        ]
    );
    envelope.algorithm = EncryptionAlgorithm::Aes256Gcm.into();
    envelope.key_derivation = Some(proto::KeyDerivation::default());
    let found = paths(violations(ciphertext(1), Some(envelope), &path));
    assert_eq!(found.len(), 10, "{found:?}");
    assert!(found.contains(&"changes[3].crypto_envelope.nonce".to_owned()));
    assert!(found.contains(&"changes[3].crypto_envelope.key_derivation.parallelism".to_owned()));
}

#[test]
fn the_reason_depends_on_the_fields_of_the_violations() {
    let reason = |field: &str| {
        let mut violations = Violations::new();
        violations.add(Violation::new(field, "REQUIRED", "This is required"));
        check(violations).unwrap_err().reason()
    };
    assert_eq!(reason("record_id"), Reason::InvalidField);
    assert_eq!(reason("changes[0].record_id"), Reason::InvalidField);
    assert_eq!(reason("changes[0].crypto_envelope"), Reason::EnvelopeInvalid);
    assert_eq!(reason("changes[0].encrypted_payload"), Reason::EnvelopeInvalid);
    assert_eq!(reason("encrypted_share_data"), Reason::EnvelopeInvalid);
}
