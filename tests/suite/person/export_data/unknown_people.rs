//! Exports of people that the data service does not know yet, has erased, or is erasing: they are refused.

use haven_proto::data::v1::EraseUserRequest;
use haven_testkit::{Person, Stack, random};

use super::{begin, export, rest};
use crate::{status::reason, superuser_sql::execute, superuser_sql::scalar_with};

#[tokio::test]
async fn an_export_before_the_account_is_ready_is_refused() {
    let mut stack = Stack::builder().without("data").start().await.unwrap();
    let ada = stack.person().await.unwrap();
    // Delay the outbox, so that the data service does not know the person yet.
    execute(
        &stack.database,
        "UPDATE identity.outbox SET next_attempt_at = now() + interval '1 day'",
    )
    .await;
    stack.data.start().await.unwrap();
    let status = export(&stack.user(&ada).unwrap()).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_NOT_READY");
    assert!(!is_audited(&stack, &ada).await);
}

#[tokio::test]
async fn an_export_of_an_erased_person_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    erase(stack, &ada.id.to_string()).await;
    let status = export(&stack.user(&ada).unwrap()).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
    assert!(!is_audited(stack, &ada).await);
}

/// The export is incomplete, so it must not have a manifest.
#[tokio::test]
async fn an_export_during_an_erasure_ends_without_a_manifest() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    super::hundred_thousand_rows::messages(stack, &ada, 10_000).await;
    let mut answers = begin(&client).await.unwrap();
    let first = answers.message().await.unwrap().unwrap();
    assert!(!first.messages.is_empty());
    erase(stack, &ada.id.to_string()).await;
    let status = rest(answers).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
}

/// An erasure that reached its deadline has left some of the rows, so an export would be incomplete.
#[tokio::test]
async fn an_export_is_refused_while_an_erasure_is_unfinished() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let insert = format!(
        "INSERT INTO data.erasures (user_id, erased) VALUES ('{}', '{{}}')",
        ada.id
    );
    execute(&stack.database, &insert).await;
    let status = export(&stack.user(&ada).unwrap()).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
}

/// Erases the person with `user_id`.
async fn erase(stack: &Stack, user_id: &str) {
    let request = EraseUserRequest {
        user_id: user_id.to_owned(),
        request_id: random::uuid().to_string(),
    };
    let identity = stack.service("identity").unwrap();
    identity.person().erase_user(request).await.unwrap();
}

/// Returns `true` when the person's audit log has an entry.
async fn is_audited(stack: &Stack, person: &Person) -> bool {
    let exists = "SELECT EXISTS (SELECT FROM data.security_audit_log WHERE user_id = $1)";
    scalar_with(&stack.database, exists, person.id).await
}
