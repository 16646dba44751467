//! Concurrent uses of tokens, and uses beside other changes of the account.

use futures_util::future::{join, join_all};
use haven_proto::identity::v1::DeleteAccountRequest;
use haven_testkit::{Stack, client::sign_up_request};
use sqlx::Connection;

use super::{
    account, backend, change_tokens, confirm, create_change, create_reset, events, live_tokens, new_address,
    request_id, reset, reset_token, reset_with, sign_in_refused, undo,
};
use crate::{
    eventually::eventually,
    status::reason,
    superuser_sql::{scalar, scalar_with},
};

/// Number of concurrent calls.
const CALLS: usize = 10;

/// Number of rounds of each race.
const ROUNDS: usize = 5;

#[tokio::test]
async fn one_of_several_concurrent_uses_wins() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let token = reset_token(stack, &ada.email).await;
    let uses = (0..CALLS).map(|_| {
        let request = reset_with(&token);
        let anonymous = &anonymous;
        async move { reset(anonymous, &request).await }
    });
    let answers = join_all(uses).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in answers.into_iter().filter_map(Result::err) {
        assert_eq!(reason(&refused), "RECOVERY_TOKEN_INVALID");
    }
    assert_eq!(
        events(stack, &ada).await,
        "password_reset_request, password_reset"
    );

    let created = change_tokens(stack, &ada, &new_address()).await;
    let answers = join_all((0..CALLS).map(|_| async {
        let id = request_id();
        confirm(&anonymous, &created.token, &id).await
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let answers = join_all((0..CALLS).map(|_| async {
        let id = request_id();
        undo(&anonymous, &created.undo_token, &id).await
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
}

#[tokio::test]
async fn of_concurrent_creations_one_token_is_left() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let backend = backend(stack);
    let ids: Vec<String> = (0..CALLS).map(|_| request_id()).collect();
    let created = join_all(ids.iter().map(|id| create_reset(&backend, &ada.email, id))).await;
    assert_eq!(live_tokens(stack, &ada).await, "password_reset");
    let mut used = 0;
    for created in created {
        let request = reset_with(&created.unwrap().token);
        used += usize::from(reset(&anonymous, &request).await.is_ok());
    }
    assert_eq!(used, 1);
}

/// Each ends the other's token: one of them succeeds.
#[tokio::test]
async fn a_reset_beside_a_change_of_address() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    for _ in 0..ROUNDS {
        let ada = stack.person().await.unwrap();
        let email = new_address();
        let created = change_tokens(stack, &ada, &email).await;
        let request = reset_with(&reset_token(stack, &ada.email).await);
        let id = request_id();
        let (reset, changed) = join(
            reset(&anonymous, &request),
            confirm(&anonymous, &created.token, &id),
        )
        .await;
        assert_ne!(reset.is_ok(), changed.is_ok(), "{reset:?} {changed:?}");
        let after = account(stack, &ada).await;
        assert_eq!(
            after.email,
            if changed.is_ok() { email } else { ada.email.clone() }
        );
        let live = live_tokens(stack, &ada).await;
        assert_eq!(live, if changed.is_ok() { "email_undo" } else { "" });
    }
}

#[tokio::test]
async fn a_deletion_beside_a_reset() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, backend) = (stack.anonymous().unwrap(), backend(stack));
    for _ in 0..ROUNDS {
        let ada = stack.person().await.unwrap();
        let request = reset_with(&reset_token(stack, &ada.email).await);
        let deletion = DeleteAccountRequest {
            user_id: ada.id.to_string(),
            password: String::new(),
            request_id: request_id(),
        };
        let mut accounts = backend.account();
        let (reset, deleted) = join(reset(&anonymous, &request), accounts.delete_account(deletion)).await;
        deleted.unwrap();
        if let Err(refused) = reset {
            assert_eq!(reason(&refused), "RECOVERY_TOKEN_INVALID");
        }
        let left: i64 = scalar_with(
            &stack.database,
            "SELECT (SELECT count(*) FROM identity.recovery_tokens WHERE user_id = $1)
                + (SELECT count(*) FROM identity.users WHERE id = $1)",
            ada.id,
        )
        .await;
        assert_eq!(left, 0);
    }
}

/// A sign-up waits for the change that gives its address up, and then finds that the address is reserved.
#[tokio::test]
async fn a_sign_up_beside_a_change_does_not_get_the_old_address() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    for _ in 0..ROUNDS {
        let ada = stack.person().await.unwrap();
        let created = change_tokens(stack, &ada, &new_address()).await;
        let id = request_id();
        let mut accounts = anonymous.account();
        let (confirmed, signed_up) = join(
            confirm(&anonymous, &created.token, &id),
            accounts.sign_up(sign_up_request(&ada.email, "Correct-Horse-7-Battery")),
        )
        .await;
        confirmed.unwrap();
        assert_eq!(reason(&signed_up.unwrap_err()), "EMAIL_TAKEN");
    }
}

