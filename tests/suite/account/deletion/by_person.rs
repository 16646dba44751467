//! DeleteAccount by the person, who proves their identity with the password.

use haven_proto::{
    data::v1::{AppendMessageRequest, SenderType},
    identity::v1::{DeleteAccountRequest, DeletionState, GetAccountRequest},
};
use haven_testkit::{Client, Stack, random};
use tonic::Status;
use tonic_types::StatusExt;

use super::{
    delete, deletion, deletion_by,
    rows::{owned, receipt, traces},
};
use crate::{
    status::{reason, violations},
    superuser_sql::scalar_with,
};

/// Appends a message to the client's conversation.
async fn append(client: &Client) -> Result<(), Status> {
    let message = AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "hello".into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    client.conversation().append_message(message).await.map(drop)
}

/// Returns the reason for which GetAccount fails.
async fn account_refused(client: &Client) -> String {
    let answer = client.account().get_account(GetAccountRequest::default()).await;
    reason(&answer.unwrap_err())
}

#[tokio::test]
async fn only_the_receipt_and_the_tombstone_are_left() {
    let stack = Stack::shared().await.unwrap();
    let (anonymous, bob) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let ada = stack.person().await.unwrap();
    let other_session = anonymous.sign_in(&ada.email, &ada.password).await.unwrap();
    let client = stack.user(&ada).unwrap();
    append(&stack.user(&bob).unwrap()).await.unwrap();
    for _ in 0..3 {
        append(&client).await.unwrap();
    }
    let (before, of_bob) = (owned(stack, &ada).await, owned(stack, &bob).await);
    assert_eq!(
        (before["data.conversations"], before["identity.sessions"]),
        (3, 2)
    );

    let deleted = delete(&client, &deletion_by(&ada)).await.unwrap();
    assert_eq!(deleted.state(), DeletionState::Done, "{deleted:?}");
    assert!(deleted.complete_time.is_some());
    let mut expected = before;
    // The deletion is the last event of the log. The receipt counts neither itself nor the tombstone.
    *expected.get_mut("identity.security_audit_log").unwrap() += 1;
    for table in ["identity.erasures", "data.erasures", "data.tombstones"] {
        expected.remove(table);
    }
    assert_eq!(receipt(&deleted), expected);
    let tables: Vec<_> = deleted.erased.iter().map(|rows| &rows.table).collect();
    let data = tables
        .iter()
        .position(|table| table.starts_with("data."))
        .unwrap();
    assert!(
        tables[..data].is_sorted() && tables[data..].is_sorted(),
        "{tables:?}"
    );
    assert_eq!(deletion(stack, &ada).await.unwrap(), deleted);

    assert_eq!(
        traces(stack, &ada).await,
        ["data.tombstones", "identity.erasures"]
    );
    assert_eq!(owned(stack, &bob).await, of_bob, "rows of others stay");

    // The session that deleted the account keeps its token; the other session has ended.
    assert_eq!(account_refused(&client).await, "ACCOUNT_ERASED");
    assert_eq!(
        account_refused(&stack.user(&other_session).unwrap()).await,
        "SESSION_REVOKED"
    );
    assert_eq!(reason(&append(&client).await.unwrap_err()), "ACCOUNT_ERASED");
    let sign_in = anonymous.sign_in(&ada.email, &ada.password).await;
    let status: Status = sign_in.err().unwrap().downcast().unwrap();
    assert_eq!(reason(&status), "CREDENTIALS_INVALID");

    // The address is free again, and the new account is another person.
    let new_person = anonymous.sign_up_and_in(&ada.email, &ada.password).await.unwrap();
    assert_ne!(new_person.id, ada.id);
    append(&stack.user(&new_person).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_retry_gets_the_same_deletion_and_a_new_request_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let request = deletion_by(&ada);
    let first = delete(&client, &request).await.unwrap();
    assert_eq!(delete(&client, &request).await.unwrap(), first);
    let backend = stack.service("backend").unwrap();
    let by_service = DeleteAccountRequest {
        user_id: ada.id.to_string(),
        password: String::new(),
        ..request
    };
    assert_eq!(delete(&backend, &by_service).await.unwrap(), first);
    let status = delete(&client, &deletion_by(&ada)).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
}

#[tokio::test]
async fn nothing_is_deleted_without_the_right_password() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let client = stack.user(&ada).unwrap();
    let of = |user_id: String, password: &str| DeleteAccountRequest {
        user_id,
        password: password.to_owned(),
        request_id: random::uuid().to_string(),
    };
    let status = delete(&client, &of(ada.id.to_string(), "")).await.unwrap_err();
    assert_eq!(
        violations(&status),
        [("password".to_owned(), "REQUIRED".to_owned())]
    );
    let status = delete(&client, &of(bob.id.to_string(), &ada.password))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    // Bob's password proves nothing about Ada.
    let wrong = of(String::new(), &bob.password);
    for _ in 0..5 {
        let status = delete(&client, &wrong).await.unwrap_err();
        assert_eq!(reason(&status), "CREDENTIALS_INVALID");
    }
    // After five wrong passwords the right one has to wait as well.
    let status = delete(&client, &deletion_by(&ada)).await.unwrap_err();
    assert_eq!(reason(&status), "RATE_LIMITED");
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(
        reason(&super::deletion(stack, &ada).await.unwrap_err()),
        "NOT_FOUND"
    );
    let people = vec![ada.id, bob.id];
    let logged: i64 = scalar_with(
        &stack.database,
        "SELECT count(*) FROM identity.security_audit_log
         WHERE user_id = ANY ($1) AND event = 'deletion' AND refused",
        people.clone(),
    )
    .await;
    assert_eq!(logged, 5);
    let accounts: i64 = scalar_with(
        &stack.database,
        "SELECT count(*) FROM identity.users WHERE id = ANY ($1)",
        people,
    )
    .await;
    assert_eq!(accounts, 2);
}

#[tokio::test]
async fn a_request_id_of_another_method_deletes_nothing() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let used: uuid::Uuid = scalar_with(
        &stack.database,
        "SELECT id FROM identity.requests WHERE user_id = $1 AND method = 'SignIn'",
        ada.id,
    )
    .await;
    let reused = DeleteAccountRequest {
        request_id: used.to_string(),
        ..deletion_by(&ada)
    };
    let status = delete(&stack.user(&ada).unwrap(), &reused).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    let by_service = DeleteAccountRequest {
        user_id: ada.id.to_string(),
        password: String::new(),
        ..reused
    };
    let backend = stack.service("backend").unwrap();
    let status = delete(&backend, &by_service).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
}
