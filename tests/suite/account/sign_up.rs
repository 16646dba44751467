//! SignUp: all violations are reported at once, and all spellings of one email address are one account.

use futures_util::future::join_all;
use haven_proto::identity::v1::{ConsentGrant, SignUpRequest};
use haven_testkit::{Stack, client::sign_up_request, random};

use super::PASSWORD;
use crate::{
    retry::retry_call,
    status::{reason, violations},
    superuser_sql::{scalar, scalar_with},
};

#[tokio::test]
async fn every_violation_is_reported_at_once_and_no_row_is_stored() {
    let stack = Stack::start().await.unwrap();
    let consent = |document: &str, version: &str| ConsentGrant {
        document: document.into(),
        document_version: version.into(),
    };
    let request = SignUpRequest {
        email: "a\u{200b}..b@localhost".into(),
        password: "short".into(),
        goals: vec![1, 99],
        consents: vec![
            consent("terms", "2026-01"),
            consent("terms", "2025-01"),
            consent("", "1"),
        ],
        request_id: "1".into(),
    };
    let anonymous = stack.anonymous().unwrap();
    let status = anonymous.account().sign_up(request).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let expected = [
        ("request_id", "NOT_A_UUID"),
        ("email", "INVISIBLE_CHARACTER"),
        ("email", "LOCAL_PART_DOTS"),
        ("email", "DOMAIN_WITHOUT_DOT"),
        ("goals[1]", "UNKNOWN_VALUE"),
        ("consents[1].document", "DUPLICATE"),
        ("consents[2].document", "DOCUMENT_INVALID"),
        ("consents", "CONSENT_REQUIRED"),
        ("password", "TOO_SHORT"),
        ("password", "NO_UPPERCASE"),
        ("password", "NO_DIGIT"),
    ];
    let reported = violations(&status);
    for (field, name) in expected {
        let violation = (field.to_owned(), name.to_owned());
        assert!(
            reported.contains(&violation),
            "{field} {name} is not in {reported:?}"
        );
    }
    let rows: i64 = scalar(
        &stack.database,
        "SELECT (SELECT count(*) FROM identity.users) + (SELECT count(*) FROM identity.consents)
            + (SELECT count(*) FROM identity.requests) + (SELECT count(*) FROM identity.outbox)
            + (SELECT count(*) FROM identity.security_audit_log)",
    )
    .await;
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn concurrent_sign_ups_with_spellings_of_one_address_make_one_account() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let number: u64 = rand::random();
    let spellings = [
        format!("official{number}@b\u{fc}cher.example"),
        format!("OFFICIAL{number}@B\u{dc}CHER.EXAMPLE"),
        format!("o\u{fb03}cial{number}@xn--bcher-kva.example"),
        format!(
            "\u{ff4f}\u{ff46}\u{ff46}\u{ff49}\u{ff43}\u{ff49}\u{ff41}\u{ff4c}{number}@bu\u{308}cher.example"
        ),
        format!("Official{number}\u{ff20}XN--BCHER-KVA\u{3002}example"),
    ];
    let attempts = spellings.iter().cycle().take(20).map(|spelling| async {
        let request = sign_up_request(spelling, PASSWORD);
        let mut accounts = anonymous.account();
        retry_call(request, async |request| accounts.sign_up(request).await).await
    });
    let outcomes = join_all(attempts).await;
    let (made, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for status in refused {
        assert_eq!(reason(&status.unwrap_err()), "EMAIL_TAKEN");
    }
    let accounts: i64 = scalar_with(
        &stack.database,
        "SELECT count(*) FROM identity.users WHERE strpos(email_canonical, $1) > 0",
        number.to_string(),
    )
    .await;
    assert_eq!(accounts, 1);
    for spelling in &spellings {
        anonymous.sign_in(spelling, PASSWORD).await.unwrap();
    }
}

#[tokio::test]
async fn white_space_around_an_address_is_not_a_part_of_it() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let email = format!("Ada-{}@example.org", random::uuid().simple());
    let pasted = format!(" \t{email}\r\n");
    let request = sign_up_request(&pasted, PASSWORD);
    let made = anonymous.account().sign_up(request).await.unwrap().into_inner();
    assert_eq!(made.account.unwrap().email, email);
    for spelling in [&email, &pasted] {
        anonymous.sign_in(spelling, PASSWORD).await.unwrap();
    }
    let request = sign_up_request(&email, PASSWORD);
    let status = anonymous.account().sign_up(request).await.unwrap_err();
    assert_eq!(reason(&status), "EMAIL_TAKEN");
    // Inside, and other invisible characters at the ends, break one rule.
    for wrong in [
        email.replace('@', " @"),
        format!("\u{200b}{email}"),
        format!("{email}\u{a0}"),
        email.replace("example", "exam\u{200d}ple"),
    ] {
        let request = sign_up_request(&wrong, PASSWORD);
        let status = anonymous.account().sign_up(request).await.unwrap_err();
        assert_eq!(reason(&status), "EMAIL_INVALID");
        let expected = ("email".to_owned(), "INVISIBLE_CHARACTER".to_owned());
        assert_eq!(violations(&status), [expected], "{wrong:?}");
    }
}

#[tokio::test]
async fn people_sign_up_with_every_script_and_with_domains_that_need_joiners() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let number: u64 = rand::random();
    for (one, other) in [
        // Cherokee.
        (
            format!("\u{13e3}\u{13b3}\u{13a9}{number}@example.org"),
            format!("\u{abb3}\u{ab83}\u{ab79}{number}@example.org"),
        ),
        // Georgian in capital letters.
        (
            format!("\u{1c93}\u{1c90}{number}@example.org"),
            format!("\u{10d3}\u{10d0}{number}@example.org"),
        ),
        // Persian.
        (
            format!("ada{number}@\u{646}\u{627}\u{645}\u{647}\u{200c}\u{627}\u{6cc}.com"),
            format!("ADA{number}@xn--mgba3gch31f060k.com"),
        ),
    ] {
        let request = sign_up_request(&one, PASSWORD);
        let made = anonymous.account().sign_up(request).await.unwrap().into_inner();
        let person = anonymous.sign_in(&other, PASSWORD).await.unwrap();
        assert_eq!(person.id.to_string(), made.account.unwrap().id);
    }
}

#[tokio::test]
async fn a_sign_up_is_the_first_event_of_the_persons_log() {
    let stack = Stack::shared().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let email = format!("ada-{}@example.org", random::uuid().simple());
    let signed_up = backend
        .account()
        .sign_up(sign_up_request(&email, PASSWORD))
        .await
        .unwrap();
    let user_id = signed_up.into_inner().account.unwrap().id;
    let logged: String = scalar_with(
        &stack.database,
        "SELECT string_agg(number || ' ' || event || ' ' || refused || ' ' || service || ' ' ||
            (network_mac IS NOT NULL) || ' ' || (occurred_at = created_at), ', ')
        FROM identity.security_audit_log JOIN identity.users ON id = user_id WHERE user_id::text = $1",
        user_id,
    )
    .await;
    // Without x-forwarded-for a call of a service has no network.
    assert!(logged.starts_with("1 sign_up false backend "), "{logged}");
    assert!(logged.ends_with(" true"), "{logged}");
}
