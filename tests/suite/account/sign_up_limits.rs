//! Rate limits of SignUp: by network, by email address and by service. SignIn counts its limits in the same way.

use std::time::Duration;

use haven_proto::identity::v1::{
    CheckPasswordRequest, ConsentGrant, GrantConsentRequest, ListAccountsRequest, SignInRequest,
    SignUpRequest,
};
use haven_testkit::{Client, Stack, client::sign_up_request, random};
use tonic::Status;
use tonic_types::StatusExt;

use super::{PASSWORD, forwarded_for};
use crate::{
    metrics::Metrics,
    status::reason,
    superuser_sql::{execute, scalar},
};

/// Starts a stack with these `SIGN_UP_LIMITS`.
async fn stack(sign_up_limits: &str) -> Stack {
    let limited = Stack::builder().variable("identity", "SIGN_UP_LIMITS", sign_up_limits);
    limited.start().await.unwrap()
}

/// Calls SignUp, with `address` as `x-forwarded-for` if given.
async fn attempt(client: &Client, address: Option<&str>, request: SignUpRequest) -> Result<(), Status> {
    let request = match address {
        Some(address) => forwarded_for(address, request),
        None => tonic::Request::new(request),
    };
    client.account().sign_up(request).await.map(drop)
}

/// Returns a SignUp request of a new person.
fn new_person() -> SignUpRequest {
    sign_up_request(&format!("person-{}@example.org", random::uuid()), PASSWORD)
}

/// Returns the subjects of the limits that a call exceeded. Its RetryInfo must be at most `longest`.
fn exceeded_limits(outcome: Result<(), Status>, longest: Duration) -> Vec<String> {
    let status = outcome.unwrap_err();
    assert_eq!(reason(&status), "RATE_LIMITED");
    let details = status.get_error_details();
    let delay = details.retry_info().and_then(|retry| retry.retry_delay).unwrap();
    assert!(!delay.is_zero() && delay <= longest, "{delay:?}");
    let quotas = &details.quota_failure().unwrap().violations;
    assert!(
        quotas
            .iter()
            .all(|quota| quota.description.starts_with("At most ")),
        "{quotas:?}"
    );
    quotas.iter().map(|quota| quota.subject.clone()).collect()
}

#[tokio::test]
async fn sign_ups_of_one_network_are_limited_valid_or_not() {
    let stack = stack("network=3/1h,email=off,service=off").await;
    let anonymous = stack.anonymous().unwrap();
    let third = Duration::from_secs(20 * 60);
    attempt(&anonymous, None, new_person()).await.unwrap();
    let status = attempt(&anonymous, None, SignUpRequest::default())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    attempt(&anonymous, None, new_person()).await.unwrap();
    for request in [new_person(), SignUpRequest::default()] {
        assert_eq!(
            exceeded_limits(attempt(&anonymous, None, request).await, third),
            ["network"]
        );
    }
    // x-forwarded-for counts neither from people nor from a service outside ALLOWED_SERVICES.
    let stranger = stack.service("stranger").unwrap();
    for client in [&anonymous, &stranger] {
        assert_eq!(
            exceeded_limits(attempt(client, Some("192.0.2.1"), new_person()).await, third),
            ["network"]
        );
    }
    let accounts: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.users").await;
    assert_eq!(accounts, 2);
    // The stated network of an allowed service counts. An IPv6 /64 is one network.
    let backend = stack.service("backend").unwrap();
    for addresses in [
        ["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"],
        [
            "2001:db8:0:1::1",
            "2001:db8:0:1::2",
            "2001:db8:0:1:ffff::",
            "2001:db8:0:1::4",
        ],
    ] {
        for address in &addresses[..3] {
            attempt(&backend, Some(address), new_person()).await.unwrap();
        }
        assert_eq!(
            exceeded_limits(attempt(&backend, Some(addresses[3]), new_person()).await, third),
            ["network"]
        );
    }
    for other in ["192.0.2.2", "2001:db8:0:2::1", "203.0.113.7, 192.0.2.3"] {
        attempt(&backend, Some(other), new_person()).await.unwrap();
    }
}

/// Returns the value of the counter of unusable addresses of identity.
async fn unusable(stack: &Stack, reason: &str) -> Option<f64> {
    let page = Metrics::read(stack.identity.listeners.metrics).await;
    page.sum("haven_forwarded_address_unusable_total", &[("reason", reason)])
}

