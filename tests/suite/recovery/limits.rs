//! The rate limits of recovery: per network, per address, per account and per service.

use futures_util::future::join_all;
use haven_testkit::{Stack, client::sign_up_request};
use tonic::Status;
use tonic_types::StatusExt;

use super::{
    backend, create_change, create_reset, create_verification, new_address, request_id, reset, reset_token,
    reset_with, verify,
};
use crate::{metrics::Metrics, status::reason};

/// Returns the subjects of the limits that a call exceeded.
fn exceeded<T: std::fmt::Debug>(answer: Result<T, Status>) -> Vec<String> {
    let status = answer.unwrap_err();
    assert_eq!(reason(&status), "RATE_LIMITED");
    let details = status.get_error_details();
    let quotas = &details.quota_failure().unwrap().violations;
    quotas.iter().map(|quota| quota.subject.clone()).collect()
}

async fn limited(limits: &str) -> Stack {
    let builder = Stack::builder().variable("identity", "RECOVERY_LIMITS", limits);
    builder.without("data").start().await.unwrap()
}

#[tokio::test]
async fn an_address_is_limited_whether_it_has_an_account_or_not() {
    let stack = limited("network=off,email=2/1h,person=off,service=off").await;
    let backend = backend(&stack);
    let sign_up = sign_up_request(&new_address(), "Correct-Horse-7-Battery");
    let known = sign_up.email.clone();
    stack
        .anonymous()
        .unwrap()
        .account()
        .sign_up(sign_up)
        .await
        .unwrap();
    for address in [known, new_address()] {
        for _ in 0..2 {
            create_reset(&backend, &address, &request_id()).await.unwrap();
        }
        // In another spelling of the address.
        let third = create_reset(&backend, &address.to_uppercase(), &request_id()).await;
        assert_eq!(exceeded(third), ["email"]);
    }
    let page = Metrics::read(stack.identity.listeners.metrics).await;
    for (outcome, count) in [("created", 2.0), ("unknown_address", 2.0)] {
        let labels = [("kind", "password_reset"), ("outcome", outcome)];
        assert_eq!(
            page.sum("haven_recovery_tokens_total", &labels),
            Some(count),
            "{outcome}"
        );
    }
}

#[tokio::test]
async fn an_account_and_the_address_that_gets_the_mail_are_limited() {
    let stack = limited("network=off,email=3/1h,person=4/1h,service=off").await;
    let (anonymous, backend) = (stack.anonymous().unwrap(), backend(&stack));
    let mut ids = Vec::new();
    for _ in 0..2 {
        let sign_up = sign_up_request(&new_address(), "Correct-Horse-7-Battery");
        let account = anonymous.account().sign_up(sign_up).await.unwrap();
        ids.push(account.into_inner().account.unwrap().id.parse().unwrap());
    }
    // Changes to a third person's address are mails to that person.
    let target = new_address();
    for _ in 0..3 {
        create_change(&backend, ids[0], &target, &request_id())
            .await
            .unwrap();
    }
    assert_eq!(
        exceeded(create_change(&backend, ids[1], &target, &request_id()).await),
        ["email"]
    );
    create_verification(&backend, ids[0], &request_id())
        .await
        .unwrap();
    assert_eq!(
        exceeded(create_verification(&backend, ids[0], &request_id()).await),
        ["person"]
    );
    create_verification(&backend, ids[1], &request_id())
        .await
        .unwrap();
}

/// EMAIL_TAKEN tells that an address has an account, so it counts.
#[tokio::test]
async fn changes_to_taken_addresses_are_limited() {
    let stack = limited("network=off,email=off,person=3/1h,service=off").await;
    let (anonymous, backend) = (stack.anonymous().unwrap(), backend(&stack));
    let mut people = Vec::new();
    for _ in 0..2 {
        let sign_up = sign_up_request(&new_address(), "Correct-Horse-7-Battery");
        let account = anonymous.account().sign_up(sign_up).await.unwrap();
        people.push(account.into_inner().account.unwrap());
    }
    let person = people[0].id.parse().unwrap();
    let reasons = ["EMAIL_TAKEN", "EMAIL_TAKEN", "INVALID_FIELD"];
    let addresses = [&people[1].email, &people[1].email, &people[0].email];
    for (address, expected) in addresses.into_iter().zip(reasons) {
        let refused = create_change(&backend, person, address, &request_id()).await;
        assert_eq!(reason(&refused.unwrap_err()), expected);
    }
    assert_eq!(
        exceeded(create_change(&backend, person, &people[1].email, &request_id()).await),
        ["person"]
    );
}

/// A retry is within no other limit, and one of ResetPassword computes a password hash.
#[tokio::test]
async fn retries_of_a_use_are_limited() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let verification = create_verification(&backend(stack), ada.id, &request_id()).await;
    let (verification, id) = (verification.unwrap().token, request_id());
    verify(&anonymous, &verification, &id).await.unwrap();
    let request = reset_with(&reset_token(stack, &ada.email).await);
    let first = reset(&anonymous, &request).await.unwrap();

    let mut refused = None;
    for _ in 0..1000 {
        if let Err(status) = verify(&anonymous, &verification, &id).await {
            refused = Some(status);
            break;
        }
    }
    let refused: Result<(), _> = Err(refused.expect("100 retries are admitted in a minute"));
    assert_eq!(exceeded(refused), ["request"]);
    // Another request has a count of its own.
    assert_eq!(reset(&anonymous, &request).await.unwrap(), first);
    let mut refused = None;
    for _ in 0..20 {
        let retries = (0..20).map(|_| reset(&anonymous, &request));
        refused = join_all(retries).await.into_iter().find_map(|answer| {
            let status = answer.err()?;
            (reason(&status) == "RATE_LIMITED").then_some(status)
        });
        if refused.is_some() {
            break;
        }
    }
    let refused: Result<(), _> = Err(refused.expect("100 retries are admitted in a minute"));
    assert_eq!(exceeded(refused), ["request"]);
}

#[tokio::test]
async fn the_network_that_the_service_states_is_limited() {
    let stack = limited("network=2/1h,email=off,person=off,service=off").await;
    let backend = backend(&stack);
    let create = async |address: &'static str| {
        let request = haven_proto::identity::v1::CreatePasswordResetRequest {
            email: new_address(),
            request_id: request_id(),
        };
        let mut request = tonic::Request::new(request);
        request
            .metadata_mut()
            .insert("x-forwarded-for", address.parse().unwrap());
        backend.recovery().create_password_reset(request).await
    };
    for _ in 0..2 {
        create("192.0.2.1").await.unwrap();
    }
    assert_eq!(exceeded(create("192.0.2.1").await), ["network"]);
    create("192.0.2.2").await.unwrap();
}

#[tokio::test]
async fn uses_of_tokens_are_limited() {
    let stack = Stack::builder()
        .variable("identity", "RECOVERY_TOKEN_LIMITS", "network=2/1h,service=off")
        .without("data")
        .start()
        .await
        .unwrap();
    let anonymous = stack.anonymous().unwrap();
    let token = format!("hvt_{}", "A".repeat(43));
    for _ in 0..2 {
        let refused = reset(&anonymous, &reset_with(&token)).await.unwrap_err();
        assert_eq!(reason(&refused), "RECOVERY_TOKEN_INVALID");
    }
    assert_eq!(
        exceeded(reset(&anonymous, &reset_with(&token)).await),
        ["network"]
    );
}
