//! CreateEmailChange and ConfirmEmailChange.

use haven_testkit::{Stack, client::sign_up_request};

use super::{
    account, backend, change_tokens, confirm, create_change, create_verification, events, live_tokens,
    new_address, refused, request_id, reset, reset_token, reset_with, sign_in_refused, token_refused, verify,
};
use crate::status::violations;

#[tokio::test]
async fn a_confirmed_change_gives_the_account_the_new_address() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let email = new_address();
    let created = change_tokens(stack, &ada, &email).await;
    assert_eq!(created.old_email, ada.email);
    assert_ne!(created.token, created.undo_token);
    let before = account(stack, &ada).await;
    assert_eq!(before.email, ada.email, "nothing changes before the confirmation");

    let changed = confirm(&anonymous, &created.token, &request_id()).await.unwrap();
    let after = account(stack, &ada).await;
    assert_eq!(after.email, email);
    assert_eq!(after.email_verified_time, changed.change_time);
    assert_eq!(after.version, before.version + 1);
    assert_eq!(token_refused(stack, &ada).await, None, "sessions go on");
    assert_eq!(sign_in_refused(stack, &email, &ada.password).await, None);
    assert_eq!(
        sign_in_refused(stack, &ada.email, &ada.password).await.as_deref(),
        Some("CREDENTIALS_INVALID")
    );
    assert_eq!(
        refused(confirm(&anonymous, &created.token, &request_id()).await),
        "RECOVERY_TOKEN_INVALID"
    );
    assert_eq!(events(stack, &ada).await, "email_change_request, email_change");
}

#[tokio::test]
async fn a_confirmed_change_ends_the_tokens_for_the_old_address() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let created = change_tokens(stack, &ada, &new_address()).await;
    let reset_for_old = reset_token(stack, &ada.email).await;
    let verification = create_verification(&backend(stack), ada.id, &request_id()).await;
    let verification = verification.unwrap().token;
    confirm(&anonymous, &created.token, &request_id()).await.unwrap();
    assert_eq!(
        refused(reset(&anonymous, &reset_with(&reset_for_old)).await),
        "RECOVERY_TOKEN_INVALID"
    );
    assert_eq!(
        refused(verify(&anonymous, &verification, &request_id()).await),
        "RECOVERY_TOKEN_INVALID"
    );
    assert_eq!(live_tokens(stack, &ada).await, "email_undo");
}

#[tokio::test]
async fn an_address_of_another_account_is_refused_at_the_request_and_at_the_confirmation() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let bob = stack.person().await.unwrap();
    let taken = create_change(&backend(stack), ada.id, &bob.email, &request_id()).await;
    assert_eq!(refused(taken), "EMAIL_TAKEN");
    let email = new_address();
    let created = change_tokens(stack, &ada, &email).await;
    anonymous
        .account()
        .sign_up(sign_up_request(&email, "Correct-Horse-7-Battery"))
        .await
        .unwrap();
    assert_eq!(
        refused(confirm(&anonymous, &created.token, &request_id()).await),
        "EMAIL_TAKEN"
    );
    assert_eq!(
        live_tokens(stack, &ada).await,
        "email_change email_undo",
        "the token is not used up"
    );
    assert_eq!(account(stack, &ada).await.email, ada.email);
}

#[tokio::test]
async fn the_new_address_differs_and_is_an_address() {
    let stack = Stack::shared().await.unwrap();
    let (backend, ada) = (backend(stack), stack.person().await.unwrap());
    let same = create_change(&backend, ada.id, &ada.email.to_uppercase(), &request_id()).await;
    let expected = [("email".to_owned(), "SAME_AS_CURRENT".to_owned())];
    assert_eq!(violations(&same.unwrap_err()), expected);
    let malformed = create_change(&backend, ada.id, "ada", &request_id()).await;
    assert_eq!(refused(malformed), "EMAIL_INVALID");
}

#[tokio::test]
async fn a_new_change_ends_the_one_before() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let first = change_tokens(stack, &ada, &new_address()).await;
    let second = change_tokens(stack, &ada, &new_address()).await;
    assert_eq!(
        refused(confirm(&anonymous, &first.token, &request_id()).await),
        "RECOVERY_TOKEN_INVALID"
    );
    confirm(&anonymous, &second.token, &request_id()).await.unwrap();
}

#[tokio::test]
async fn at_most_five_changes_can_be_undone() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    for _ in 0..5 {
        let created = change_tokens(stack, &ada, &new_address()).await;
        confirm(&anonymous, &created.token, &request_id()).await.unwrap();
    }
    let sixth = create_change(&backend(stack), ada.id, &new_address(), &request_id()).await;
    let status = sixth.unwrap_err();
    assert_eq!(crate::status::reason(&status), "QUOTA_EXCEEDED");
    assert_eq!(crate::status::metadata(&status, "quota"), "email_changes");
}
