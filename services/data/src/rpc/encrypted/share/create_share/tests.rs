use chrono::TimeDelta;
use haven_platform::time::CLIENT_CLOCK_SKEW;
use haven_proto::data::v1::{CryptoEnvelope, EncryptionAlgorithm, KeyDerivation};
use prost_types::Timestamp;

use super::*;
use crate::domain::encrypted::share::MAX_LIFETIME;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const OTHER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

const NOW: DateTime<Utc> = DateTime::from_timestamp(1_800_000_000, 0).unwrap();

fn at(time: DateTime<Utc>) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: time.timestamp(),
        nanos: time.timestamp_subsec_nanos() as i32,
    })
}

fn request() -> CreateShareRequest {
    CreateShareRequest {
        share_id: String::new(),
        encrypted_share_data: vec![0xff; 32],
        crypto_envelope: Some(CryptoEnvelope {
            envelope_version: 1,
            algorithm: EncryptionAlgorithm::Xchacha20Poly1305.into(),
            key_id: OTHER_ID.into(),
            key_version: 1,
            nonce: vec![1; 24],
            salt: vec![2; 16],
            key_derivation: Some(KeyDerivation {
                memory_kib: 19_456,
                iterations: 2,
                parallelism: 1,
            }),
            associated_data_version: 1,
        }),
        expire_time: at(NOW + MAX_LIFETIME),
        max_access_count: 1,
        passcode: String::new(),
        request_id: ID.into(),
    }
}

fn violations(request: CreateShareRequest, reason: Reason) -> Vec<(String, &'static str)> {
    let failure = Create::parse(request, NOW).err().unwrap();
    assert_eq!(failure.reason(), reason);
    let violations = failure.all_violations().iter();
    violations.map(|one| (one.field.clone(), one.name)).collect()
}

fn owned<const N: usize>(expected: [(&str, &'static str); N]) -> [(String, &'static str); N] {
    expected.map(|(field, name)| (field.to_owned(), name))
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let expected = owned([
        ("request_id", "REQUIRED"),
        ("encrypted_share_data", "REQUIRED"),
        ("crypto_envelope", "REQUIRED"),
        ("expire_time", "REQUIRED"),
        ("max_access_count", "OUT_OF_RANGE"),
    ]);
    let empty = CreateShareRequest::default();
    assert_eq!(violations(empty, Reason::EnvelopeInvalid), expected);
    let wrong = CreateShareRequest {
        share_id: "x".into(),
        max_access_count: 1_001,
        passcode: "123".into(),
        expire_time: at(NOW),
        ..request()
    };
    let expected = owned([
        ("share_id", "NOT_A_UUID"),
        ("max_access_count", "OUT_OF_RANGE"),
        ("passcode", "PASSCODE_TOO_SHORT"),
        ("expire_time", "NOT_IN_THE_FUTURE"),
    ]);
    assert_eq!(violations(wrong, Reason::InvalidField), expected);
}

#[test]
fn a_share_expires_after_90_days_at_most() {
    for beyond in [TimeDelta::zero(), TimeDelta::milliseconds(50), CLIENT_CLOCK_SKEW] {
        let request = CreateShareRequest {
            expire_time: at(NOW + MAX_LIFETIME + beyond),
            ..request()
        };
        let create = Create::parse(request, NOW).ok().unwrap();
        assert_eq!(create.expires_at, Ok(NOW + MAX_LIFETIME), "{beyond}");
    }
}

/// The request may be a retry. The database rejects a first request with such a time.
#[test]
fn an_expiry_time_that_no_share_can_have_is_a_violation_only_beside_another_one() {
    let too_late = NOW + MAX_LIFETIME + CLIENT_CLOCK_SKEW + TimeDelta::microseconds(1);
    for (time, problem, name) in [
        (
            NOW - TimeDelta::days(1),
            ExpiryProblem::NotInTheFuture,
            "NOT_IN_THE_FUTURE",
        ),
        (too_late, ExpiryProblem::TooLate, "TOO_LATE"),
    ] {
        let alone = CreateShareRequest {
            expire_time: at(time),
            ..request()
        };
        let create = Create::parse(alone.clone(), NOW).ok().unwrap();
        assert_eq!(create.expires_at, Err(problem));
        let beside = CreateShareRequest {
            max_access_count: 0,
            ..alone
        };
        let expected = owned([("max_access_count", "OUT_OF_RANGE"), ("expire_time", name)]);
        assert_eq!(violations(beside, Reason::InvalidField), expected);
    }
}

#[test]
fn a_share_has_the_given_id_or_the_request_id() {
    let id = |share_id: &str| {
        let request = CreateShareRequest {
            share_id: share_id.into(),
            ..request()
        };
        Create::parse(request, NOW).ok().unwrap().share_id.to_string()
    };
    assert_eq!(id(""), ID);
    assert_eq!(id(OTHER_ID), OTHER_ID);
}

#[test]
fn the_encoded_request_has_every_field_but_the_request_id_and_the_passcode() {
    let encoded = |request| Create::parse(request, NOW).ok().unwrap().encoded;
    let first = encoded(request());
    let same = CreateShareRequest {
        request_id: OTHER_ID.into(),
        passcode: "1234".into(),
        ..request()
    };
    assert_eq!(encoded(same), first);
    for other in [
        CreateShareRequest {
            share_id: OTHER_ID.into(),
            ..request()
        },
        CreateShareRequest {
            encrypted_share_data: vec![0xfe; 32],
            ..request()
        },
        CreateShareRequest {
            expire_time: at(NOW + TimeDelta::days(1)),
            ..request()
        },
        CreateShareRequest {
            max_access_count: 2,
            ..request()
        },
    ] {
        assert_ne!(encoded(other), first);
    }
}
