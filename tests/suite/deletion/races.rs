//! Twenty at once: the account goes once.

use futures_util::future::join_all;
use haven_testkit::Stack;

use super::{delete, deletion_by, deletion_of, done};
use crate::{eventually::eventually, sql::scalar, status::reason};

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
