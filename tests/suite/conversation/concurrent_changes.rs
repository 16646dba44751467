//! Concurrent changes and deletions: each request is applied once, and only one of those that exclude each other.

use futures_util::future::join_all;
use haven_proto::data::v1::{Message, UpdateMessageRequest};
use haven_testkit::Stack;
use tonic::Status;

use super::{change, delete, deletion, get, say, update};
use crate::status::{metadata, reason};

/// The number of concurrent calls.
const CROWD: usize = 20;

/// Splits answers into those that succeeded and the reasons of those that failed.
fn reasons<T>(answers: Vec<Result<T, Status>>) -> (Vec<T>, Vec<String>) {
    let (mut succeeded, mut refused) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(answer) => succeeded.push(answer),
            Err(status) => refused.push(reason(&status)),
        }
    }
    (succeeded, refused)
}

#[tokio::test]
async fn concurrent_repeats_of_one_request_make_one_change() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let mut written = say(&ada, "0").await;
    for round in 1..=3 {
        let request = change(&written, &round.to_string());
        let answers = join_all((0..CROWD).map(|_| update(&ada, request.clone()))).await;
        let (answers, refused) = reasons(answers);
        assert_eq!(refused, [""; 0]);
        written = get(&ada, &written.id).await.unwrap();
        assert_eq!(
            (written.version, written.text.clone()),
            (round + 1, round.to_string())
        );
        assert_eq!(answers, vec![written.clone(); CROWD]);
    }
    let request = deletion(&written);
    let answers = join_all((0..CROWD).map(|_| delete(&ada, request.clone()))).await;
    assert_eq!(reasons(answers), (vec![(); CROWD], vec![]));
}

#[tokio::test]
async fn one_of_many_concurrent_changes_of_a_version_is_made() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let mut written = say(&ada, "hello").await;
    for round in 1..=3 {
        let attempts = (0..CROWD).map(|i| update(&ada, change(&written, &i.to_string())));
        let mut succeeded = Vec::<Message>::new();
        for answer in join_all(attempts).await {
            match answer {
                Ok(changed) => succeeded.push(changed),
                Err(status) => {
                    assert_eq!(reason(&status), "VERSION_CONFLICT");
                    assert_eq!(metadata(&status, "current_version"), (round + 1).to_string());
                }
            }
        }
        written = get(&ada, &written.id).await.unwrap();
        assert_eq!(succeeded, [written.clone()]);
        assert_eq!(written.version, round + 1);
    }
    let attempts = (0..CROWD).map(|_| delete(&ada, deletion(&written)));
    let (succeeded, refused) = reasons(join_all(attempts).await);
    assert_eq!(succeeded.len(), 1);
    assert_eq!(refused, vec!["NOT_FOUND"; CROWD - 1]);
}

#[tokio::test]
async fn one_request_id_for_many_messages_changes_one_of_them() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let written = join_all((0..CROWD).map(|_| say(&ada, "hello"))).await;
    let first = change(&written[0], "goodbye");
    let attempts = written.iter().map(|message| {
        let request = UpdateMessageRequest {
            message_id: message.id.clone(),
            ..first.clone()
        };
        update(&ada, request)
    });
    let (succeeded, refused) = reasons(join_all(attempts).await);
    assert_eq!(succeeded.len(), 1);
    assert_eq!(refused, vec!["REQUEST_ID_REUSED"; CROWD - 1]);
    let first = deletion(&written[0]);
    let attempts = written.iter().map(|message| {
        let mut request = first.clone();
        request.message_id = message.id.clone();
        delete(&ada, request)
    });
    let (deleted, refused) = reasons(join_all(attempts).await);
    assert_eq!(deleted.len(), 1);
    assert_eq!(refused, vec!["REQUEST_ID_REUSED"; CROWD - 1]);
    let left = join_all(written.iter().map(|message| get(&ada, &message.id))).await;
    let (left, _) = reasons(left);
    assert_eq!(left.len(), CROWD - 1);
    assert!(left.iter().filter(|message| message.version == 2).count() <= 1);
}

#[tokio::test]
async fn a_change_during_a_deletion_is_made_before_it_or_not_at_all() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    for _ in 0..CROWD {
        let written = say(&ada, "hello").await;
        let (changed, deleted) = tokio::join!(
            update(&ada, change(&written, "goodbye")),
            delete(&ada, deletion(&written))
        );
        deleted.unwrap();
        match changed {
            Ok(changed) => assert_eq!(changed.version, 2),
            Err(status) => assert_eq!(reason(&status), "NOT_FOUND"),
        }
        assert_eq!(reason(&get(&ada, &written.id).await.unwrap_err()), "NOT_FOUND");
    }
}