#[tokio::test]
async fn people_behind_a_service_without_a_usable_address_share_one_limit_and_the_refusal_says_so() {
    let stack = Stack::builder()
        .variable("identity", "SIGN_UP_LIMITS", "network=3/1h,email=off,service=off")
        .admit("identity", "untrusted=accounts,author,keys")
        .start()
        .await
        .unwrap();
    let (backend, untrusted) = (
        stack.service("backend").unwrap(),
        stack.service("untrusted").unwrap(),
    );
    for reason in ["missing", "malformed"] {
        assert_eq!(unusable(&stack, reason).await, Some(0.0), "{reason}");
    }
    attempt(&backend, None, new_person()).await.unwrap();
    for malformed in ["unknown", "192.0.2.1,"] {
        attempt(&backend, Some(malformed), new_person()).await.unwrap();
    }
    assert_eq!(unusable(&stack, "missing").await, Some(1.0));
    assert_eq!(unusable(&stack, "malformed").await, Some(2.0));
    // A usable address is still believed, in each form; and that of a service without the scope is not.
    for usable in ["192.0.2.1:4711", "[2001:db8:0:9::1]:4711", "[2001:db8:0:8::1]"] {
        attempt(&backend, Some(usable), new_person()).await.unwrap();
    }
    let mut forwarded = tonic::Request::new(new_person());
    let value = "for=unknown, for=\"[2001:db8:0:7::1]:4711\"".parse().unwrap();
    forwarded.metadata_mut().insert("forwarded", value);
    backend.account().sign_up(forwarded).await.unwrap();
    for (client, address) in [
        (&backend, None),
        (&backend, Some("unknown")),
        (&untrusted, Some("192.0.2.77")),
        (&untrusted, None),
    ] {
        let status = attempt(client, address, new_person()).await.unwrap_err();
        let details = status.get_error_details();
        let description = &details.quota_failure().unwrap().violations[0].description;
        assert!(
            description.starts_with("At most 3 ") && description.contains("all its people share one limit"),
            "{description}"
        );
        assert_eq!(
            exceeded_limits(Err(status), Duration::from_secs(20 * 60)),
            ["network"]
        );
    }
    assert_eq!(
        unusable(&stack, "missing").await,
        Some(2.0),
        "of the backend alone"
    );
    let log = std::fs::read_to_string(stack.identity.log()).unwrap();
    let explained = log.matches("all its people share one limit").count();
    assert_eq!(explained, 4);
    // A client of its own in the same network learns nothing about services.
    let status = attempt(&stack.anonymous().unwrap(), None, new_person())
        .await
        .unwrap_err();
    let details = status.get_error_details();
    let description = &details.quota_failure().unwrap().violations[0].description;
    assert!(!description.contains("people"), "{description}");
    // A service that calls for itself has no client.
    let mut accounts = backend.account();
    accounts
        .list_accounts(ListAccountsRequest::default())
        .await
        .unwrap();
    assert_eq!(unusable(&stack, "missing").await, Some(2.0));
}

#[tokio::test]
async fn a_sign_up_refused_for_its_network_does_not_count_for_its_address() {
    let stack = stack("network=3/1h,email=3/1h,service=off").await;
    let backend = stack.service("backend").unwrap();
    let hour = Duration::from_secs(3600);
    let (one, other) = (Some("192.0.2.1"), Some("192.0.2.2"));
    let ada = |spelling: &str| sign_up_request(spelling, PASSWORD);
    attempt(&backend, one, ada("ada@example.org")).await.unwrap();
    let status = attempt(&backend, one, ada("Ada@Example.org")).await.unwrap_err();
    assert_eq!(reason(&status), "EMAIL_TAKEN");
    attempt(&backend, one, new_person()).await.unwrap();
    for _ in 0..5 {
        assert_eq!(
            exceeded_limits(attempt(&backend, one, ada("ADA@example.org")).await, hour),
            ["network"]
        );
    }
    // Two of the three sign-ups of this email address are used up.
    let status = attempt(&backend, other, ada("\u{ff41}da@example.org"))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "EMAIL_TAKEN");
    // A sign-up that is refused for its address costs the network.
    for expected in ["email", "email", "network"] {
        assert_eq!(
            exceeded_limits(attempt(&backend, other, ada("ada@EXAMPLE.org")).await, hour),
            [expected]
        );
    }
}

