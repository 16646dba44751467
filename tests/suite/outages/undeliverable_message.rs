//! A message that data refuses for ever holds up no other.

use std::time::{Duration, Instant};

use haven_testkit::Stack;

use crate::{
    eventually::eventually,
    superuser_sql::{execute, scalar},
};

/// Long enough for two rounds of the dispatcher on a busy machine, and not for the poison to be given up first.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn twenty_good_messages_pass_a_poisonous_one() {
    let stack = Stack::start().await.unwrap();
    // Nobody has the nil UUID, so data calls it INVALID_FIELD whenever it comes. It has been due for longest.
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
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let people: i64 = scalar(&stack.database, "SELECT count(*) FROM data.users").await;
    assert_eq!(people, 20);
    eventually("it is noted why the other one is not", async || {
        scalar::<bool>(
            &stack.database,
            "SELECT coalesce(bool_and(last_error = 'INVALID_FIELD'), false) FROM identity.outbox",
        )
        .await
    })
    .await;
}
