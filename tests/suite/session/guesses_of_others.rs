//! Wrong passwords of strangers do not stop the owner of an account: devices that signed in before and people who are signed in have
//! counters of their own, and every network has one.

use haven_proto::identity::v1::{ChangePasswordRequest, DeleteAccountRequest, SignInRequest, SignInResponse};
use haven_testkit::{Client, Person, Stack, random};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use super::{another, credentials, sign_in};
use crate::{
    status::reason,
    superuser_sql::{execute, scalar},
};

const WRONG: &str = "Another-Horse-8-Battery";

/// Calls SignIn through a service, for a client with this address.
async fn from(client: &Client, address: &str, request: SignInRequest) -> Result<SignInResponse, Status> {
    let mut request = Request::new(request);
    request
        .metadata_mut()
        .insert("x-forwarded-for", address.parse().unwrap());
    Ok(client.session().sign_in(request).await?.into_inner())
}

/// Returns a SignIn request with a device token.
fn with_device(email: &str, password: &str, device_token: &str) -> SignInRequest {
    SignInRequest {
        device_token: device_token.to_owned(),
        ..credentials(email, password)
    }
}

/// Sends wrong passwords from one address. Returns their reasons.
async fn guesses(client: &Client, address: &str, email: &str, device: &str, count: usize) -> Vec<String> {
    let mut reasons = Vec::new();
    for _ in 0..count {
        let request = with_device(email, WRONG, device);
        reasons.push(reason(&from(client, address, request).await.unwrap_err()));
    }
    reasons
}

/// Returns the subjects of the limits that a call exceeded.
fn subjects(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let quotas = &details.quota_failure().unwrap().violations;
    quotas.iter().map(|quota| quota.subject.clone()).collect()
}

async fn device_of(stack: &Stack, person: &Person) -> String {
    let request = credentials(&person.email, &person.password);
    let answer = sign_in(&stack.anonymous().unwrap(), request).await.unwrap();
    assert!(answer.device_token.starts_with("hdt_") && answer.device_token.len() == 47);
    answer.device_token
}

#[tokio::test]
async fn twelve_guesses_of_a_stranger_do_not_stop_the_owner() {
    let stack = Stack::start().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let ada = stack.person().await.unwrap();
    let device = device_of(&stack, &ada).await;
    let reasons = guesses(&backend, "192.0.2.1", &ada.email, "", 12).await;
    assert_eq!(reasons.last().unwrap(), "RATE_LIMITED", "{reasons:?}");

    // The stranger's network has to wait, also with the right password. The device does not, even there.
    let right = credentials(&ada.email, &ada.password);
    let status = from(&backend, "192.0.2.1", right).await.unwrap_err();
    assert!(subjects(&status).contains(&"failures".to_owned()));
    let known = with_device(&ada.email, &ada.password, &device);
    let answer = from(&backend, "192.0.2.1", known).await.unwrap();
    assert_eq!(answer.device_token, device, "the token is renewed");
    // The owner without a token, from another network.
    from(&backend, "192.0.2.2", credentials(&ada.email, &ada.password))
        .await
        .unwrap();

    let change = ChangePasswordRequest {
        current_password: ada.password.clone(),
        new_password: "Kite-over-7-harbours".to_owned(),
        request_id: random::uuid().to_string(),
    };
    let owner = stack.user(&ada).unwrap();
    owner.account().change_password(change).await.unwrap();
    let delete = DeleteAccountRequest {
        password: "Kite-over-7-harbours".to_owned(),
        request_id: random::uuid().to_string(),
        ..DeleteAccountRequest::default()
    };
    owner.account().delete_account(delete).await.unwrap();
}

#[tokio::test]
async fn guesses_with_a_stolen_device_token_have_to_wait_as_well() {
    let stack = Stack::start().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let ada = stack.person().await.unwrap();
    let device = device_of(&stack, &ada).await;
    let mut reasons = Vec::new();
    for network in 1..=10 {
        let address = format!("192.0.2.{network}");
        reasons.extend(guesses(&backend, &address, &ada.email, &device, 1).await);
    }
    assert!(reasons.contains(&"RATE_LIMITED".to_owned()), "{reasons:?}");
    another(&stack, &ada).await;
}

