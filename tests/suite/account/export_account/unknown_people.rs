//! Exports of people without an account: they are refused, and one that is cut by a deletion has no manifest.

use haven_proto::identity::v1::GetAccountRequest;
use haven_testkit::{Stack, random};

use super::{export, rest, resume};
use crate::{
    account::{
        deletion::{delete, deletion_by},
        external_provider::{external_person, stack},
    },
    status::reason,
    superuser_sql::{execute, scalar},
};

#[tokio::test]
async fn an_export_of_an_erased_person_is_refused_with_a_token_that_still_lives() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    delete(&client, &deletion_by(&ada)).await.unwrap();
    let status = export(&client).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
}

#[tokio::test]
async fn an_export_during_a_deletion_ends_without_a_manifest() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let events = format!(
        "INSERT INTO identity.security_audit_log (user_id, number, event, refused, service, occurred_at, digest)
            SELECT '{0}', 2 + n, 'sign_in', true, repeat('s', 255), now(), sha256('') FROM generate_series(1, 10000) AS n;
        UPDATE identity.audit_chains SET last_number = 10002 WHERE user_id = '{0}'",
        ada.id
    );
    execute(&stack.database, &events).await;
    let mut answers = resume(&client, "").await.unwrap();
    assert!(answers.message().await.unwrap().unwrap().account.is_some());
    delete(&client, &deletion_by(&ada)).await.unwrap();
    let status = rest(answers).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
}

/// GetAccount creates an account for such a person. An export has nothing to export, and creates none.
#[tokio::test]
async fn an_export_creates_no_account_for_a_person_of_another_provider() {
    let (stack, _directory) = stack("external").await;
    let client = external_person(&stack, random::uuid());
    let status = export(&client).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    let accounts: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.users").await;
    assert_eq!(accounts, 0);
    // Once there is one, it has no address and no password.
    client
        .account()
        .get_account(GetAccountRequest::default())
        .await
        .unwrap();
    let exported = export(&client).await.unwrap().account.unwrap();
    assert_eq!(exported.account.unwrap().email, "");
    assert_eq!(exported.password_set_time, None);
}
