//! `kill -9` during 200 sign-ups: every account has its person, every person has an account, and the accounts are exactly
//! those that the responses named.

use std::time::Duration;

use haven_testkit::Stack;

use super::sign_up_crowd::{Crowd, SIGN_UPS};
use crate::superuser_sql::scalar;

/// Numbers of responses after which a process is killed.
const KILLS: [usize; 3] = [SIGN_UPS / 4, SIGN_UPS / 2, SIGN_UPS * 3 / 4];

/// Timeout of the sign-ups while Postgres recovers, which may take a minute on a slow disk.
const RECOVERY: Duration = Duration::from_secs(120);

#[tokio::test]
async fn sign_ups_are_consistent_after_identity_is_killed() {
    let mut stack = Stack::start().await.unwrap();
    let crowd = Crowd::new(&stack);
    tokio::join!(crowd.sign_up(), async {
        for answers in KILLS {
            crowd.has_answers(answers).await;
            stack.data.pause();
            crowd.waits_for_data(&stack).await;
            stack.identity.kill();
            stack.data.resume();
            stack.identity.start().await.unwrap();
        }
    });
    assert!(crowd.failed() > 0, "no attempt failed");
    crowd.left_consistent_rows(&stack).await;
}

#[tokio::test]
async fn sign_ups_are_consistent_after_data_is_killed() {
    // The pool has a connection for each client: a client without one would fail for another reason than the kill.
    let mut stack = Stack::builder()
        .variable("identity", "DATABASE_POOL_SIZE", "24")
        .start()
        .await
        .unwrap();
    let crowd = Crowd::new(&stack);
    tokio::join!(crowd.sign_up(), async {
        for answers in KILLS {
            crowd.has_answers(answers).await;
            stack.data.kill();
            // Sign-ups succeed without data.
            crowd.has_answers(answers + SIGN_UPS / 8).await;
            stack.data.start().await.unwrap();
        }
    });
    assert_eq!(crowd.failed(), 0, "an attempt failed");
    crowd.left_consistent_rows(&stack).await;
}

#[tokio::test]
async fn sign_ups_are_consistent_after_postgres_is_killed() {
    let mut stack = Stack::builder().durable_cluster().start().await.unwrap();
    let durable: String = scalar(&stack.database, "SHOW fsync").await;
    assert_eq!(durable, "on");
    let crowd = Crowd::with_long_timeout(&stack, RECOVERY);
    tokio::join!(crowd.sign_up(), async {
        // This test has only one round, because recovery takes a while.
        crowd.has_answers(SIGN_UPS / 2).await;
        stack.data.pause();
        crowd.waits_for_data(&stack).await;
        stack.cluster().unwrap().kill();
        stack.data.resume();
        crowd.notices().await;
        stack.cluster().unwrap().resume().await.unwrap();
    });
    crowd.left_consistent_rows(&stack).await;
}