#[tokio::test]
async fn sign_ups_through_one_service_are_limited() {
    let stack = stack("network=off,email=off,service=2/1h").await;
    let (backend, data) = (stack.service("backend").unwrap(), stack.service("data").unwrap());
    let half = Duration::from_secs(30 * 60);
    for address in ["192.0.2.1", "192.0.2.2"] {
        attempt(&backend, Some(address), new_person()).await.unwrap();
    }
    assert_eq!(
        exceeded_limits(attempt(&backend, Some("192.0.2.3"), new_person()).await, half),
        ["service"]
    );
    attempt(&data, Some("192.0.2.3"), new_person()).await.unwrap();
    attempt(&stack.anonymous().unwrap(), None, new_person())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_retry_after_the_announced_delay_is_admitted() {
    let stack = stack("network=2/2s,email=off,service=off").await;
    let anonymous = stack.anonymous().unwrap();
    let begin = std::time::Instant::now();
    let mut admitted = 0;
    while begin.elapsed() < Duration::from_secs(4) {
        match attempt(&anonymous, None, SignUpRequest::default()).await {
            Err(status) if reason(&status) == "RATE_LIMITED" => {
                let delay = status
                    .get_error_details()
                    .retry_info()
                    .and_then(|retry| retry.retry_delay);
                tokio::time::sleep(delay.unwrap()).await;
            }
            Err(status) => {
                assert_eq!(reason(&status), "INVALID_FIELD");
                admitted += 1;
            }
            Ok(()) => panic!("an invalid sign-up succeeded"),
        }
    }
    // A burst of two, and then one each second: the announced delays are long enough and not longer.
    assert!((5..=7).contains(&admitted), "{admitted} in {:?}", begin.elapsed());
}

#[tokio::test]
async fn no_sign_up_or_sign_in_is_admitted_when_limits_cannot_be_checked() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let rows = "SELECT (SELECT count(*) FROM identity.users) + (SELECT count(*) FROM identity.sessions)
        + (SELECT count(*) FROM identity.requests) + (SELECT count(*) FROM identity.security_audit_log)";
    let before: i64 = scalar(&stack.database, rows).await;
    execute(
        &stack.database,
        "ALTER TABLE identity.rate_limits RENAME TO elsewhere",
    )
    .await;
    let status = attempt(&anonymous, None, new_person()).await.unwrap_err();
    assert_eq!(reason(&status), "INTERNAL");
    let sign_in = SignInRequest {
        email: ada.email.clone(),
        password: ada.password.clone(),
        request_id: random::uuid().to_string(),
        ..SignInRequest::default()
    };
    let status = anonymous.session().sign_in(sign_in).await.unwrap_err();
    assert_eq!(reason(&status), "INTERNAL");
    assert_eq!(scalar::<i64>(&stack.database, rows).await, before);
    execute(
        &stack.database,
        "ALTER TABLE identity.elsewhere RENAME TO rate_limits",
    )
    .await;
    attempt(&anonymous, None, new_person()).await.unwrap();
    anonymous.sign_in(&ada.email, &ada.password).await.unwrap();
}

#[tokio::test]
async fn refusals_for_content_and_retries_do_not_use_an_address_up() {
    let stack = stack("network=off,email=1/1h,service=off").await;
    let anonymous = stack.anonymous().unwrap();
    let ada = sign_up_request("ada@example.org", PASSWORD);
    for _ in 0..6 {
        let weak = SignUpRequest {
            password: "Password1".to_owned(),
            ..sign_up_request("ada@example.org", PASSWORD)
        };
        let without_consents = SignUpRequest {
            consents: Vec::new(),
            ..sign_up_request("ada@example.org", PASSWORD)
        };
        for (request, refusal) in [(weak, "PASSWORD_POLICY"), (without_consents, "CONSENT_REQUIRED")] {
            let status = attempt(&anonymous, None, request).await.unwrap_err();
            assert_eq!(reason(&status), refusal);
        }
    }
    for _ in 0..6 {
        attempt(&anonymous, None, ada.clone()).await.unwrap();
    }
    let other_content = SignUpRequest {
        password: "Kite-over-7-harbours".to_owned(),
        ..ada
    };
    let status = attempt(&anonymous, None, other_content).await.unwrap_err();
    assert_eq!(
        reason(&status),
        "REQUEST_ID_REUSED",
        "a retry still has to know the password"
    );
    let hour = Duration::from_secs(3600);
    let another = sign_up_request("ada@example.org", PASSWORD);
    assert_eq!(
        exceeded_limits(attempt(&anonymous, None, another).await, hour),
        ["email"]
    );
}

#[tokio::test]
async fn checks_of_passwords_and_changes_of_consents_are_limited() {
    let stack = Stack::builder()
        .variable("identity", "CHECK_PASSWORD_LIMITS", "network=2/1h,service=off")
        .variable("identity", "MUTATION_LIMITS", "person=25/1h")
        .variable("identity", "MAX_CONSENTS", "20")
        .start()
        .await
        .unwrap();
    let anonymous = stack.anonymous().unwrap();
    let check = async || {
        let request = CheckPasswordRequest {
            password: "x".to_owned(),
            ..CheckPasswordRequest::default()
        };
        anonymous.account().check_password(request).await.map(drop)
    };
    check().await.unwrap();
    check().await.unwrap();
    assert_eq!(
        exceeded_limits(check().await, Duration::from_secs(3600)),
        ["network"]
    );

    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let (mut granted, mut refusals) = (0, Vec::new());
    for number in 0..30 {
        let request = GrantConsentRequest {
            consent: Some(ConsentGrant {
                document: format!("d{number}"),
                document_version: "1".to_owned(),
            }),
            request_id: random::uuid().to_string(),
        };
        match client.account().grant_consent(request).await {
            Ok(_) => granted += 1,
            Err(status) => refusals.push(reason(&status)),
        }
    }
    let all: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.consents").await;
    assert_eq!(all, 20, "{granted} granted");
    assert!(refusals.iter().all(|one| one == "QUOTA_EXCEEDED"), "{refusals:?}");
    // A grant that is in effect is no new entry: the limit on changes ends that.
    let mut last = String::new();
    for _ in 0..30 {
        let request = GrantConsentRequest {
            consent: Some(ConsentGrant {
                document: "d0".to_owned(),
                document_version: "1".to_owned(),
            }),
            request_id: random::uuid().to_string(),
        };
        if let Err(status) = client.account().grant_consent(request).await {
            last = reason(&status);
        }
    }
    assert_eq!(last, "RATE_LIMITED");
}
