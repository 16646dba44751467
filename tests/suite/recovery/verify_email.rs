//! CreateEmailVerification and VerifyEmail.

use haven_proto::identity::v1::DeleteAccountRequest;
use haven_testkit::{Stack, random};

use super::{
    account, backend, create_verification, events, new_address, refused, request_id, sign_in_refused, verify,
};
use crate::status::violations;

#[tokio::test]
async fn a_token_verifies_the_address_once() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let backend = backend(stack);
    let before = account(stack, &ada).await;
    let created = create_verification(&backend, ada.id, &request_id())
        .await
        .unwrap();
    assert_eq!(created.email, ada.email);
    let verified = verify(&anonymous, &created.token, &request_id()).await.unwrap();
    let after = account(stack, &ada).await;
    assert_eq!(after.email_verified_time, verified.email_verified_time);
    assert_eq!(after.version, before.version + 1);
    assert_eq!(
        refused(verify(&anonymous, &created.token, &request_id()).await),
        "RECOVERY_TOKEN_INVALID"
    );
    // Once more with another token: the time stays, and the account does not change.
    let created = create_verification(&backend, ada.id, &request_id())
        .await
        .unwrap();
    let again = verify(&anonymous, &created.token, &request_id()).await.unwrap();
    assert_eq!(again, verified);
    assert_eq!(account(stack, &ada).await.version, after.version);
    assert_eq!(
        events(stack, &ada).await,
        "email_verification_request, email_verification, email_verification_request, email_verification"
    );
}

#[tokio::test]
async fn sign_in_requires_a_verified_address_by_configuration() {
    let stack = Stack::builder()
        .variable("identity", "REQUIRE_VERIFIED_EMAIL", "on")
        .start()
        .await
        .unwrap();
    let anonymous = stack.anonymous().unwrap();
    let (email, password) = (new_address(), "Correct-Horse-7-Battery");
    let request = haven_testkit::client::sign_up_request(&email, password);
    let signed_up = anonymous.account().sign_up(request).await.unwrap();
    let user_id = signed_up.into_inner().account.unwrap().id.parse().unwrap();
    let refused = sign_in_refused(&stack, &email, password).await;
    assert_eq!(refused.as_deref(), Some("EMAIL_NOT_VERIFIED"));
    let created = create_verification(&backend(&stack), user_id, &request_id()).await;
    verify(&anonymous, &created.unwrap().token, &request_id())
        .await
        .unwrap();
    assert_eq!(sign_in_refused(&stack, &email, password).await, None);
}

#[tokio::test]
async fn there_is_no_token_for_an_account_that_is_gone() {
    let stack = Stack::shared().await.unwrap();
    let (backend, ada) = (backend(stack), stack.person().await.unwrap());
    let unknown = create_verification(&backend, random::uuid(), &request_id()).await;
    assert_eq!(refused(unknown), "NOT_FOUND");
    let created = create_verification(&backend, ada.id, &request_id())
        .await
        .unwrap();
    let deletion = DeleteAccountRequest {
        user_id: ada.id.to_string(),
        password: String::new(),
        request_id: request_id(),
    };
    backend.account().delete_account(deletion).await.unwrap();
    let erased = create_verification(&backend, ada.id, &request_id()).await;
    assert_eq!(refused(erased), "ACCOUNT_ERASED");
    let anonymous = stack.anonymous().unwrap();
    let late = verify(&anonymous, &created.token, &request_id()).await;
    assert_eq!(refused(late), "RECOVERY_TOKEN_INVALID");
}

#[tokio::test]
async fn malformed_requests_name_every_field() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let status = verify(&anonymous, "", "").await.unwrap_err();
    let expected = [("request_id", "REQUIRED"), ("token", "REQUIRED")];
    assert_eq!(violations(&status), expected.map(|(a, b)| (a.into(), b.into())));
}
