//! The worst forms that a person can send: each gets all of its violations.

use haven_proto::identity::v1::{ConsentGrant, SignUpRequest};
use haven_testkit::Stack;

use crate::status::{metadata, reason, violations};

/// Breaks every rule of an address that can be broken at once.
fn worst_address() -> String {
    format!("a b\u{202e}(..{}@-_-", "x".repeat(70))
}

#[tokio::test]
async fn a_sign_up_with_everything_wrong_gets_every_violation() {
    let stack = Stack::shared().await.unwrap();
    let grant = |document: &str| ConsentGrant {
        document: document.into(),
        document_version: "An old one".into(),
    };
    let empty = SignUpRequest::default();
    let wrong = SignUpRequest {
        email: worst_address(),
        password: "!".into(),
        // A form has a box for each of seven goals and two consents.
        goals: (100..107).collect(),
        consents: vec![grant("Terms of use"), grant("Privacy policy")],
        request_id: "1".into(),
    };
    for (what, request, at_least) in [("an empty form", empty, 7), ("everything wrong", wrong, 22)] {
        let mut account = stack.anonymous().unwrap().account();
        let status = account.sign_up(request).await.unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELD");
        let found = violations(&status);
        eprintln!(
            "{what}: {} violations in {} bytes, {} in Base64",
            found.len(),
            status.details().len(),
            (status.details().len() * 4).div_ceil(3)
        );
        assert!(found.len() >= at_least, "{what}: {found:?}");
        assert_eq!(metadata(&status, "violations_omitted"), "", "{what}: {found:?}");
        for field in ["request_id", "email", "password", "goals", "consents"] {
            let is_there = found.iter().any(|(path, _)| path.starts_with(field));
            assert!(is_there, "{what}: nothing about {field} in {found:?}");
        }
        assert!(!metadata(&status, "required_consents").is_empty());
    }
}
