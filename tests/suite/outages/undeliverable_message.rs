//! A message in the outbox that data always refuses does not delay the others.

use std::time::{Duration, Instant};

use haven_testkit::Stack;

use crate::{
    eventually::eventually,
    superuser_sql::{execute, scalar},
};

/// Limit for the delivery: two rounds of the dispatcher on a busy machine, and less than the time after which the dispatcher
/// gives up a message.
const MAX_DELAY: Duration = Duration::from_secs(10);

#[tokio::test]
async fn other_messages_are_delivered_past_one_that_is_always_refused() {
    let stack = Stack::start().await.unwrap();
    // data refuses the nil UUID with INVALID_FIELD. This message has been due for longest.
    execute(
        &stack.database,
        "INSERT INTO identity.outbox (user_id, id, kind, next_attempt_at, created_at)
         VALUES ('00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'erase_user', '2000-01-01', '2000-01-01');
         INSERT INTO identity.outbox (user_id, id, kind, next_attempt_at, created_at)
         SELECT gen_random_uuid(), gen_random_uuid(), 'provision_user', now(), now() FROM generate_series(1, 20)",
    )
    .await;
    let began = Instant::now();
    eventually("all but one are delivered", async || {
        scalar::<i64>(&stack.database, "SELECT count(*) FROM identity.outbox").await == 1
    })
    .await;
    assert!(began.elapsed() < MAX_DELAY, "{:?}", began.elapsed());
    let people: i64 = scalar(&stack.database, "SELECT count(*) FROM data.users").await;
    assert_eq!(people, 20);
    eventually("the cause of the refusal is recorded", async || {
        scalar::<bool>(
            &stack.database,
            "SELECT coalesce(bool_and(last_error = 'INVALID_FIELD'), false) FROM identity.outbox",
        )
        .await
    })
    .await;
}
