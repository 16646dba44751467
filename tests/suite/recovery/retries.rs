//! A retry with the same request id gets the first answer, also after later changes.

use haven_proto::identity::v1::{Account, ChangePasswordRequest, UpdateAccountRequest};
use haven_testkit::Stack;

use super::{
    NEW_PASSWORD, account, backend, change_tokens, confirm, create_change, create_reset, create_verification,
    events, live_tokens, new_address, refused, request_id, reset, reset_token, reset_with, sign_in_refused,
    undo, verify,
};
use crate::{concurrently::concurrently, superuser_sql::execute_with};

#[tokio::test]
async fn a_retry_of_a_creation_returns_the_same_tokens_even_after_they_ended() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, backend) = (stack.anonymous().unwrap(), backend(stack));
    let ada = stack.person().await.unwrap();
    let [reset_id, verification_id, change_id] = [(); 3].map(|()| request_id());
    let new = new_address();
    let created_reset = create_reset(&backend, &ada.email, &reset_id).await.unwrap();
    let created_verification = create_verification(&backend, ada.id, &verification_id)
        .await
        .unwrap();
    let created_change = create_change(&backend, ada.id, &new, &change_id).await.unwrap();
    let same = async || {
        let again = create_reset(&backend, &ada.email, &reset_id).await.unwrap();
        assert_eq!(again, created_reset);
        let again = create_verification(&backend, ada.id, &verification_id)
            .await
            .unwrap();
        assert_eq!(
            (&again.token, again.expire_time),
            (&created_verification.token, created_verification.expire_time)
        );
        let verification_email = again.email;
        let again = create_change(&backend, ada.id, &new, &change_id).await.unwrap();
        assert_eq!(
            (&again.token, &again.undo_token),
            (&created_change.token, &created_change.undo_token)
        );
        (verification_email, again.old_email)
    };
    assert_eq!(same().await, (ada.email.clone(), ada.email.clone()));
    assert_eq!(
        live_tokens(stack, &ada).await,
        "email_change email_undo email_verification password_reset",
        "retries store nothing"
    );
    // Used, and ended by others.
    verify(&anonymous, &created_verification.token, &request_id())
        .await
        .unwrap();
    reset_token(stack, &ada.email).await;
    assert_eq!(same().await, (ada.email.clone(), ada.email.clone()));
    confirm(&anonymous, &created_change.token, &request_id())
        .await
        .unwrap();
    // The address is another one: it is not in the answers, and the request for it is not one for the account.
    let again = create_verification(&backend, ada.id, &verification_id)
        .await
        .unwrap();
    assert_eq!(
        (again.token, again.email),
        (created_verification.token, String::new())
    );
    assert_eq!(
        refused(reset(&anonymous, &reset_with(&created_reset.token)).await),
        "RECOVERY_TOKEN_INVALID"
    );
}

#[tokio::test]
async fn a_retry_of_a_use_returns_the_first_answer() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let request = reset_with(&reset_token(stack, &ada.email).await);
    let first_reset = reset(&anonymous, &request).await.unwrap();
    assert_eq!(reset(&anonymous, &request).await.unwrap(), first_reset);

    let verification = create_verification(&backend(stack), ada.id, &request_id()).await;
    let (token, id) = (verification.unwrap().token, request_id());
    let first = verify(&anonymous, &token, &id).await.unwrap();
    assert_eq!(verify(&anonymous, &token, &id).await.unwrap(), first);

    let created = change_tokens(stack, &ada, &new_address()).await;
    let (confirm_id, undo_id) = (request_id(), request_id());
    let confirmed = confirm(&anonymous, &created.token, &confirm_id).await.unwrap();
    assert_eq!(
        confirm(&anonymous, &created.token, &confirm_id).await.unwrap(),
        confirmed
    );
    let undone = undo(&anonymous, &created.undo_token, &undo_id).await.unwrap();
    assert_eq!(
        undo(&anonymous, &created.undo_token, &undo_id).await.unwrap(),
        undone
    );
    // Also after what came later, and after the tokens would have expired.
    let sql = "UPDATE identity.recovery_tokens SET issued_at = issued_at - interval '8 days',
        spent_at = spent_at - interval '8 days', opened_at = opened_at - interval '8 days', expires_at = now() WHERE user_id = $1";
    execute_with(&stack.database, sql, ada.id).await;
    assert_eq!(
        confirm(&anonymous, &created.token, &confirm_id).await.unwrap(),
        confirmed
    );
    assert_eq!(
        undo(&anonymous, &created.undo_token, &undo_id).await.unwrap(),
        undone
    );
    assert_eq!(reset(&anonymous, &request).await.unwrap(), first_reset);
    assert_eq!(
        events(stack, &ada).await,
        "password_reset_request, password_reset, email_verification_request, email_verification, \
         email_change_request, email_change, email_undo"
    );
}

/// All of the answer is of the first call but the address, which is stored nowhere else.
#[tokio::test]
async fn a_retry_of_an_update_has_the_verification_of_its_first_answer() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let client = stack.user(&ada).unwrap();
    let request = UpdateAccountRequest {
        account: Some(Account {
            goals: vec![1],
            ..Account::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["goals".to_owned()],
        }),
        expected_version: account(stack, &ada).await.version,
        request_id: request_id(),
    };
    let first = client
        .account()
        .update_account(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first.account.as_ref().unwrap().email_verified_time, None);
    let created = create_verification(&backend(stack), ada.id, &request_id()).await;
    verify(&anonymous, &created.unwrap().token, &request_id())
        .await
        .unwrap();
    let again = client
        .account()
        .update_account(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, first);
}

