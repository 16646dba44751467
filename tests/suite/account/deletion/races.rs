//! Twenty at once: the account goes once. And who writes meanwhile neither waits for ever nor makes it wait.

use std::time::Duration;

use futures_util::future::{join, join_all};
use haven_proto::data::v1::{
    DeleteAnalysisRequest, DeleteMessageRequest, EraseUserRequest, UpdateMessageRequest,
};
use haven_testkit::{Stack, random};
use sqlx::{AssertSqlSafe, Connection};
use tonic::Status;

use super::{delete, deletion_by, deletion_of, done};
use crate::{
    analysis_jobs, crisis_message::saying, eventually::eventually, retry::with_long_timeout, status::reason,
    superuser_sql::scalar,
};

const CROWD: usize = 20;

async fn everything_was_told_once(stack: &Stack) {
    eventually("data was told", async || {
        scalar::<i64>(&stack.database, "SELECT count(*) FROM identity.outbox").await == 0
    })
    .await;
    let once: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', (SELECT count(*) FROM identity.erasures), (SELECT count(*) FROM data.tombstones),
             (SELECT count(*) FROM identity.users), (SELECT count(*) FROM data.users))",
    )
    .await;
    assert_eq!(once, "1 1 0 0", "erasures, tombstones, accounts, people");
}

#[tokio::test]
async fn twenty_of_one_request_are_one_deletion() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let request = deletion_by(&ada);
    let answers = join_all((0..CROWD).map(|_| delete(&client, &request))).await;
    let last = done(&stack, &ada).await;
    for answer in answers {
        assert_eq!(answer.unwrap().request_time, last.request_time);
    }
    everything_was_told_once(&stack).await;
}

/// A message locks its counter and then its person. Whoever erases the person waits for the message, and not the two for
/// each other.
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
    let backend = stack.service("backend").unwrap();
    let request = EraseUserRequest {
        user_id: ada.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    let erasing = tokio::spawn(async move { backend.person().erase_user(request).await });
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND usename = 'data_worker' AND wait_event_type = 'Lock')";
    eventually("the erasure waits", async || scalar(&stack.database, waits).await).await;
    sqlx::query("SELECT FROM data.users FOR KEY SHARE")
        .execute(&mut *writing)
        .await
        .expect("nobody has locked the person");
    writing.commit().await.unwrap();
    erasing.await.unwrap().unwrap();
}

/// Has `call` begin while somebody holds the lock that an erasure takes first, and go on once the rest of an erasure's locks
/// could be taken: the person, and then their rows in `table`.
async fn takes_its_turn(stack: &Stack, table: &str, call: impl Future<Output = Result<(), Status>>) {
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
            locked.expect("the call holds nothing yet");
        }
        erasing.commit().await.unwrap();
    };
    let (answer, ()) = tokio::time::timeout(Duration::from_secs(60), join(call, erases))
        .await
        .expect("it waits for ever");
    answer.unwrap();
}

/// A change locks its row and then, to remember its request, the person; an erasure the other way round. So both lock the
/// counter before.
#[tokio::test]
async fn a_change_takes_its_turn_before_it_takes_its_row() {
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
    takes_its_turn(&stack, "data.conversations", updated).await;
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
    takes_its_turn(&stack, "data.conversations", deleted).await;
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
    takes_its_turn(&stack, "data.analysis_results", deleted).await;
}

#[tokio::test]
async fn of_twenty_requests_one_deletes() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let (client, backend) = (stack.user(&ada).unwrap(), stack.service("backend").unwrap());
    let calls = (0..CROWD).map(async |number| match number % 2 {
        0 => delete(&client, &deletion_by(&ada)).await,
        _ => delete(&backend, &deletion_of(&ada)).await,
    });
    let mut deleted = 0;
    for answer in join_all(calls).await {
        match answer {
            Ok(_) => deleted += 1,
            // Where a service was first, it has ended the person's session.
            Err(status) => assert!(
                ["ACCOUNT_ERASED", "SESSION_REVOKED"].contains(&reason(&status).as_str()),
                "{status:?}"
            ),
        }
    }
    assert_eq!(deleted, 1);
    everything_was_told_once(&stack).await;
}
