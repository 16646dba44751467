use haven_platform::mac::{MacKeys, SecretKeys};
use haven_proto::identity::v1 as proto;

use super::*;
use crate::domain::{consent_versions::ConsentVersions, goals::Goal};

fn grant(document: &str, version: &str) -> proto::ConsentGrant {
    proto::ConsentGrant {
        document: document.into(),
        document_version: version.into(),
    }
}

fn valid_request() -> SignUpRequest {
    SignUpRequest {
        email: "ada@example.org".into(),
        password: "kX9vQ2wZ".into(),
        goals: vec![
            proto::Goal::DatingSkills.into(),
            proto::Goal::MakeFriends.into(),
            proto::Goal::DatingSkills.into(),
        ],
        consents: vec![grant("terms", "2026-01"), grant("terms", "2026-01")],
        request_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
    }
}

fn form(request: SignUpRequest) -> SignUpForm {
    let key = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
    let required = "terms=2026-01".parse().unwrap();
    let versions = ConsentVersions::parse("terms=2025-01,news=1", &required).unwrap();
    SignUpForm::parse(request, &required, &versions, &key)
}

fn refusal(request: SignUpRequest) -> (Reason, Vec<(String, &'static str)>) {
    let failure = form(request).check().unwrap_err();
    let violations = failure
        .all_violations()
        .iter()
        .map(|one| (one.field.clone(), one.name))
        .collect();
    (failure.reason(), violations)
}

#[test]
fn a_valid_request_is_parsed() {
    let sign_up = form(valid_request()).check().unwrap();
    assert_eq!(
        sign_up.goals.iter().collect::<Vec<_>>(),
        [Goal::MakeFriends, Goal::DatingSkills]
    );
    assert_eq!(sign_up.consents.len(), 1);
    assert_eq!(sign_up.email.entered(), "ada@example.org");
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let request = SignUpRequest {
        email: "a..b@localhost".into(),
        password: "short".into(),
        goals: vec![1, 99, 0],
        consents: vec![
            grant("", "1"),
            grant("news", "1"),
            grant("news", "2"),
            grant("terms", "2027-01"),
        ],
        request_id: "x".into(),
    };
    let (reason, violations) = refusal(request);
    assert_eq!(reason, Reason::InvalidField);
    let violations: Vec<_> = violations
        .iter()
        .map(|(field, name)| (field.as_str(), *name))
        .collect();
    let expected = [
        ("request_id", "NOT_A_UUID"),
        ("email", "LOCAL_PART_DOTS"),
        ("email", "DOMAIN_WITHOUT_DOT"),
        ("goals[1]", "UNKNOWN_VALUE"),
        ("goals[2]", "UNKNOWN_VALUE"),
        ("consents[0].document", "DOCUMENT_INVALID"),
        ("consents[2].document", "DUPLICATE"),
        ("consents[3].document_version", "VERSION_UNKNOWN"),
        ("consents", "CONSENT_REQUIRED"),
        ("password", "TOO_SHORT"),
        ("password", "NO_UPPERCASE"),
        ("password", "NO_DIGIT"),
    ];
    assert_eq!(violations, expected);
}

#[test]
fn a_retry_is_read_without_the_rules_for_new_accounts() {
    let today = SignUpRequest {
        password: "weak".into(),
        consents: Vec::new(),
        ..valid_request()
    };
    assert!(form(today.clone()).check().is_err());
    let repeated = form(today).repeated().unwrap();
    assert_eq!(repeated.goals.iter().count(), 2);
    let too_long = SignUpRequest {
        password: "x".repeat(129),
        ..valid_request()
    };
    let failure = form(too_long).repeated().unwrap_err();
    assert_eq!(failure.reason(), Reason::RequestIdReused);
}

#[test]
fn violations_of_one_kind_have_their_own_reason() {
    let only = |request| refusal(request).0;
    assert_eq!(
        only(SignUpRequest {
            password: "short".into(),
            ..valid_request()
        }),
        Reason::PasswordPolicy
    );
    assert_eq!(
        only(SignUpRequest {
            email: String::new(),
            ..valid_request()
        }),
        Reason::EmailInvalid
    );
    assert_eq!(
        only(SignUpRequest {
            consents: vec![grant("terms", "2025-01")],
            ..valid_request()
        }),
        Reason::ConsentRequired
    );
    assert_eq!(
        only(SignUpRequest {
            goals: vec![],
            ..valid_request()
        }),
        Reason::InvalidField
    );
    assert_eq!(
        only(SignUpRequest {
            goals: vec![1; 65],
            ..valid_request()
        }),
        Reason::InvalidField
    );
    let consents = vec![grant("terms", "2026-01"); 21];
    assert_eq!(
        refusal(SignUpRequest {
            consents,
            ..valid_request()
        })
        .1[0],
        ("consents".into(), "TOO_MANY")
    );
}

#[test]
fn a_request_is_recognized_by_everything_but_its_id_and_its_password() {
    let mac = |request| form(request).request.payload_macs;
    let first = mac(valid_request());
    assert_eq!(
        first,
        mac(SignUpRequest {
            password: "other".into(),
            request_id: "other".into(),
            ..valid_request()
        })
    );
    assert_ne!(
        first,
        mac(SignUpRequest {
            email: "Ada@example.org".into(),
            ..valid_request()
        })
    );
    assert_ne!(
        first,
        mac(SignUpRequest {
            goals: vec![1],
            ..valid_request()
        })
    );
}

#[test]
fn debug_output_shows_no_private_values() {
    let (parsed, sign_up) = (
        format!("{:?}", form(valid_request())),
        format!("{:?}", form(valid_request()).check().unwrap()),
    );
    for shown in [parsed, sign_up] {
        assert!(!shown.contains("kX9vQ2wZ") && !shown.contains("ada@"), "{shown}");
    }
}
