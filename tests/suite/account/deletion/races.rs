//! Concurrent deletions take effect once, and a deletion and concurrent writes do not deadlock.

use std::time::Duration;

use futures_util::future::{join, join_all};
use haven_proto::data::v1::{
    DeleteAnalysisRequest, DeleteMessageRequest, EraseUserRequest, UpdateMessageRequest,
};
use haven_testkit::{Person, Stack, random};
use sqlx::{AssertSqlSafe, Connection};
use tonic::Status;

use super::{delete, deletion_by, deletion_of, done};
use crate::{
    analysis_jobs,
    crisis_message::saying,
    eventually::eventually,
    retry::with_long_timeout,
    status::reason,
    superuser_sql::{scalar, scalar_with},
};

/// Number of concurrent calls.
const CALLS: usize = 20;

/// Waits until data was notified, and checks that the person was erased once in each service.
async fn is_erased_once(stack: &Stack, person: &Person) {
    eventually("the outbox is empty", async || {
        let outbox = "SELECT count(*) FROM identity.outbox WHERE user_id = $1";
        scalar_with::<i64, _>(&stack.database, outbox, person.id).await == 0
    })
    .await;
    let counts: String = scalar_with(
        &stack.database,
        "SELECT concat_ws(' ', (SELECT count(*) FROM identity.erasures WHERE user_id = $1),
             (SELECT count(*) FROM data.tombstones WHERE user_id = $1),
             (SELECT count(*) FROM identity.users WHERE id = $1), (SELECT count(*) FROM data.users WHERE id = $1))",
        person.id,
    )
    .await;
    assert_eq!(counts, "1 1 0 0", "erasures, tombstones, accounts, people");
}

#[tokio::test]
async fn concurrent_retries_of_one_request_are_one_deletion() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let request = deletion_by(&ada);
    let answers = join_all((0..CALLS).map(|_| delete(&client, &request))).await;
    let last = done(stack, &ada).await;
    for answer in answers {
        assert_eq!(answer.unwrap().request_time, last.request_time);
    }
    is_erased_once(stack, &ada).await;
}

/// AppendMessage locks the counter and then the person. The erasure waits for it, and they do not deadlock.
#[tokio::test]
async fn an_erasure_waits_for_a_message_that_is_being_written() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    client
        .conversation()
        .append_message(saying("hello"))
        .await
        .unwrap();
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let mut writing = superuser.begin().await.unwrap();
    sqlx::query("UPDATE data.conversation_counters SET last_number = last_number")
        .execute(&mut *writing)
        .await
        .unwrap();
    let identity = stack.service("identity").unwrap();
    let request = EraseUserRequest {
        user_id: ada.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    let erasing = tokio::spawn(async move { identity.person().erase_user(request).await });
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND usename = 'data_worker' AND wait_event_type = 'Lock')";
    eventually("the erasure waits", async || scalar(&stack.database, waits).await).await;
    sqlx::query("SELECT FROM data.users FOR KEY SHARE")
        .execute(&mut *writing)
        .await
        .expect("the person is not locked");
    writing.commit().await.unwrap();
    erasing.await.unwrap().unwrap();
}

/// Starts `call` while the first lock of an erasure is held, and checks that the other locks of an erasure can be taken
/// meanwhile: the person, and then the rows in `table`.
async fn waits_before_locking(stack: &Stack, table: &str, call: impl Future<Output = Result<(), Status>>) {
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let mut erasing = superuser.begin().await.unwrap();
    sqlx::query("SELECT FROM data.conversation_counters FOR UPDATE")
        .execute(&mut *erasing)
        .await
        .unwrap();
    let erases = async {
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'data_app' AND wait_event_type = 'Lock')";
        eventually("the call waits", async || scalar(&stack.database, waits).await).await;
        for locked in ["data.users", table] {
            let lock = format!("SELECT FROM {locked} FOR UPDATE NOWAIT");
            let locked = sqlx::query(AssertSqlSafe(lock)).execute(&mut *erasing).await;
            locked.expect("the call holds no lock yet");
        }
        erasing.commit().await.unwrap();
    };
    let (answer, ()) = tokio::time::timeout(Duration::from_secs(60), join(call, erases))
        .await
        .expect("the call and the erasure deadlocked");
    answer.unwrap();
}

/// A change locks its row and then the person, to store its request; an erasure locks them in the opposite order. Both
/// therefore lock the counter first.
#[tokio::test]
async fn a_change_waits_for_an_erasure_before_it_locks_its_row() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let analysis_id = analysis_jobs::done(&stack, &client).await;
    let mut conversation = client.conversation();
    let appended = conversation.append_message(saying("hello")).await.unwrap();
    let message_id = appended.into_inner().message.unwrap().id;
    let request_id = || random::uuid().to_string();

    let update = UpdateMessageRequest {
        message_id: message_id.clone(),
        text: "said otherwise".to_owned(),
        expected_version: 1,
        request_id: request_id(),
    };
    let updated = async {
        conversation
            .update_message(with_long_timeout(update))
            .await
            .map(drop)
    };
    waits_before_locking(&stack, "data.conversations", updated).await;
    let delete = DeleteMessageRequest {
        message_id,
        request_id: request_id(),
    };
    let deleted = async {
        conversation
            .delete_message(with_long_timeout(delete))
            .await
            .map(drop)
    };
    waits_before_locking(&stack, "data.conversations", deleted).await;
    let delete = DeleteAnalysisRequest {
        analysis_id,
        request_id: request_id(),
    };
    let mut analyses = client.analysis();
    let deleted = async {
        analyses
            .delete_analysis(with_long_timeout(delete))
            .await
            .map(drop)
    };
    waits_before_locking(&stack, "data.analysis_results", deleted).await;
}

#[tokio::test]
async fn one_of_several_concurrent_requests_deletes() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let (client, backend) = (stack.user(&ada).unwrap(), stack.service("backend").unwrap());
    let calls = (0..CALLS).map(async |number| match number % 2 {
        0 => delete(&client, &deletion_by(&ada)).await,
        _ => delete(&backend, &deletion_of(&ada)).await,
    });
    let mut deleted = 0;
    for answer in join_all(calls).await {
        match answer {
            Ok(_) => deleted += 1,
            // When the service's request was first, it has ended the person's session.
            Err(status) => assert!(
                ["ACCOUNT_ERASED", "SESSION_REVOKED"].contains(&reason(&status).as_str()),
                "{status:?}"
            ),
        }
    }
    assert_eq!(deleted, 1);
    is_erased_once(stack, &ada).await;
}
