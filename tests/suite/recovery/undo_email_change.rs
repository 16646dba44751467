//! UndoEmailChange: the owner of the old mailbox gets the account back.

use haven_testkit::{Stack, client::sign_up_request};

use super::{
    NEW_PASSWORD, account, backend, change_tokens, confirm, create_change, events, live_tokens, new_address,
    refused, request_id, reset, reset_token, reset_with, sign_in_refused, token_refused, undo,
};
use crate::superuser_sql::execute_with;

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
        "password_reset",
        "the reset of the other address ends, and one of the old address begins"
    );
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
    assert_eq!(live_tokens(stack, &ada).await, "password_reset");
}

/// Another person took the account over: changed the address, and set a password by the other address.
#[tokio::test]
async fn an_undo_ends_the_password_and_its_owner_sets_another_one() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let attackers = new_address();
    let created = change_tokens(stack, &ada, &attackers).await;
    confirm(&anonymous, &created.token, &request_id()).await.unwrap();
    let mut taken_over = reset_with(&reset_token(stack, &attackers).await);
    taken_over.new_password = "Third-Horse-9-Battery".to_owned();
    reset(&anonymous, &taken_over).await.unwrap();

    let id = request_id();
    let undone = undo(&anonymous, &created.undo_token, &id).await.unwrap();
    for password in [&taken_over.new_password, &ada.password] {
        assert_eq!(
            sign_in_refused(stack, &ada.email, password).await.as_deref(),
            Some("CREDENTIALS_INVALID")
        );
    }
    assert!(undone.reset_token_expire_time.unwrap().seconds > undone.undo_time.unwrap().seconds);
    reset(&anonymous, &reset_with(&undone.reset_token)).await.unwrap();
    assert_eq!(sign_in_refused(stack, &ada.email, NEW_PASSWORD).await, None);
    assert_eq!(
        undo(&anonymous, &created.undo_token, &id).await.unwrap(),
        undone,
        "a retry gets the same token, which works once"
    );
    assert_eq!(
        refused(reset(&anonymous, &reset_with(&undone.reset_token)).await),
        "RECOVERY_TOKEN_INVALID"
    );
}

/// The clock that stamped the first change is an hour ahead of the one that stamps the second, as after a failover.
#[tokio::test]
async fn the_order_of_changes_does_not_depend_on_clocks() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let first = change_tokens(stack, &ada, &new_address()).await;
    confirm(&anonymous, &first.token, &request_id()).await.unwrap();
    let sql =
        "UPDATE identity.recovery_tokens SET opened_at = opened_at + interval '1 hour' WHERE user_id = $1";
    execute_with(&stack.database, sql, ada.id).await;
    let second = change_tokens(stack, &ada, &new_address()).await;
    confirm(&anonymous, &second.token, &request_id()).await.unwrap();

    undo(&anonymous, &first.undo_token, &request_id()).await.unwrap();
    assert_eq!(
        refused(undo(&anonymous, &second.undo_token, &request_id()).await),
        "RECOVERY_TOKEN_INVALID"
    );
    assert_eq!(account(stack, &ada).await.email, ada.email);
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
