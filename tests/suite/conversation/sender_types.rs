//! Senders: a person writes as themselves only; a service that acts for the person writes as every sender.

use haven_proto::data::v1::SenderType::{Coach, System, User};
use haven_testkit::Stack;

use super::{get, message, numbers, try_append};
use crate::{
    status::{metadata, reason},
    superuser_sql::{execute, scalar},
};

#[tokio::test]
async fn a_person_writes_as_themselves_and_a_service_as_every_sender() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let (alone, through) = (stack.user(&ada).unwrap(), backend.with_token(&ada.token).unwrap());
    // The first message of a conversation may be the coach's.
    let mut written = Vec::new();
    for (caller, sender) in [
        (&through, Coach),
        (&alone, User),
        (&through, User),
        (&through, System),
        (&through, Coach),
    ] {
        let stored = try_append(caller, message(sender, "hello")).await.unwrap();
        assert_eq!(stored.sender_type(), sender);
        assert_eq!(get(&alone, &stored.id).await.unwrap(), stored, "{sender:?}");
        written.push(stored.number);
    }
    assert_eq!(written, [1, 2, 3, 4, 5]);

    for sender in [Coach, System] {
        let status = try_append(&alone, message(sender, "hello")).await.unwrap_err();
        assert_eq!(reason(&status), "ACCESS_DENIED", "{sender:?}");
    }
    // Without a person's token there is no conversation to write to; and the service has to be on the list.
    for sender in [User, Coach, System] {
        let status = try_append(&backend, message(sender, "hello")).await.unwrap_err();
        assert_eq!(reason(&status), "TOKEN_INVALID", "{sender:?}");
        assert_eq!(metadata(&status, "problem"), "MISSING", "{sender:?}");
    }
    let stranger = stack.service("stranger").unwrap().with_token(&ada.token).unwrap();
    let status = try_append(&stranger, message(Coach, "hello")).await.unwrap_err();
    assert_eq!(reason(&status), "ACCESS_DENIED");
    assert_eq!(numbers(&alone).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn only_a_service_with_the_scope_author_writes_as_the_coach_and_the_system() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let worker = stack.service("worker").unwrap().with_token(&ada.token).unwrap();
    for sender in [Coach, System] {
        let status = try_append(&worker, message(sender, "hello")).await.unwrap_err();
        assert_eq!(reason(&status), "ACCESS_DENIED", "{sender:?}");
        assert_eq!(metadata(&status, "scope"), "author", "{sender:?}");
    }
    try_append(&worker, message(User, "hello")).await.unwrap();
}

#[tokio::test]
async fn a_repeated_message_of_a_service_is_stored_once() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap().with_token(&ada.token).unwrap();
    let request = message(Coach, "How was the party?");
    let first = try_append(&backend, request.clone()).await.unwrap();
    let crowd = (0..20).map(|_| try_append(&backend, request.clone()));
    for answer in futures_util::future::join_all(crowd).await {
        assert_eq!(answer.unwrap(), first);
    }
    // A request id is bound to its content, which includes the sender.
    for sender in [User, System] {
        let mut other = request.clone();
        other.sender_type = sender.into();
        let status = try_append(&backend, other).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED", "{sender:?}");
    }
    let mut with_id = message(Coach, "another");
    with_id.message_id = first.id.clone();
    let status = try_append(&backend, with_id).await.unwrap_err();
    assert_eq!(reason(&status), "RECORD_EXISTS");
    assert_eq!(numbers(&backend).await, [1]);
}

#[tokio::test]
async fn a_service_cannot_write_for_a_person_without_an_account() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap().with_token(&ada.token).unwrap();
    execute(&stack.database, "DELETE FROM data.users").await;
    let status = try_append(&backend, message(Coach, "hello")).await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_NOT_READY");
    execute(
        &stack.database,
        "INSERT INTO data.tombstones (user_id, erased_at, erased) SELECT id, now(), '{}' FROM identity.users",
    )
    .await;
    for sender in [User, Coach] {
        let status = try_append(&backend, message(sender, "hello")).await.unwrap_err();
        assert_eq!(reason(&status), "ACCOUNT_ERASED", "{sender:?}");
    }
    let stored: i64 = scalar(&stack.database, "SELECT count(*) FROM data.conversations").await;
    assert_eq!(stored, 0);
}
