//! DeleteMessage: the message is deleted, and its number is not used again.

use haven_proto::data::v1::{DeleteMessageRequest, SenderType};
use haven_testkit::{Stack, random};

use super::{delete, deletion, get, message, numbers, say, try_append, update};
use crate::{
    status::{reason, violations},
    superuser_sql::scalar_with,
};

#[tokio::test]
async fn the_number_of_a_deleted_message_is_not_used_again() {
    let stack = Stack::shared().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let mut written = Vec::new();
    for _ in 1..=4 {
        written.push(say(&ada, "hello").await);
    }
    // Deletes a message from the middle, and the newest one.
    for deleted in [&written[1], &written[3]] {
        delete(&ada, deletion(deleted)).await.unwrap();
        assert_eq!(reason(&get(&ada, &deleted.id).await.unwrap_err()), "NOT_FOUND");
        let status = delete(&ada, deletion(deleted)).await.unwrap_err();
        assert_eq!(reason(&status), "NOT_FOUND");
    }
    assert_eq!(numbers(&ada).await, [1, 3]);
    assert_eq!(say(&ada, "and more").await.number, 5);
    for deleted in [&written[0], &written[2]] {
        delete(&ada, deletion(deleted)).await.unwrap();
    }
    assert_eq!(numbers(&ada).await, [5]);
    assert_eq!(say(&ada, "and more").await.number, 6);
    let kept = "SELECT count(*) FROM data.conversations WHERE user_id = $1";
    let kept: i64 = scalar_with(&stack.database, kept, person.id).await;
    assert_eq!(kept, 2);
}

#[tokio::test]
async fn people_delete_messages_of_every_sender_from_their_own_conversation_only() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let backend = stack.service("backend").unwrap();
    let through = backend.with_token(&ada.token).unwrap();
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    for sender in [SenderType::User, SenderType::Coach, SenderType::System] {
        let written = try_append(&through, message(sender, "hello")).await.unwrap();
        let status = delete(&bob, deletion(&written)).await.unwrap_err();
        assert_eq!(reason(&status), "NOT_FOUND", "{sender:?}");
        assert_eq!(get(&ada, &written.id).await.unwrap(), written);
        delete(&ada, deletion(&written)).await.unwrap();
        assert_eq!(reason(&get(&ada, &written.id).await.unwrap_err()), "NOT_FOUND");
    }
}

#[tokio::test]
async fn a_repeated_deletion_gets_the_original_answer() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let appended = message(SenderType::User, "hello");
    let written = try_append(&ada, appended.clone()).await.unwrap();
    let other = say(&ada, "another").await;
    let request = deletion(&written);
    delete(&ada, request.clone()).await.unwrap();
    delete(&ada, request.clone()).await.unwrap();
    // A retry of the append still gets its original answer.
    assert_eq!(try_append(&ada, appended.clone()).await.unwrap(), written);
    assert_eq!(numbers(&ada).await, [2]);
    for reused in [
        DeleteMessageRequest {
            message_id: other.id.clone(),
            ..request.clone()
        },
        DeleteMessageRequest {
            request_id: appended.request_id,
            ..deletion(&other)
        },
    ] {
        let status = delete(&ada, reused.clone()).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED", "{reused:?}");
    }
    // The request id is not free for another RPC either.
    let mut changed = super::change(&other, "changed");
    changed.request_id = request.request_id;
    let status = update(&ada, changed).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert_eq!(get(&ada, &other.id).await.unwrap(), other);
}

#[tokio::test]
async fn the_id_of_a_deleted_message_may_be_used_again() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let written = say(&ada, "hello").await;
    delete(&ada, deletion(&written)).await.unwrap();
    let mut request = message(SenderType::User, "hello again");
    request.message_id = written.id.clone();
    let second = try_append(&ada, request).await.unwrap();
    assert_eq!((&second.id, second.number), (&written.id, 2));
    assert_eq!(get(&ada, &written.id).await.unwrap(), second);
}

#[tokio::test]
async fn an_invalid_deletion_is_refused_with_every_violation() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let status = delete(&ada, DeleteMessageRequest::default()).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let fields: Vec<_> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["request_id", "message_id"]);
    let unknown = DeleteMessageRequest {
        message_id: random::uuid().to_string(),
        request_id: random::uuid().to_string(),
    };
    assert_eq!(reason(&delete(&ada, unknown).await.unwrap_err()), "NOT_FOUND");
}
