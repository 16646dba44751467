//! RefreshSession, as clients use it.

use futures_util::future::join_all;
use haven_testkit::Stack;

use super::{another, credentials, read, refresh, refused, sessions, sign_in};
use crate::{
    status::violations,
    superuser_sql::{execute, scalar},
};

const TOKENS: &str = "SELECT count(*) FILTER (WHERE used_at IS NOT NULL) || ' used of ' || count(*)
    FROM identity.refresh_tokens";

#[tokio::test]
async fn a_session_lives_for_as_long_as_it_is_refreshed() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    assert!(
        ada.refresh_token.starts_with("hrt_"),
        "{}",
        ada.refresh_token.len()
    );
    execute(
        &stack.database,
        "UPDATE identity.users SET last_active_at = NULL;
        UPDATE identity.sessions SET issued_at = issued_at - interval '1 hour',
            expires_at = expires_at - interval '1 hour', refresh_expires_at = refresh_expires_at - interval '1 hour'",
    )
    .await;

    let mut seen = vec![ada.refresh_token.clone()];
    for round in 1..=3 {
        let answer = refresh(&nobody, seen.last().unwrap()).await.unwrap();
        assert_eq!(answer.user_id, ada.id.to_string());
        assert_eq!(answer.session_id, ada.session_id.to_string());
        assert!(!seen.contains(&answer.refresh_token), "each once");
        read(&stack, &answer.access_token).await.unwrap();

        let listed = sessions(&stack, &answer.access_token).await.unwrap();
        let [session] = listed.as_slice() else {
            panic!("one session: {listed:?}")
        };
        assert_eq!(session.expire_time, answer.refresh_token_expire_time);
        let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().unwrap().seconds;
        let refreshed = seconds(&session.refresh_time);
        assert!(
            refreshed - seconds(&session.create_time) >= 3600,
            "it began an hour ago"
        );
        assert_eq!(
            seconds(&answer.access_token_expire_time) - refreshed,
            15 * 60,
            "fifteen minutes"
        );
        assert_eq!(
            seconds(&answer.refresh_token_expire_time) - refreshed,
            30 * 24 * 3600,
            "thirty days"
        );
        let tokens: String = scalar(&stack.database, TOKENS).await;
        assert_eq!(tokens, format!("{round} used of {}", round + 1));
        seen.push(answer.refresh_token);
    }
    let active: bool = scalar(
        &stack.database,
        "SELECT last_active_at IS NOT NULL FROM identity.users",
    )
    .await;
    assert!(active);
    // What is stored is no token, and says nothing about one.
    let stored: i64 = scalar(
        &stack.database,
        "SELECT count(*) FROM identity.refresh_tokens WHERE octet_length(token_hash) = 32",
    )
    .await;
    assert_eq!(stored, 4);
}

#[tokio::test]
async fn fifty_who_refresh_at_once_get_one_successor() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let mut token = stack.person().await.unwrap().refresh_token;
    for rows in 2..=4 {
        let mut answers = join_all((0..50).map(|_| refresh(&nobody, &token)))
            .await
            .into_iter()
            .map(Result::unwrap);
        let first = answers.next().unwrap();
        for answer in answers {
            assert_eq!(answer.refresh_token, first.refresh_token);
            assert_eq!(answer.refresh_token_expire_time, first.refresh_token_expire_time);
            assert_eq!(answer.access_token_expire_time, first.access_token_expire_time);
            assert_eq!(answer.session_id, first.session_id);
        }
        let tokens: String = scalar(&stack.database, TOKENS).await;
        assert_eq!(tokens, format!("{} used of {rows}", rows - 1));
        token = first.refresh_token;
    }
}

#[tokio::test]
async fn a_retried_sign_in_has_the_same_refresh_token() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let request = credentials(&ada.email, &ada.password);
    let first = sign_in(&nobody, request.clone()).await.unwrap();
    assert_ne!(first.refresh_token, ada.refresh_token);
    let again = sign_in(&nobody, request.clone()).await.unwrap();
    assert_eq!(again.refresh_token, first.refresh_token);
    assert_eq!(again.refresh_token_expire_time, first.refresh_token_expire_time);

    // It does not come back to life by that.
    let second = refresh(&nobody, &first.refresh_token).await.unwrap();
    execute(
        &stack.database,
        "UPDATE identity.refresh_tokens SET issued_at = issued_at - interval '1 minute',
            used_at = used_at - interval '11 seconds'",
    )
    .await;
    let again = sign_in(&nobody, request).await.unwrap();
    assert_eq!(again.refresh_token, first.refresh_token);
    assert_eq!(
        refused(refresh(&nobody, &again.refresh_token).await),
        "SESSION_REVOKED"
    );
    assert_eq!(
        refused(refresh(&nobody, &second.refresh_token).await),
        "SESSION_REVOKED"
    );
    refresh(&nobody, &ada.refresh_token).await.unwrap();
}

#[tokio::test]
async fn what_has_expired_is_refused_and_not_listed() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    execute(
        &stack.database,
        "UPDATE identity.refresh_tokens SET issued_at = issued_at - interval '30 days', expires_at = now();
        UPDATE identity.sessions SET issued_at = issued_at - interval '30 days', refresh_expires_at = now()",
    )
    .await;
    assert_eq!(
        refused(refresh(&nobody, &ada.refresh_token).await),
        "TOKEN_EXPIRED"
    );
    let other = another(&stack, &ada).await;
    let listed = sessions(&stack, &other.token).await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert!(listed[0].current && listed[0].id == other.session_id.to_string());
}

#[tokio::test]
async fn what_is_no_refresh_token_or_not_ours_is_refused() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    for (token, name) in [
        ("", "REQUIRED"),
        ("x", "NOT_A_REFRESH_TOKEN"),
        (&ada.token, "NOT_A_REFRESH_TOKEN"),
        (
            &ada.refresh_token[..ada.refresh_token.len() - 1],
            "NOT_A_REFRESH_TOKEN",
        ),
    ] {
        let status = refresh(&nobody, token).await.unwrap_err();
        assert_eq!(violations(&status), [("refresh_token".into(), name.into())]);
        assert!(!format!("{status:?}").contains(&ada.refresh_token[4..]), "{name}");
    }
    let unknown = format!("hrt_{}", "A".repeat(43));
    assert_eq!(refused(refresh(&nobody, &unknown).await), "TOKEN_INVALID");
    // A refresh token is no access token.
    assert_eq!(refused(read(&stack, &ada.refresh_token).await), "TOKEN_INVALID");
    refresh(&nobody, &ada.refresh_token).await.unwrap();
}
