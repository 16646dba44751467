//! A rotation, step by step, with everything that is stored under the old key.

use haven_testkit::Stack;

use super::{Rings, everything_stored::Everything, restart, status};
use crate::superuser_sql::{execute, scalar};

/// Three sign-ins with one address in a day.
const LIMITS: &str = "network=100000/1m,email=3/24h,service=100000/1m";

/// What ages everything that the old key is needed for, apart from devices.
const AGE: &str = "
    DELETE FROM identity.requests WHERE key_id = 'k1';
    DELETE FROM identity.refresh_tokens WHERE key_id = 'k1';
    DELETE FROM identity.device_tokens WHERE key_id = 'k1';
    DELETE FROM identity.recovery_tokens WHERE key_id = 'k1';
    DELETE FROM data.requests WHERE key_id = 'k1';
    UPDATE data.healthcare_share SET expires_at = created_at + interval '1 millisecond' WHERE (user_id, id) IN (
        SELECT user_id, share_id FROM data.share_token WHERE key_id = 'k1')";

#[tokio::test]
async fn nothing_ends_and_nothing_is_doubled_while_a_key_is_rotated() {
    let mut stack = Stack::builder()
        .variable("identity", "SIGN_IN_LIMITS", LIMITS)
        .start()
        .await
        .unwrap();
    let mut everything = Everything::store(&stack).await;
    let (identity, data) = (Rings::of(&stack.identity), Rings::of(&stack.data));

    // 1. Every replica accepts the new key, before one of them uses it.
    restart(&mut stack.identity, &identity.new_last()).await.unwrap();
    restart(&mut stack.data, &data.new_last()).await.unwrap();
    everything.is_alive(&stack).await;

    // 2. The new key makes new hashes, and the old one is accepted.
    restart(&mut stack.identity, &identity.new_first()).await.unwrap();
    restart(&mut stack.data, &data.new_first()).await.unwrap();
    everything.is_alive(&stack).await;
    everything.sign_in_is_recognized(&stack).await;
    everything.recovery_token_is_recognized(&stack).await;
    everything.share("4711").await;
    // Once more, over what the step before stored under the new key.
    everything.is_alive(&stack).await;
    let (code, printed, _) = status(&stack, "data", &data.new_first()).await;
    assert_eq!(code, Some(0), "{printed}");
    for line in [
        "share_token.token_hash     k2                  1 new",
        "share_token.token_hash     k1                  2 accepted",
    ] {
        assert!(printed.contains(line), "{printed}");
    }

    // 3. The old key is still needed.
    for (service, ring) in [("identity", &identity.new), ("data", &data.new)] {
        let (code, printed, error) = status(&stack, service, ring).await;
        assert_eq!(code, Some(1), "{printed}");
        assert!(
            printed.contains("k1 ") && printed.contains(" missing"),
            "{printed}"
        );
        assert!(
            error.contains("stored hashes are under `k1`, missing from SECRET_KEY"),
            "{error}"
        );
    }
    let refused = restart(&mut stack.data, &data.new)
        .await
        .expect_err("data starts");
    let refused = format!("{refused:#}");
    assert!(
        refused.contains("stored hashes are under `k1`, missing from SECRET_KEY"),
        "{refused}"
    );
    let refused = restart(&mut stack.identity, &identity.new)
        .await
        .expect_err("identity starts");
    let refused = format!("{refused:#}");
    assert!(
        refused.contains("stored hashes are under `k1`, missing from SECRET_KEY"),
        "{refused}"
    );

    // 4. When all of that has ended, the old key goes, and what is under the new one stays.
    execute(&stack.database, AGE).await;
    restart(&mut stack.identity, &identity.new).await.unwrap();
    restart(&mut stack.data, &data.new).await.unwrap();
    everything.refresh(&stack).await.unwrap();
    assert_eq!(everything.open_shares(&stack).await, 1);
    let kept: i64 = scalar(
        &stack.database,
        "SELECT count(*) FROM identity.refresh_tokens WHERE key_id <> 'k2'",
    )
    .await;
    assert_eq!(kept, 0);
}