/// The address changes between the time at which a request reads it and the time at which the request stores its tokens. The
/// answer names the address that the undo gives back, as it is mailed there.
#[tokio::test]
async fn a_change_of_address_beside_another_one_names_the_address_that_its_undo_gives_back() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, backend) = (stack.anonymous().unwrap(), backend(stack));
    let ada = stack.person().await.unwrap();
    let (second, third, id) = (new_address(), new_address(), request_id());
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let mut moved = superuser.begin().await.unwrap();
    sqlx::query("UPDATE identity.users SET email = $2, email_canonical = $2 WHERE id = $1")
        .bind(ada.id)
        .bind(&second)
        .execute(&mut *moved)
        .await
        .unwrap();
    let moves = async move {
        eventually("the request waits for the change", async || {
            let waits = "SELECT EXISTS (
                SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'CreateEmailChange'
            )";
            scalar(&stack.database, waits).await
        })
        .await;
        moved.commit().await.unwrap();
    };
    let (created, ()) = join(create_change(&backend, ada.id, &third, &id), moves).await;
    let created = created.unwrap();
    assert_eq!(created.old_email, second);
    confirm(&anonymous, &created.token, &request_id()).await.unwrap();
    undo(&anonymous, &created.undo_token, &request_id())
        .await
        .unwrap();
    assert_eq!(account(stack, &ada).await.email, second);
}

/// Only the password of the call that came first is set, and only that call is told so.
#[tokio::test]
async fn concurrent_resets_with_one_request_id_and_different_passwords() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    for _ in 0..ROUNDS {
        let ada = stack.person().await.unwrap();
        let request = reset_with(&reset_token(stack, &ada.email).await);
        let requests: Vec<_> = (0..3)
            .map(|number| {
                let mut request = request.clone();
                request.new_password = format!("Another-Horse-{number}-Battery");
                request
            })
            .collect();
        let answers = join_all(requests.iter().map(|request| reset(&anonymous, request))).await;
        let mut right = Vec::new();
        for (answer, request) in answers.into_iter().zip(&requests) {
            match answer {
                Ok(_) => right.push(&request.new_password),
                Err(refused) => assert_eq!(reason(&refused), "REQUEST_ID_REUSED"),
            }
        }
        assert_eq!(right.len(), 1, "{right:?}");
        assert_eq!(sign_in_refused(stack, &ada.email, right[0]).await, None);
    }
}

/// Of two accounts that change to one address, one gets it, and the other one's token is not used up.
#[tokio::test]
async fn two_changes_to_one_address() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let email = new_address();
    let of_ada = change_tokens(stack, &ada, &email).await;
    let of_bob = change_tokens(stack, &bob, &email).await;
    let ids = [request_id(), request_id()];
    let (first, second) = join(
        confirm(&anonymous, &of_ada.token, &ids[0]),
        confirm(&anonymous, &of_bob.token, &ids[1]),
    )
    .await;
    assert_ne!(first.is_ok(), second.is_ok());
    let (loser, refused) = match first {
        Err(refused) => (&ada, refused),
        Ok(_) => (&bob, second.unwrap_err()),
    };
    assert_eq!(reason(&refused), "EMAIL_TAKEN");
    assert_eq!(live_tokens(stack, loser).await, "email_change email_undo");
}
