//! A used refresh token that comes back: within ten seconds it is a client that lost the answer, after that a copy.

use haven_testkit::Stack;

use super::{another, audit_log, refresh, refused, sessions};
use crate::superuser_sql::{execute, scalar};

/// Ages all uses of tokens, and with them the tokens, by so many seconds.
async fn age(stack: &Stack, seconds: u32) {
    let sql = format!(
        "UPDATE identity.refresh_tokens SET issued_at = issued_at - interval '1 minute',
            used_at = used_at - interval '{seconds} seconds'"
    );
    execute(&stack.database, &sql).await;
}

#[tokio::test]
async fn within_the_grace_the_same_successor_comes_again() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let first = refresh(&nobody, &ada.refresh_token).await.unwrap();
    age(&stack, 5).await;
    // A token says its times in seconds: the second answer comes out of the first, and not out of this very second.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let again = refresh(&nobody, &ada.refresh_token).await.unwrap();
    assert_eq!(again.refresh_token, first.refresh_token);
    assert_eq!(again.refresh_token_expire_time, first.refresh_token_expire_time);
    assert_eq!(again.access_token_expire_time, first.access_token_expire_time);
    let tokens: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.refresh_tokens").await;
    assert_eq!(tokens, 2, "no second successor");

    // The successor works, also after that.
    let second = refresh(&nobody, &first.refresh_token).await.unwrap();
    assert!(sessions(&stack, &second.access_token).await.is_ok());
    assert_eq!(audit_log(&stack).await, "sign_in 1");
}

#[tokio::test]
async fn a_token_that_comes_back_later_ends_its_whole_family_and_no_other() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let other = another(&stack, &ada).await;
    let first = refresh(&nobody, &ada.refresh_token).await.unwrap();
    let second = refresh(&nobody, &first.refresh_token).await.unwrap();
    assert!(sessions(&stack, &second.access_token).await.is_ok());
    age(&stack, 11).await;

    assert_eq!(
        refused(refresh(&nobody, &ada.refresh_token).await),
        "SESSION_REVOKED"
    );
    for token in [&second.refresh_token, &first.refresh_token, &ada.refresh_token] {
        assert_eq!(
            refused(refresh(&nobody, token).await),
            "SESSION_REVOKED",
            "all of them"
        );
    }
    for token in [&ada.token, &first.access_token, &second.access_token] {
        assert_eq!(
            refused(sessions(&stack, token).await),
            "SESSION_REVOKED",
            "at once"
        );
    }
    assert_eq!(
        audit_log(&stack).await,
        "sign_in 1, sign_in 2, token_reuse refused 1",
        "once"
    );
    let why: String = scalar(
        &stack.database,
        "SELECT string_agg(coalesce(end_reason, 'alive'), ', ' ORDER BY id) FROM identity.sessions",
    )
    .await;
    assert_eq!(why, "token_reused, alive");
    let listed = sessions(&stack, &other.token).await.unwrap();
    assert_eq!(listed.len(), 1);
    refresh(&nobody, &other.refresh_token).await.unwrap();
}

#[tokio::test]
async fn of_fifty_copies_at_once_one_is_written_down() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let first = refresh(&nobody, &ada.refresh_token).await.unwrap();
    age(&stack, 11).await;
    // The one who has the successor races them.
    let copies = futures_util::future::join_all((0..50).map(|_| refresh(&nobody, &ada.refresh_token)));
    let (copies, _) = tokio::join!(copies, refresh(&nobody, &first.refresh_token));
    for copy in copies {
        assert_eq!(refused(copy), "SESSION_REVOKED");
    }
    assert_eq!(audit_log(&stack).await, "sign_in 1, token_reuse refused 1");
}
