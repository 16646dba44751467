//! Tokens that expired.

use haven_testkit::{Person, Stack, client::sign_up_request};

use super::{
    change_tokens, confirm, create_verification, new_address, request_id, reset, reset_token, reset_with,
    undo, verify,
};
use crate::superuser_sql::execute_with;

/// Makes the person's tokens as old as tokens that expired a moment ago.
async fn expire(stack: &Stack, person: &Person) {
    let sql = "UPDATE identity.recovery_tokens
        SET issued_at = issued_at - (expires_at - now()) - interval '1 second', expires_at = now() - interval '1 second',
            opened_at = opened_at - (expires_at - now())
        WHERE user_id = $1";
    execute_with(&stack.database, sql, person.id).await;
}

#[tokio::test]
async fn an_expired_token_is_refused_and_frees_the_address() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, ada) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let changed = change_tokens(stack, &ada, &new_address()).await;
    confirm(&anonymous, &changed.token, &request_id()).await.unwrap();
    let email = super::account(stack, &ada).await.email;
    let token = reset_token(stack, &email).await;
    let verification = create_verification(&super::backend(stack), ada.id, &request_id()).await;
    let pending = change_tokens(stack, &ada, &new_address()).await;
    expire(stack, &ada).await;
    let answers = [
        reset(&anonymous, &reset_with(&token)).await.err(),
        verify(&anonymous, &verification.unwrap().token, &request_id())
            .await
            .err(),
        confirm(&anonymous, &pending.token, &request_id()).await.err(),
        undo(&anonymous, &pending.undo_token, &request_id()).await.err(),
        undo(&anonymous, &changed.undo_token, &request_id()).await.err(),
    ];
    for answer in answers {
        assert_eq!(crate::status::reason(&answer.unwrap()), "RECOVERY_TOKEN_INVALID");
    }
    // The old address is not reserved any more.
    let sign_up = sign_up_request(&ada.email, "Correct-Horse-7-Battery");
    anonymous.account().sign_up(sign_up).await.unwrap();
}
