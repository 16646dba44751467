//! What else ends tokens: a change of the password, an erasure.

use haven_proto::identity::v1::{ChangePasswordRequest, DeleteAccountRequest};
use haven_testkit::{Stack, client::sign_up_request};

use super::{
    NEW_PASSWORD, backend, change_tokens, confirm, create_reset, create_verification, live_tokens,
    new_address, refused, request_id, reset, reset_token, reset_with, undo,
};
use crate::superuser_sql::scalar_with;

#[tokio::test]
async fn a_change_of_the_password_ends_resets_and_pending_changes() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let undoable = change_tokens(stack, &ada, &new_address()).await;
    confirm(&anonymous, &undoable.token, &request_id()).await.unwrap();
    let email = super::account(stack, &ada).await.email;
    let token = reset_token(stack, &email).await;
    let pending = change_tokens(stack, &ada, &new_address()).await;
    create_verification(&backend(stack), ada.id, &request_id())
        .await
        .unwrap();
    let request = ChangePasswordRequest {
        current_password: ada.password.clone(),
        new_password: NEW_PASSWORD.to_owned(),
        request_id: request_id(),
    };
    let client = stack.user(&ada).unwrap();
    client.account().change_password(request).await.unwrap();
    assert_eq!(
        live_tokens(stack, &ada).await,
        "email_undo email_verification",
        "the undo of a change that took place stays"
    );
    assert_eq!(
        refused(reset(&anonymous, &reset_with(&token)).await),
        "RECOVERY_TOKEN_INVALID"
    );
    assert_eq!(
        refused(confirm(&anonymous, &pending.token, &request_id()).await),
        "RECOVERY_TOKEN_INVALID"
    );
    undo(&anonymous, &undoable.undo_token, &request_id())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_reset_ends_pending_changes() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let pending = change_tokens(stack, &ada, &new_address()).await;
    let token = reset_token(stack, &ada.email).await;
    reset(&anonymous, &reset_with(&token)).await.unwrap();
    assert_eq!(live_tokens(stack, &ada).await, "");
    assert_eq!(
        refused(confirm(&anonymous, &pending.token, &request_id()).await),
        "RECOVERY_TOKEN_INVALID"
    );
}

#[tokio::test]
async fn an_erasure_deletes_the_tokens_and_frees_the_reserved_addresses() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let created = change_tokens(stack, &ada, &new_address()).await;
    confirm(&anonymous, &created.token, &request_id()).await.unwrap();
    let deletion = DeleteAccountRequest {
        user_id: ada.id.to_string(),
        password: String::new(),
        request_id: request_id(),
    };
    backend(stack).account().delete_account(deletion).await.unwrap();
    assert_eq!(
        refused(undo(&anonymous, &created.undo_token, &request_id()).await),
        "RECOVERY_TOKEN_INVALID"
    );
    let rows = "SELECT count(*) FROM identity.recovery_tokens WHERE user_id = $1";
    assert_eq!(scalar_with::<i64, _>(&stack.database, rows, ada.id).await, 0);
    let sign_up = sign_up_request(&ada.email, "Correct-Horse-7-Battery");
    anonymous.account().sign_up(sign_up).await.unwrap();
}

/// A late copy of a request does not bring the token back that was mailed for the account of before.
#[tokio::test]
async fn the_token_of_a_reset_depends_on_the_account_that_has_the_address() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let (backend, id) = (backend(stack), request_id());
    let first = create_reset(&backend, &ada.email, &id).await.unwrap();
    let deletion = DeleteAccountRequest {
        user_id: ada.id.to_string(),
        password: String::new(),
        request_id: request_id(),
    };
    backend.account().delete_account(deletion).await.unwrap();
    let sign_up = sign_up_request(&ada.email, "Correct-Horse-7-Battery");
    anonymous.account().sign_up(sign_up).await.unwrap();

    let late = create_reset(&backend, &ada.email, &id).await.unwrap();
    assert_ne!(late.token, first.token);
    assert_eq!(
        refused(reset(&anonymous, &reset_with(&first.token)).await),
        "RECOVERY_TOKEN_INVALID"
    );
    reset(&anonymous, &reset_with(&late.token)).await.unwrap();
}
