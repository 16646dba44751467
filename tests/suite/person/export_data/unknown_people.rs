//! Who has nothing here that could be exported.

use haven_proto::data::v1::EraseUserRequest;
use haven_testkit::{Stack, random};

use super::{begin, export, rest};
use crate::{
    status::reason,
    superuser_sql::{execute, scalar},
};

#[tokio::test]
async fn who_is_not_known_yet_is_told_so() {
    let mut stack = Stack::builder().without("data").start().await.unwrap();
    let ada = stack.person().await.unwrap();
    // Whoever is to be made known waits, so that data is asked for somebody whom it does not know.
    execute(
        &stack.database,
        "UPDATE identity.outbox SET next_attempt_at = now() + interval '1 day'",
    )
    .await;
    stack.data.start().await.unwrap();
    let status = export(&stack.user(&ada).unwrap()).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_NOT_READY");
    assert!(!written_down(&stack).await);
}

#[tokio::test]
async fn who_was_erased_is_told_so() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    erase(&stack, &ada.id.to_string()).await;
    let status = export(&stack.user(&ada).unwrap()).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
    assert!(!written_down(&stack).await);
}

/// Half of what there was is not everything, and has no manifest that says so.
#[tokio::test]
async fn who_is_erased_while_they_are_read_gets_no_manifest() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    super::hundred_thousand_rows::messages(&stack, &ada, 10_000).await;
    let mut answers = begin(&client).await.unwrap();
    let first = answers.message().await.unwrap().unwrap();
    assert!(!first.messages.is_empty());
    erase(&stack, &ada.id.to_string()).await;
    let status = rest(answers).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
}

/// An erasure that ran into its deadline has left some of what there was, and that is not everything either.
#[tokio::test]
async fn who_is_about_to_be_erased_gets_no_manifest() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let under_way = format!(
        "INSERT INTO data.erasures (user_id, erased) VALUES ('{}', '{{}}')",
        ada.id
    );
    execute(&stack.database, &under_way).await;
    let status = export(&stack.user(&ada).unwrap()).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
}

async fn erase(stack: &Stack, user_id: &str) {
    let request = EraseUserRequest {
        user_id: user_id.to_owned(),
        request_id: random::uuid().to_string(),
    };
    let identity = stack.service("identity").unwrap();
    identity.person().erase_user(request).await.unwrap();
}

/// Whether an export was noted down.
async fn written_down(stack: &Stack) -> bool {
    scalar(
        &stack.database,
        "SELECT EXISTS (SELECT FROM data.security_audit_log)",
    )
    .await
}
