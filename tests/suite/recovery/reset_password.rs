//! CreatePasswordReset and ResetPassword.

use haven_proto::identity::v1::SignInRequest;
use haven_testkit::{Stack, random};

use super::{
    NEW_PASSWORD, account, backend, create_reset, events, new_address, refused, request_id, reset,
    reset_token, reset_with, sign_in_refused, token_refused,
};
use crate::{
    eventually::eventually,
    status::{reason, violations},
    superuser_sql::{execute_with, scalar_with},
};

#[tokio::test]
async fn a_reset_sets_the_password_ends_every_session_and_verifies_the_address() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let second = anonymous.sign_in(&ada.email, &ada.password).await.unwrap();
    let before = account(stack, &ada).await;
    assert_eq!(before.email_verified_time, None);

    // In another spelling of the address.
    let token = reset_token(stack, &ada.email.to_uppercase()).await;
    assert_eq!(token.len(), 47);
    let answer = reset(&anonymous, &reset_with(&token)).await.unwrap();

    assert_eq!(answer.ended_sessions, 2);
    for session in [&ada, &second] {
        assert_eq!(
            token_refused(stack, session).await.as_deref(),
            Some("SESSION_REVOKED")
        );
    }
    assert_eq!(
        sign_in_refused(stack, &ada.email, &ada.password).await.as_deref(),
        Some("CREDENTIALS_INVALID")
    );
    assert_eq!(sign_in_refused(stack, &ada.email, NEW_PASSWORD).await, None);
    let after = account(stack, &ada).await;
    assert_eq!(after.email_verified_time, answer.change_time);
    assert_eq!(
        (after.version, after.update_time),
        (before.version + 1, answer.change_time)
    );
    assert_eq!(
        events(stack, &ada).await,
        "password_reset_request, password_reset"
    );
}

#[tokio::test]
async fn a_token_works_once() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let token = reset_token(stack, &ada.email).await;
    reset(&anonymous, &reset_with(&token)).await.unwrap();
    assert_eq!(
        refused(reset(&anonymous, &reset_with(&token)).await),
        "RECOVERY_TOKEN_INVALID"
    );
}

#[tokio::test]
async fn a_reset_forgets_the_devices_and_the_waits_after_wrong_passwords() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    for _ in 0..7 {
        sign_in_refused(stack, &ada.email, "Wrong-Horse-9-Battery").await;
    }
    let waits = sign_in_refused(stack, &ada.email, &ada.password).await;
    assert_eq!(waits.as_deref(), Some("RATE_LIMITED"));
    let devices = "SELECT count(*) FROM identity.device_tokens WHERE user_id = $1";
    assert_eq!(scalar_with::<i64, _>(&stack.database, devices, ada.id).await, 1);

    let token = reset_token(stack, &ada.email).await;
    let before = "SELECT count(*) FROM identity.device_tokens WHERE user_id = $1 AND issued_at < now() - interval '1 hour'";
    let old =
        "UPDATE identity.device_tokens SET issued_at = issued_at - interval '2 hours' WHERE user_id = $1";
    execute_with(&stack.database, old, ada.id).await;
    reset(&anonymous, &reset_with(&token)).await.unwrap();
    assert_eq!(scalar_with::<i64, _>(&stack.database, before, ada.id).await, 0);
    assert_eq!(
        scalar_with::<i64, _>(&stack.database, devices, ada.id).await,
        1,
        "the device of the reset"
    );
    assert_eq!(sign_in_refused(stack, &ada.email, NEW_PASSWORD).await, None);
}

/// Strangers use up the wrong passwords of the account, which is what makes its owner reset the password.
#[tokio::test]
async fn the_device_of_a_reset_signs_in_after_guesses_of_strangers() {
    let stack = Stack::builder()
        .variable("identity", "WRONG_PASSWORD_LIMITS", "account=3/24h")
        .without("data")
        .start()
        .await
        .unwrap();
    let (anonymous, backend) = (stack.anonymous().unwrap(), backend(&stack));
    let email = new_address();
    let request = haven_testkit::client::sign_up_request(&email, "Correct-Horse-7-Battery");
    anonymous.account().sign_up(request).await.unwrap();
    let sign_in = async |address: &str, password: &str, device_token: &str| {
        let mut request = tonic::Request::new(SignInRequest {
            email: email.clone(),
            password: password.to_owned(),
            request_id: request_id(),
            device_token: device_token.to_owned(),
        });
        let metadata = request.metadata_mut();
        metadata.insert("x-forwarded-for", address.parse().unwrap());
        backend.session().sign_in(request).await
    };
    let request = reset_with(&reset_token(&stack, &email).await);
    let answer = reset(&anonymous, &request).await.unwrap();
    assert!(answer.device_token.starts_with("hdt_") && answer.device_token.len() == 47);
    assert_eq!(reset(&anonymous, &request).await.unwrap(), answer, "a retry");
    for network in 1..=3 {
        let guess = sign_in(&format!("192.0.2.{network}"), "Wrong-Horse-9-Battery", "").await;
        assert_eq!(refused(guess), "CREDENTIALS_INVALID");
    }
    assert_eq!(
        refused(sign_in("192.0.2.4", NEW_PASSWORD, "").await),
        "RATE_LIMITED"
    );
    let signed_in = sign_in("192.0.2.4", NEW_PASSWORD, &answer.device_token).await;
    assert_eq!(signed_in.unwrap().into_inner().device_token, answer.device_token);
}

