//! Taking back what was said.

use haven_proto::data::v1::{DeleteMessageRequest, SenderType};
use haven_testkit::{Stack, random};

use super::{delete, deletion, get, message, numbers, say, try_append, update};
use crate::{
    status::{reason, violations},
    superuser_sql::scalar,
};

#[tokio::test]
async fn a_deleted_message_is_gone_and_its_number_stays_used() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let mut said = Vec::new();
    for _ in 1..=4 {
        said.push(say(&ada, "hello").await);
    }
    // From the middle, and the newest.
    for gone in [&said[1], &said[3]] {
        delete(&ada, deletion(gone)).await.unwrap();
        assert_eq!(reason(&get(&ada, &gone.id).await.unwrap_err()), "NOT_FOUND");
        let status = delete(&ada, deletion(gone)).await.unwrap_err();
        assert_eq!(reason(&status), "NOT_FOUND");
    }
    assert_eq!(numbers(&ada).await, [1, 3]);
    assert_eq!(say(&ada, "and more").await.number, 5);
    for gone in [&said[0], &said[2]] {
        delete(&ada, deletion(gone)).await.unwrap();
    }
    assert_eq!(numbers(&ada).await, [5]);
    assert_eq!(say(&ada, "and more").await.number, 6);
    let kept: i64 = scalar(&stack.database, "SELECT count(*) FROM data.conversations").await;
    assert_eq!(kept, 2);
}

#[tokio::test]
async fn everybody_deletes_out_of_their_own_conversation_whoever_said_it() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let backend = stack.service("backend").unwrap();
    let through = backend.with_token(&ada.token).unwrap();
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    for sender in [SenderType::User, SenderType::Coach, SenderType::System] {
        let said = try_append(&through, message(sender, "hello")).await.unwrap();
        let status = delete(&bob, deletion(&said)).await.unwrap_err();
        assert_eq!(reason(&status), "NOT_FOUND", "{sender:?}");
        assert_eq!(get(&ada, &said.id).await.unwrap(), said);
        delete(&ada, deletion(&said)).await.unwrap();
        assert_eq!(reason(&get(&ada, &said.id).await.unwrap_err()), "NOT_FOUND");
    }
}

#[tokio::test]
async fn a_repeated_deletion_is_answered_as_it_was() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let appended = message(SenderType::User, "hello");
    let said = try_append(&ada, appended.clone()).await.unwrap();
    let other = say(&ada, "another").await;
    let request = deletion(&said);
    delete(&ada, request.clone()).await.unwrap();
    delete(&ada, request.clone()).await.unwrap();
    // The append was answered, and is answered so again.
    assert_eq!(try_append(&ada, appended.clone()).await.unwrap(), said);
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
    // Nor is it free for another RPC.
    let mut changed = super::change(&other, "changed");
    changed.request_id = request.request_id;
    let status = update(&ada, changed).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert_eq!(get(&ada, &other.id).await.unwrap(), other);
}

#[tokio::test]
async fn the_id_of_a_deleted_message_is_free() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let said = say(&ada, "hello").await;
    delete(&ada, deletion(&said)).await.unwrap();
    let mut request = message(SenderType::User, "hello again");
    request.message_id = said.id.clone();
    let again = try_append(&ada, request).await.unwrap();
    assert_eq!((&again.id, again.number), (&said.id, 2));
    assert_eq!(get(&ada, &said.id).await.unwrap(), again);
}

#[tokio::test]
async fn what_is_no_deletion_is_refused_with_every_violation() {
    let stack = Stack::start().await.unwrap();
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