#[tokio::test]
async fn guesses_from_many_networks_reach_the_cap_of_the_account() {
    let stack = Stack::builder()
        .variable("identity", "WRONG_PASSWORD_LIMITS", "account=9/24h")
        .start()
        .await
        .unwrap();
    let backend = stack.service("backend").unwrap();
    let ada = stack.person().await.unwrap();
    let device = device_of(&stack, &ada).await;
    for email in [ada.email.as_str(), "unknown@example.org"] {
        for network in 1..=3 {
            let reasons = guesses(&backend, &format!("192.0.2.{network}"), email, "", 3).await;
            assert_eq!(reasons, ["CREDENTIALS_INVALID"; 3]);
        }
        let request = credentials(email, &ada.password);
        let status = from(&backend, "192.0.2.4", request).await.unwrap_err();
        assert_eq!(
            (reason(&status).as_str(), subjects(&status)),
            ("RATE_LIMITED", vec!["account".to_owned()])
        );
    }
    let known = with_device(&ada.email, &ada.password, &device);
    from(&backend, "192.0.2.4", known).await.unwrap();
}

#[tokio::test]
async fn a_wrong_device_token_is_the_same_as_none_and_a_new_password_forgets_all() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (of_ada, of_bob) = (device_of(&stack, &ada).await, device_of(&stack, &bob).await);
    for token in ["x", "hdt_", of_bob.as_str()] {
        let request = with_device(&ada.email, &ada.password, token);
        let answer = sign_in(&anonymous, request.clone()).await.unwrap();
        assert_ne!(answer.device_token, token, "a new one");
        let again = sign_in(&anonymous, request).await.unwrap();
        assert_eq!(again.device_token, answer.device_token, "a retry gets the same");
    }
    let request = with_device(&ada.email, &ada.password, &of_ada);
    for _ in 0..2 {
        let answer = sign_in(&anonymous, request.clone()).await.unwrap();
        assert_eq!(answer.device_token, of_ada);
    }
    let change = ChangePasswordRequest {
        current_password: ada.password.clone(),
        new_password: "Kite-over-7-harbours".to_owned(),
        request_id: random::uuid().to_string(),
    };
    stack
        .user(&ada)
        .unwrap()
        .account()
        .change_password(change)
        .await
        .unwrap();
    let request = with_device(&ada.email, "Kite-over-7-harbours", &of_ada);
    let answer = sign_in(&anonymous, request).await.unwrap();
    assert_ne!(answer.device_token, of_ada, "the password change forgot it");
}

#[tokio::test]
async fn devices_and_sessions_beyond_the_maximum_make_room() {
    let stack = Stack::builder()
        .variable("identity", "MAX_DEVICES", "2")
        .variable("identity", "MAX_SESSIONS", "3")
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    let first = stack.user(&ada).unwrap();
    for _ in 0..3 {
        another(&stack, &ada).await;
    }
    let devices: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.device_tokens").await;
    assert_eq!(devices, 2);
    let status = first
        .session()
        .list_sessions(haven_proto::identity::v1::ListSessionsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "SESSION_REVOKED", "the oldest session made room");
    let newest = stack.user(&another(&stack, &ada).await).unwrap();
    let usage = newest
        .account()
        .get_usage(haven_proto::identity::v1::GetUsageRequest::default())
        .await
        .unwrap()
        .into_inner()
        .quotas;
    let usage: Vec<_> = usage
        .iter()
        .map(|one| (one.quota.as_str(), one.used, one.limit))
        .collect();
    assert_eq!(usage[1..], [("devices", 2, 2), ("sessions", 3, 3)]);
    assert_eq!((usage[0].0, usage[0].2), ("consents", 1000));
}

#[tokio::test]
async fn a_wait_of_a_limit_that_was_relaxed_is_over() {
    let mut stack = Stack::builder()
        .variable(
            "identity",
            "SIGN_IN_LIMITS",
            "network=1/24h,email=off,service=off",
        )
        .start()
        .await
        .unwrap();
    let anonymous = stack.anonymous().unwrap();
    let attempt = async || {
        let request = credentials("unknown@example.org", WRONG);
        reason(&sign_in(&anonymous, request).await.unwrap_err())
    };
    assert_eq!(attempt().await, "CREDENTIALS_INVALID");
    assert_eq!(attempt().await, "RATE_LIMITED");
    // The new limit counts from its start.
    stack.identity.kill();
    let relaxed = "network=2/24h,email=off,service=off".to_owned();
    stack
        .identity
        .variables
        .insert("SIGN_IN_LIMITS".to_owned(), relaxed);
    stack.identity.start().await.unwrap();
    for _ in 0..2 {
        assert_eq!(attempt().await, "CREDENTIALS_INVALID");
    }
    assert_eq!(attempt().await, "RATE_LIMITED");
    // What a server with a clock that was ahead stored, before a failover: no more than the burst is used up.
    execute(
        &stack.database,
        "UPDATE identity.rate_limits SET tat = now() + interval '96 hours'",
    )
    .await;
    assert_eq!(attempt().await, "CREDENTIALS_INVALID");
}