#[tokio::test]
async fn a_password_that_violates_the_policy_does_not_use_up_the_token() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let token = reset_token(stack, &ada.email).await;
    for (password, rule) in [("Short-1", "TOO_SHORT"), (&*ada.email, "IS_EMAIL")] {
        let mut request = reset_with(&token);
        request.new_password = password.to_owned();
        let status = reset(&anonymous, &request).await.unwrap_err();
        assert_eq!(reason(&status), "PASSWORD_POLICY");
        let found = violations(&status);
        assert!(
            found.contains(&("new_password".to_owned(), rule.to_owned())),
            "{found:?}"
        );
    }
    reset(&anonymous, &reset_with(&token)).await.unwrap();
}

#[tokio::test]
async fn a_new_token_ends_the_one_before() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let first = reset_token(stack, &ada.email).await;
    let second = reset_token(stack, &ada.email).await;
    assert_ne!(first, second);
    assert_eq!(
        refused(reset(&anonymous, &reset_with(&first)).await),
        "RECOVERY_TOKEN_INVALID"
    );
    reset(&anonymous, &reset_with(&second)).await.unwrap();
}

#[tokio::test]
async fn an_unknown_address_gets_a_token_of_the_same_form_that_never_works() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, backend) = (stack.anonymous().unwrap(), backend(stack));
    let (address, id) = (new_address(), request_id());
    let created = create_reset(&backend, &address, &id).await.unwrap();
    assert!(created.token.starts_with("hvt_") && created.token.len() == 47);
    let again = create_reset(&backend, &address, &id).await.unwrap();
    assert_eq!(again, created, "a retry is answered like one for an account");
    assert_eq!(
        refused(reset(&anonymous, &reset_with(&created.token)).await),
        "RECOVERY_TOKEN_INVALID"
    );
    // Not even after a sign-up with the address.
    let ada = anonymous
        .sign_up_and_in(&address, "Correct-Horse-7-Battery")
        .await;
    let ada = ada.unwrap();
    let after = create_reset(&backend, &address, &id).await.unwrap();
    assert_eq!(after, created);
    assert_eq!(
        refused(reset(&anonymous, &reset_with(&created.token)).await),
        "RECOVERY_TOKEN_INVALID"
    );
    assert_eq!(token_refused(stack, &ada).await, None);
}

#[tokio::test]
async fn only_a_hash_of_the_token_is_stored() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let token = reset_token(stack, &ada.email).await;
    let rows: String = scalar_with(
        &stack.database,
        "SELECT string_agg(t::text, ' ') || (SELECT string_agg(r::text, ' ') FROM identity.requests AS r WHERE r.user_id = $1)
        FROM identity.recovery_tokens AS t WHERE t.user_id = $1",
        ada.id,
    )
    .await;
    assert!(rows.contains("password_reset"));
    assert!(!rows.contains(&token[4..]), "the token is stored");
    assert!(!rows.contains(&ada.email), "the address is stored with the token");
}

#[tokio::test]
async fn malformed_requests_name_every_field() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, backend) = (stack.anonymous().unwrap(), backend(stack));
    let status = create_reset(&backend, "ada", "").await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let fields: Vec<_> = violations(&status).into_iter().map(|one| one.0).collect();
    assert_eq!(fields, ["email", "request_id"]);
    let mut request = reset_with("hvt_x");
    request.request_id.clear();
    request.new_password = "short".into();
    let status = reset(&anonymous, &request).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let fields: Vec<_> = violations(&status).into_iter().map(|one| one.0).collect();
    assert!(fields.starts_with(&[
        "request_id".to_owned(),
        "token".to_owned(),
        "new_password".to_owned()
    ]));
}

#[tokio::test]
async fn a_person_with_the_policy_of_verified_addresses_signs_in_after_a_reset() {
    let stack = Stack::builder()
        .variable("identity", "REQUIRE_VERIFIED_EMAIL", "on")
        .without("data")
        .start()
        .await
        .unwrap();
    let anonymous = stack.anonymous().unwrap();
    let email = new_address();
    let request = haven_testkit::client::sign_up_request(&email, "Correct-Horse-7-Battery");
    let signed_up = anonymous.account().sign_up(request).await.unwrap();
    let user_id = signed_up.into_inner().account.unwrap().id;
    let sign_in = async |password: &str| {
        let request = SignInRequest {
            email: email.clone(),
            password: password.to_owned(),
            request_id: random::uuid().to_string(),
            ..SignInRequest::default()
        };
        anonymous.session().sign_in(request).await
    };
    // Only the right password learns that the address is not verified, and the id of the account.
    let wrong = sign_in("Wrong-Horse-9-Battery").await.unwrap_err();
    assert_eq!(reason(&wrong), "CREDENTIALS_INVALID");
    let unverified = sign_in("Correct-Horse-7-Battery").await.unwrap_err();
    assert_eq!(reason(&unverified), "EMAIL_NOT_VERIFIED");
    assert_eq!(crate::status::metadata(&unverified, "user_id"), user_id);
    let refusals: i64 = scalar_with(
        &stack.database,
        "SELECT count(*) FROM identity.security_audit_log WHERE user_id::text = $1 AND event = 'sign_in' AND refused",
        user_id,
    )
    .await;
    assert_eq!(refusals, 2, "each is in the log of the account");

    let token = reset_token(&stack, &email).await;
    reset(&anonymous, &reset_with(&token)).await.unwrap();
    eventually("the person signs in", async || {
        sign_in(NEW_PASSWORD).await.is_ok()
    })
    .await;
}
