//! By the person, who proves with their password that it is they.

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
    superuser_sql::scalar,
};

async fn append(client: &Client) -> Result<(), Status> {
    let message = AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "hello".into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    client.conversation().append_message(message).await.map(drop)
}

async fn account_refused(client: &Client) -> String {
    let answer = client.account().get_account(GetAccountRequest::default()).await;
    reason(&answer.unwrap_err())
}

#[tokio::test]
async fn nothing_is_left_of_them_but_the_receipt_and_the_tombstone() {
    let stack = Stack::start().await.unwrap();
    let (nobody, bob) = (stack.anonymous().unwrap(), stack.person().await.unwrap());
    let ada = stack.person().await.unwrap();
    let elsewhere = nobody.sign_in(&ada.email, &ada.password).await.unwrap();
    let client = stack.user(&ada).unwrap();
    append(&stack.user(&bob).unwrap()).await.unwrap();
    for _ in 0..3 {
        append(&client).await.unwrap();
    }
    let (before, of_bob) = (owned(&stack, &ada).await, owned(&stack, &bob).await);
    assert_eq!(
        (before["data.conversations"], before["identity.sessions"]),
        (3, 2)
    );

    let deleted = delete(&client, &deletion_by(&ada)).await.unwrap();
    assert_eq!(deleted.state(), DeletionState::Done, "{deleted:?}");
    assert!(deleted.complete_time.is_some());
    let mut expected = before;
    // The deletion is the last event of their log. Neither what stays is counted, nor what is made for it.
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
    assert_eq!(deletion(&stack, &ada).await.unwrap(), deleted);

    assert_eq!(
        traces(&stack, &ada).await,
        ["data.tombstones", "identity.erasures"]
    );
    assert_eq!(owned(&stack, &bob).await, of_bob, "of nobody else");

    // The session that asked goes on, to nothing; the other one has ended.
    assert_eq!(account_refused(&client).await, "ACCOUNT_ERASED");
    assert_eq!(
        account_refused(&stack.user(&elsewhere).unwrap()).await,
        "SESSION_REVOKED"
    );
    assert_eq!(reason(&append(&client).await.unwrap_err()), "ACCOUNT_ERASED");
    let sign_in = nobody.sign_in(&ada.email, &ada.password).await;
    let status: Status = sign_in.err().unwrap().downcast().unwrap();
    assert_eq!(reason(&status), "CREDENTIALS_INVALID");

    // The address is free, and whoever takes it is somebody else.
    let again = nobody.sign_up_and_in(&ada.email, &ada.password).await.unwrap();
    assert_ne!(again.id, ada.id);
    append(&stack.user(&again).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_retry_gets_the_same_deletion_and_another_request_does_not() {
    let stack = Stack::start().await.unwrap();
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
async fn who_does_not_prove_it_deletes_nothing() {
    let stack = Stack::start().await.unwrap();
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
    // Guessing slows down, also for the right one.
    let status = delete(&client, &deletion_by(&ada)).await.unwrap_err();
    assert_eq!(reason(&status), "RATE_LIMITED");
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(
        reason(&super::deletion(&stack, &ada).await.unwrap_err()),
        "NOT_FOUND"
    );
    let logged: i64 = scalar(
        &stack.database,
        "SELECT count(*) FROM identity.security_audit_log WHERE event = 'deletion' AND refused",
    )
    .await;
    assert_eq!(logged, 5);
    let people: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.users").await;
    assert_eq!(people, 2);
}

#[tokio::test]
async fn a_request_id_that_did_something_else_deletes_nothing() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let used: uuid::Uuid = scalar(
        &stack.database,
        "SELECT id FROM identity.requests WHERE method = 'SignIn'",
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
