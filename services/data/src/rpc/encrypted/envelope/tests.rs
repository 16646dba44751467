//! A case for each rule of an envelope at its edge, by the field's path.

use super::*;
use haven_platform::failure::Violation;

const DEVICE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const OTHER: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

/// Bytes that nobody can read.
fn sealed(bytes: usize) -> Vec<u8> {
    vec![0xa5; bytes]
}

fn good() -> CryptoEnvelope {
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

fn record(within: &str) -> PayloadPath<'_> {
    PayloadPath {
        within,
        payload: "encrypted_payload",
        most: MOST_BYTES,
        device: Some(DEVICE.parse().unwrap()),
    }
}

/// What is wrong: paths and names.
fn wrong(
    payload: Vec<u8>,
    envelope: Option<CryptoEnvelope>,
    place: &PayloadPath<'_>,
) -> Vec<(String, &'static str)> {
    let mut violations = Violations::new();
    let parsed = encrypted(payload, envelope, place, &mut violations);
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

/// The one thing that is wrong with an envelope after `spoil`; nothing is an empty name.
fn spoilt(spoil: impl FnOnce(&mut CryptoEnvelope)) -> (String, &'static str) {
    let mut envelope = good();
    spoil(&mut envelope);
    let mut found = wrong(sealed(16), Some(envelope), &record(""));
    assert!(found.len() <= 1, "{found:?}");
    let (path, name) = found.pop().unwrap_or_default();
    let field = path.strip_prefix("crypto_envelope.").unwrap_or(&path);
    (field.to_owned(), name)
}

fn derivation(memory_kib: i32, iterations: i32, parallelism: i32) -> (String, &'static str) {
    spoilt(|envelope| {
        envelope.key_derivation = Some(proto::KeyDerivation {
            memory_kib,
            iterations,
            parallelism,
        });
    })
}

fn said(field: &str, name: &'static str) -> (String, &'static str) {
    (field.to_owned(), name)
}

#[test]
fn what_keeps_every_rule_is_taken() {
    let fine = said("", "");
    assert_eq!(spoilt(|_| ()), fine);
    assert_eq!(spoilt(|envelope| envelope.key_version = i32::MAX), fine);
    assert_eq!(spoilt(|envelope| envelope.salt = vec![2; 64]), fine);
    let gcm = |envelope: &mut CryptoEnvelope| {
        envelope.algorithm = EncryptionAlgorithm::Aes256Gcm.into();
        envelope.nonce = vec![1; 12];
    };
    assert_eq!(spoilt(gcm), fine);
    assert_eq!(spoilt(|envelope| envelope.key_id = DEVICE.to_uppercase()), fine);
    assert_eq!(derivation(1_048_576, 64, 16), fine);
}

#[test]
fn versions_that_there_are_not() {
    for version in [i32::MIN, 0, 2] {
        assert_eq!(
            spoilt(|envelope| envelope.envelope_version = version),
            said("envelope_version", "UNKNOWN_VERSION")
        );
        assert_eq!(
            spoilt(|envelope| envelope.associated_data_version = version),
            said("associated_data_version", "UNKNOWN_VERSION")
        );
    }
    for version in [i32::MIN, -1, 0] {
        assert_eq!(
            spoilt(|envelope| envelope.key_version = version),
            said("key_version", "OUT_OF_RANGE")
        );
    }
}

#[test]
fn algorithms_and_nonces() {
    for algorithm in [-1, 0, 3] {
        assert_eq!(
            spoilt(|envelope| envelope.algorithm = algorithm),
            said("algorithm", "UNKNOWN_VALUE")
        );
        // A nonce of a length that no algorithm wants is wrong whatever the algorithm is to be.
        for (length, expected) in [(0, 2), (11, 2), (12, 1), (16, 2), (24, 1), (25, 2)] {
            let mut envelope = good();
            (envelope.algorithm, envelope.nonce) = (algorithm, vec![1; length]);
            let names: Vec<_> = wrong(sealed(16), Some(envelope), &record(""))
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
            let found = spoilt(|envelope| {
                envelope.algorithm = algorithm.into();
                envelope.nonce = vec![1; length];
            });
            assert_eq!(found, said("nonce", "NONCE_LENGTH"), "{algorithm:?}, {length}");
        }
    }
}

#[test]
fn keys_of_others() {
    assert_eq!(
        spoilt(|envelope| envelope.key_id = OTHER.to_owned()),
        said("key_id", "KEY_OF_ANOTHER_DEVICE")
    );
    assert_eq!(
        spoilt(|envelope| envelope.key_id.clear()),
        said("key_id", "REQUIRED")
    );
    assert_eq!(
        spoilt(|envelope| envelope.key_id = "key".to_owned()),
        said("key_id", "NOT_A_UUID")
    );
    // A share's key is nobody's; and where the device itself is no id, that is said elsewhere.
    for device in [None, Some(Uuid::nil())] {
        let place = PayloadPath { device, ..record("") };
        assert_eq!(wrong(sealed(16), Some(good()), &place), []);
    }
}

#[test]
fn salts() {
    for length in [0, 15, 65] {
        assert_eq!(
            spoilt(|envelope| envelope.salt = vec![2; length]),
            said("salt", "SALT_LENGTH")
        );
    }
}

#[test]
fn key_derivations() {
    for memory in [i32::MIN, 0, 19_455, 1_048_577] {
        assert_eq!(
            derivation(memory, 2, 1),
            said("key_derivation.memory_kib", "OUT_OF_RANGE")
        );
    }
    for iterations in [0, 1, 65] {
        assert_eq!(
            derivation(19_456, iterations, 1),
            said("key_derivation.iterations", "OUT_OF_RANGE")
        );
    }
    for parallelism in [-1, 0, 17] {
        assert_eq!(
            derivation(19_456, 2, parallelism),
            said("key_derivation.parallelism", "OUT_OF_RANGE")
        );
    }
    assert_eq!(
        spoilt(|envelope| envelope.key_derivation = None),
        said("key_derivation", "REQUIRED")
    );
}

#[test]
fn payloads() {
    let payload = |payload: Vec<u8>, most: usize| {
        let place = PayloadPath { most, ..record("") };
        wrong(payload, Some(good()), &place)
    };
    let said = |name| vec![said("encrypted_payload", name)];
    assert_eq!(payload(sealed(MOST_BYTES), MOST_BYTES), []);
    assert_eq!(payload(sealed(MOST_SHARED_BYTES), MOST_SHARED_BYTES), []);
    assert_eq!(payload(Vec::new(), MOST_BYTES), said("REQUIRED"));
    assert_eq!(payload(sealed(15), MOST_BYTES), said("PAYLOAD_TOO_SHORT"));
    let more = sealed(MOST_BYTES + 1);
    assert_eq!(payload(more, MOST_BYTES), said("PAYLOAD_TOO_LARGE"));
    let more = sealed(MOST_SHARED_BYTES + 1);
    assert_eq!(payload(more, MOST_SHARED_BYTES), said("PAYLOAD_TOO_LARGE"));
    let text = b"I write this down in the clear".to_vec();
    assert_eq!(payload(text, MOST_BYTES), said("PAYLOAD_NOT_ENCRYPTED"));
}

#[test]
fn whoever_sends_too_much_is_told_how_much_is_taken() {
    for (most, expected) in [
        (MOST_BYTES, "A payload has at most 65536 bytes here"),
        (MOST_SHARED_BYTES, "A payload has at most 262144 bytes here"),
    ] {
        let (place, mut violations) = (PayloadPath { most, ..record("") }, Violations::new());
        encrypted(sealed(most + 1), Some(good()), &place, &mut violations);
        let failure = check(violations).unwrap_err();
        assert_eq!(failure.all_violations()[0].description, expected);
    }
}

#[test]
fn everything_is_said_at_once_and_where_it_is() {
    let place = PayloadPath {
        payload: "encrypted_share_data",
        ..record("changes[3].")
    };
    let paths =
        |found: Vec<(String, &'static str)>| found.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    assert_eq!(
        paths(wrong(Vec::new(), None, &place)),
        ["changes[3].encrypted_share_data", "changes[3].crypto_envelope"]
    );
    let mut envelope = CryptoEnvelope::default();
    assert_eq!(
        paths(wrong(sealed(1), Some(envelope.clone()), &place)),
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
    let found = paths(wrong(sealed(1), Some(envelope), &place));
    assert_eq!(found.len(), 10, "{found:?}");
    assert!(found.contains(&"changes[3].crypto_envelope.nonce".to_owned()));
    assert!(found.contains(&"changes[3].crypto_envelope.key_derivation.parallelism".to_owned()));
}

#[test]
fn what_else_is_wrong_is_no_envelope() {
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