#[tokio::test]
async fn a_retry_of_a_reset_with_another_password_is_another_request() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let request = reset_with(&reset_token(stack, &ada.email).await);
    let first = reset(&anonymous, &request).await.unwrap();
    let mut other = request.clone();
    other.new_password = "Third-Horse-9-Battery".into();
    assert_eq!(refused(reset(&anonymous, &other).await), "REQUEST_ID_REUSED");
    assert_eq!(sign_in_refused(stack, &ada.email, NEW_PASSWORD).await, None);
    // Guessing the password with a used token becomes slower and slower, as at sign-in.
    for _ in 0..4 {
        reset(&anonymous, &other).await.unwrap_err();
    }
    assert_eq!(refused(reset(&anonymous, &other).await), "RATE_LIMITED");
    // After a further change the first answer does not depend on the password.
    let bob = stack.person().await.unwrap();
    let request = reset_with(&reset_token(stack, &bob.email).await);
    let changed = reset(&anonymous, &request).await.unwrap();
    let bob = anonymous.sign_in(&bob.email, NEW_PASSWORD).await.unwrap();
    let change = ChangePasswordRequest {
        current_password: NEW_PASSWORD.into(),
        new_password: "Third-Horse-9-Battery".into(),
        request_id: request_id(),
    };
    stack
        .user(&bob)
        .unwrap()
        .account()
        .change_password(change)
        .await
        .unwrap();
    assert_eq!(reset(&anonymous, &request).await.unwrap(), changed);
    assert_ne!(changed, first);
}

#[tokio::test]
async fn a_request_id_belongs_to_one_request() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, backend) = (stack.anonymous().unwrap(), backend(stack));
    let ada = stack.person().await.unwrap();
    let id = request_id();
    create_change(&backend, ada.id, &new_address(), &id)
        .await
        .unwrap();
    let other = create_change(&backend, ada.id, &new_address(), &id).await;
    assert_eq!(refused(other), "REQUEST_ID_REUSED");
    let other = create_verification(&backend, ada.id, &id).await;
    assert_eq!(refused(other), "REQUEST_ID_REUSED");
    let token = create_verification(&backend, ada.id, &request_id())
        .await
        .unwrap()
        .token;
    assert_eq!(
        refused(verify(&anonymous, &token, &id).await),
        "REQUEST_ID_REUSED"
    );
    verify(&anonymous, &token, &request_id()).await.unwrap();
    assert_eq!(account(stack, &ada).await.email, ada.email);
}

#[tokio::test]
async fn concurrent_retries_are_one_request() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, backend) = (stack.anonymous().unwrap(), backend(stack));
    let ada = stack.person().await.unwrap();
    let id = request_id();
    let created = concurrently(20, async || {
        create_reset(&backend, &ada.email, &id)
            .await
            .map_err(|status| status.code())
    })
    .await;
    let request = reset_with(&created.unwrap().token);
    let answer = concurrently(10, async || {
        reset(&anonymous, &request).await.map_err(|status| status.code())
    })
    .await;
    answer.unwrap();
    let id = request_id();
    let new = new_address();
    let created = concurrently(20, async || {
        create_change(&backend, ada.id, &new, &id)
            .await
            .map_err(|status| status.code())
    })
    .await;
    let (token, id) = (created.unwrap().token, request_id());
    let answer = concurrently(20, async || {
        confirm(&anonymous, &token, &id)
            .await
            .map_err(|status| status.code())
    })
    .await;
    answer.unwrap();
    assert_eq!(
        events(stack, &ada).await,
        "password_reset_request, password_reset, email_change_request, email_change"
    );
}

/// The limits and the lifetimes of another configuration do not change the answer to a request that was made before.
#[tokio::test]
async fn a_retry_after_a_change_of_the_configuration_returns_the_first_answer() {
    let mut stack = Stack::builder().without("data").start().await.unwrap();
    let (anonymous, backend) = (stack.anonymous().unwrap(), backend(&stack));
    let request = haven_testkit::client::sign_up_request(&new_address(), "Correct-Horse-7-Battery");
    let email = request.email.clone();
    anonymous.account().sign_up(request).await.unwrap();
    let (known_id, unknown_id, unknown) = (request_id(), request_id(), new_address());
    let known = create_reset(&backend, &email, &known_id).await.unwrap();
    let decoy = create_reset(&backend, &unknown, &unknown_id).await.unwrap();
    let use_of_token = reset_with(&known.token);
    let used = reset(&anonymous, &use_of_token).await.unwrap();

    for (name, value) in [
        (
            "RECOVERY_LIMITS",
            "network=1/24h,email=1/24h,person=1/24h,service=1/24h",
        ),
        ("RECOVERY_TOKEN_LIMITS", "network=1/24h,service=1/24h"),
        ("REQUIRE_VERIFIED_EMAIL", "on"),
        ("PASSWORD_RESET_MINUTES", "30"),
    ] {
        stack.identity.variables.insert(name.to_owned(), value.to_owned());
    }
    stack.identity.stop();
    stack.identity.start().await.unwrap();
    // Uses the limits up.
    create_reset(&backend, &new_address(), &request_id())
        .await
        .unwrap();
    let limited = create_reset(&backend, &new_address(), &request_id()).await;
    assert_eq!(refused(limited), "RATE_LIMITED");
    assert_eq!(
        refused(reset(&anonymous, &reset_with(&decoy.token)).await),
        "RECOVERY_TOKEN_INVALID"
    );
    assert_eq!(
        refused(reset(&anonymous, &reset_with(&decoy.token)).await),
        "RATE_LIMITED"
    );
    for _ in 0..3 {
        assert_eq!(create_reset(&backend, &email, &known_id).await.unwrap(), known);
        assert_eq!(
            create_reset(&backend, &unknown, &unknown_id).await.unwrap(),
            decoy
        );
        assert_eq!(reset(&anonymous, &use_of_token).await.unwrap(), used);
    }
}
