//! Reuse of a refresh token: within the grace period of ten seconds it is a retry, after that it ends the session.

use haven_testkit::{Person, Stack};

use super::{another, audit_log, refresh, refused, sessions};
use crate::superuser_sql::{execute, scalar_with};

/// Moves every use of the person's refresh tokens `seconds` into the past.
async fn age(stack: &Stack, person: &Person, seconds: u32) {
    let sql = format!(
        "UPDATE identity.refresh_tokens SET issued_at = issued_at - interval '1 minute',
            used_at = used_at - interval '{seconds} seconds' WHERE user_id = '{}'",
        person.id
    );
    execute(&stack.database, &sql).await;
}

#[tokio::test]
async fn a_reuse_within_the_grace_period_gets_the_same_successor() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let first = refresh(&anonymous, &ada.refresh_token).await.unwrap();
    age(stack, &ada, 5).await;
    // Tokens carry times in whole seconds. A second later, a response with equal times comes from the first one.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let again = refresh(&anonymous, &ada.refresh_token).await.unwrap();
    assert_eq!(again.refresh_token, first.refresh_token);
    assert_eq!(again.refresh_token_expire_time, first.refresh_token_expire_time);
    assert_eq!(again.access_token_expire_time, first.access_token_expire_time);
    let sql = "SELECT count(*) FROM identity.refresh_tokens WHERE user_id = $1";
    let tokens: i64 = scalar_with(&stack.database, sql, ada.id).await;
    assert_eq!(tokens, 2, "no second successor");

    // The successor is valid after the reuse as well.
    let second = refresh(&anonymous, &first.refresh_token).await.unwrap();
    assert!(sessions(stack, &second.access_token).await.is_ok());
    assert_eq!(audit_log(stack, ada.id).await, "sign_in 1");
}

#[tokio::test]
async fn a_reuse_after_the_grace_period_ends_its_session_and_no_other() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let other = another(stack, &ada).await;
    let first = refresh(&anonymous, &ada.refresh_token).await.unwrap();
    let second = refresh(&anonymous, &first.refresh_token).await.unwrap();
    assert!(sessions(stack, &second.access_token).await.is_ok());
    age(stack, &ada, 11).await;

    assert_eq!(
        refused(refresh(&anonymous, &ada.refresh_token).await),
        "SESSION_REVOKED"
    );
    for token in [&second.refresh_token, &first.refresh_token, &ada.refresh_token] {
        assert_eq!(
            refused(refresh(&anonymous, token).await),
            "SESSION_REVOKED",
            "every refresh token of the session"
        );
    }
    for token in [&ada.token, &first.access_token, &second.access_token] {
        assert_eq!(
            refused(sessions(stack, token).await),
            "SESSION_REVOKED",
            "every access token of the session"
        );
    }
    assert_eq!(
        audit_log(stack, ada.id).await,
        "sign_in 1, sign_in 2, token_reuse refused 1",
        "the reuse is logged once"
    );
    let end_reasons: String = scalar_with(
        &stack.database,
        "SELECT string_agg(coalesce(end_reason, 'alive'), ', ' ORDER BY id) FROM identity.sessions WHERE user_id = $1",
        ada.id,
    )
    .await;
    assert_eq!(end_reasons, "token_reused, alive");
    let listed = sessions(stack, &other.token).await.unwrap();
    assert_eq!(listed.len(), 1);
    refresh(&anonymous, &other.refresh_token).await.unwrap();
}

#[tokio::test]
async fn concurrent_reuses_are_logged_once() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let first = refresh(&anonymous, &ada.refresh_token).await.unwrap();
    age(stack, &ada, 11).await;
    // A refresh with the successor runs at the same time.
    let copies = futures_util::future::join_all((0..50).map(|_| refresh(&anonymous, &ada.refresh_token)));
    let (copies, _) = tokio::join!(copies, refresh(&anonymous, &first.refresh_token));
    for copy in copies {
        assert_eq!(refused(copy), "SESSION_REVOKED");
    }
    assert_eq!(audit_log(stack, ada.id).await, "sign_in 1, token_reuse refused 1");
}
