//! DeleteAccount while a service is down or is killed: the account is deleted, and identity retries until data confirms.

use haven_proto::identity::v1::DeletionState;
use haven_testkit::Stack;
use sqlx::Connection;

use super::{
    delete, delete_once, deletion, deletion_by, done,
    rows::{owned, receipt, traces},
};
use crate::{eventually::eventually, superuser_sql::scalar};

#[tokio::test]
async fn a_deletion_is_pending_while_data_is_down() {
    let mut stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let expected = owned(&stack, &ada).await;
    stack.data.kill();
    let client = stack.user(&ada).unwrap();
    let request = deletion_by(&ada);
    let pending = delete(&client, &request).await.unwrap();
    assert_eq!(
        (pending.state(), pending.complete_time),
        (DeletionState::Pending, None)
    );
    assert!(
        pending
            .erased
            .iter()
            .all(|rows| rows.table.starts_with("identity."))
    );
    assert_eq!(delete(&client, &request).await.unwrap(), pending);
    assert_eq!(deletion(&stack, &ada).await.unwrap(), pending);
    assert_eq!(
        traces(&stack, &ada).await,
        ["data.users", "identity.erasures", "identity.outbox"]
    );

    stack.data.start().await.unwrap();
    let last = done(&stack, &ada).await;
    assert_eq!(last.request_time, pending.request_time);
    assert_eq!(receipt(&last)["data.users"], expected["data.users"]);
    assert_eq!(delete(&client, &request).await.unwrap(), last);
    assert_eq!(
        traces(&stack, &ada).await,
        ["data.tombstones", "identity.erasures"]
    );
}

#[tokio::test]
async fn a_person_never_provisioned_in_data_is_erased() {
    let mut stack = Stack::builder().without("data").start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let pending = delete(&stack.user(&ada).unwrap(), &deletion_by(&ada))
        .await
        .unwrap();
    assert_eq!(pending.state(), DeletionState::Pending);
    // The outbox message that would have provisioned the person was deleted with them.
    assert_eq!(receipt(&pending)["identity.outbox"], 1);
    stack.data.start().await.unwrap();
    let last = done(&stack, &ada).await;
    assert_eq!(receipt(&last)["data.users"], 0);
    assert_eq!(
        traces(&stack, &ada).await,
        ["data.tombstones", "identity.erasures"]
    );
}

#[tokio::test]
async fn a_deletion_completes_after_data_is_killed_while_it_erases() {
    let mut stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let mut holder = stack.database.connect("postgres").await.unwrap();
    let lock = "BEGIN; LOCK TABLE data.conversations IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let (client, request) = (stack.user(&ada).unwrap(), deletion_by(&ada));
    let call = tokio::spawn(delete_once(client, request));
    eventually("data erases", async || {
        scalar::<i64>(
            &stack.database,
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND usename = 'data_worker' AND wait_event_type = 'Lock'",
        )
        .await
            > 0
    })
    .await;
    stack.data.kill();
    let pending = call.await.unwrap().unwrap();
    assert_eq!(pending.state(), DeletionState::Pending);
    holder.close().await.unwrap();
    stack.data.start().await.unwrap();
    let last = done(&stack, &ada).await;
    assert_eq!(receipt(&last)["data.users"], 1, "counted once");
    assert_eq!(
        traces(&stack, &ada).await,
        ["data.tombstones", "identity.erasures"]
    );
}

#[tokio::test]
async fn a_deletion_completes_after_identity_is_killed_before_data_erased() {
    let mut stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    // data does not answer, so identity is killed between its commit and data's receipt.
    stack.data.pause();
    let (client, request) = (stack.user(&ada).unwrap(), deletion_by(&ada));
    let call = tokio::spawn(delete_once(client.clone(), request.clone()));
    eventually("the account is erased", async || {
        scalar::<i64>(&stack.database, "SELECT count(*) FROM identity.erasures").await == 1
    })
    .await;
    stack.identity.kill();
    assert!(call.await.unwrap().is_err());
    stack.data.resume();
    stack.identity.start().await.unwrap();
    let retried = delete(&client, &request).await.unwrap();
    let last = done(&stack, &ada).await;
    assert_eq!(retried.request_time, last.request_time);
    assert_eq!(
        receipt(&last)["data.users"],
        1,
        "the receipt of the attempt that erased the rows"
    );
    assert_eq!(
        traces(&stack, &ada).await,
        ["data.tombstones", "identity.erasures"]
    );
}
