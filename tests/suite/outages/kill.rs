//! `kill -9` in the middle of 200 sign-ups: no account without its person, no person without an account, and for
//! everybody exactly the account that they were told of.

use std::time::Duration;

use haven_testkit::Stack;

use super::sign_up_crowd::{Crowd, SIGN_UPS};
use crate::superuser_sql::scalar;

/// After how many answers something is killed.
const KILLS: [usize; 3] = [SIGN_UPS / 4, SIGN_UPS / 2, SIGN_UPS * 3 / 4];

/// How long Postgres may be away, on a slow disk: it may take a minute to start.
const RECOVERY: Duration = Duration::from_secs(120);

#[tokio::test]
async fn identity_is_killed() {
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
    assert!(crowd.failed() > 0, "nobody noticed");
    crowd.left_everything_in_order(&stack).await;
}

#[tokio::test]
async fn data_is_killed() {
    // A connection for everybody in the crowd: who waits for one in vain would notice, and data has nothing to do with that.
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
            // Signing up goes on without it.
            crowd.has_answers(answers + SIGN_UPS / 8).await;
            stack.data.start().await.unwrap();
        }
    });
    assert_eq!(crowd.failed(), 0, "nobody notices");
    crowd.left_everything_in_order(&stack).await;
}

#[tokio::test]
async fn postgres_is_killed() {
    let mut stack = Stack::builder().durable_cluster().start().await.unwrap();
    let durable: String = scalar(&stack.database, "SHOW fsync").await;
    assert_eq!(durable, "on");
    let crowd = Crowd::with_long_timeout(&stack, RECOVERY);
    tokio::join!(crowd.sign_up(), async {
        // Once: to recover takes a while.
        crowd.has_answers(SIGN_UPS / 2).await;
        stack.data.pause();
        crowd.waits_for_data(&stack).await;
        stack.cluster().unwrap().kill();
        stack.data.resume();
        crowd.notices().await;
        stack.cluster().unwrap().resume().await.unwrap();
    });
    crowd.left_everything_in_order(&stack).await;
}
