//! UndoEmailChange: the owner of the old mailbox gets the account back.

use haven_testkit::{Stack, client::sign_up_request};

use super::{
    account, backend, change_tokens, confirm, create_change, events, live_tokens, new_address, refused,
    request_id, reset_token, sign_in_refused, token_refused, undo,
};

#[tokio::test]
async fn an_undo_gives_the_old_address_back_and_ends_every_session() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let attackers = new_address();
    let created = change_tokens(stack, &ada, &attackers).await;
    confirm(&anonymous, &created.token, &request_id()).await.unwrap();
    reset_token(stack, &attackers).await;

    let undone = undo(&anonymous, &created.undo_token, &request_id())
        .await
        .unwrap();
    assert_eq!(undone.ended_sessions, 1);
    assert_eq!(
        token_refused(stack, &ada).await.as_deref(),
        Some("SESSION_REVOKED")
    );
    let after = account(stack, &ada).await;
    assert_eq!(
        (after.email, after.email_verified_time),
        (ada.email.clone(), undone.undo_time)
    );
    assert_eq!(
        live_tokens(stack, &ada).await,
        "",
        "the reset of the other address ends"
    );
    assert_eq!(sign_in_refused(stack, &ada.email, &ada.password).await, None);
    assert_eq!(
        refused(undo(&anonymous, &created.undo_token, &request_id()).await),
        "RECOVERY_TOKEN_INVALID"
    );
    assert_eq!(
        events(stack, &ada).await,
        "email_change_request, email_change, password_reset_request, email_undo"
    );
    // The other address is free again.
    let sign_up = sign_up_request(&attackers, "Correct-Horse-7-Battery");
    anonymous.account().sign_up(sign_up).await.unwrap();
}

#[tokio::test]
async fn an_undo_before_the_confirmation_ends_the_change() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let created = change_tokens(stack, &ada, &new_address()).await;
    undo(&anonymous, &created.undo_token, &request_id())
        .await
        .unwrap();
    assert_eq!(
        refused(confirm(&anonymous, &created.token, &request_id()).await),
        "RECOVERY_TOKEN_INVALID"
    );
    assert_eq!(account(stack, &ada).await.email, ada.email);
    assert_eq!(
        token_refused(stack, &ada).await.as_deref(),
        Some("SESSION_REVOKED")
    );
}

/// A second change must not take the way back from the owner of the first address.
#[tokio::test]
async fn the_owner_of_the_older_address_decides() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let (second, third) = (new_address(), new_address());
    let first_change = change_tokens(stack, &ada, &second).await;
    confirm(&anonymous, &first_change.token, &request_id())
        .await
        .unwrap();
    let second_change = change_tokens(stack, &ada, &third).await;
    confirm(&anonymous, &second_change.token, &request_id())
        .await
        .unwrap();
    let pending = change_tokens(stack, &ada, &new_address()).await;

    undo(&anonymous, &first_change.undo_token, &request_id())
        .await
        .unwrap();
    assert_eq!(account(stack, &ada).await.email, ada.email);
    for token in [&second_change.undo_token, &pending.undo_token] {
        assert_eq!(
            refused(undo(&anonymous, token, &request_id()).await),
            "RECOVERY_TOKEN_INVALID"
        );
    }
    assert_eq!(
        refused(confirm(&anonymous, &pending.token, &request_id()).await),
        "RECOVERY_TOKEN_INVALID"
    );
    assert_eq!(live_tokens(stack, &ada).await, "");
}

#[tokio::test]
async fn no_other_account_gets_the_old_address_while_the_change_can_be_undone() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let bob = stack.person().await.unwrap();
    let created = change_tokens(stack, &ada, &new_address()).await;
    confirm(&anonymous, &created.token, &request_id()).await.unwrap();

    let sign_up = sign_up_request(&ada.email, "Correct-Horse-7-Battery");
    assert_eq!(refused(anonymous.account().sign_up(sign_up).await), "EMAIL_TAKEN");
    let change = create_change(&backend(stack), bob.id, &ada.email, &request_id()).await;
    assert_eq!(refused(change), "EMAIL_TAKEN");
    // The account itself may have it.
    let back = change_tokens(stack, &ada, &ada.email).await;
    confirm(&anonymous, &back.token, &request_id()).await.unwrap();
    assert_eq!(account(stack, &ada).await.email, ada.email);
}
