//! RefreshSession: each refresh token has one successor.

use futures_util::future::join_all;
use haven_testkit::Stack;

use super::{another, credentials, read, refresh, refused, sessions, sign_in};
use crate::{
    status::violations,
    superuser_sql::{execute, scalar_with},
};

/// Counts the refresh tokens of a person.
const TOKENS: &str = "SELECT count(*) FILTER (WHERE used_at IS NOT NULL) || ' used of ' || count(*)
    FROM identity.refresh_tokens WHERE user_id = $1";

#[tokio::test]
async fn a_refreshed_session_goes_on() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    assert!(
        ada.refresh_token.starts_with("hrt_"),
        "{}",
        ada.refresh_token.len()
    );
    execute(
        &stack.database,
        &format!(
            "UPDATE identity.users SET last_active_at = NULL WHERE id = '{id}';
            UPDATE identity.sessions SET issued_at = issued_at - interval '1 hour',
                expires_at = expires_at - interval '1 hour', refresh_expires_at = refresh_expires_at - interval '1 hour'
                WHERE user_id = '{id}'",
            id = ada.id
        ),
    )
    .await;

    let mut seen = vec![ada.refresh_token.clone()];
    for round in 1..=3 {
        let answer = refresh(&anonymous, seen.last().unwrap()).await.unwrap();
        assert_eq!(answer.user_id, ada.id.to_string());
        assert_eq!(answer.session_id, ada.session_id.to_string());
        assert!(
            !seen.contains(&answer.refresh_token),
            "each refresh has a new token"
        );
        read(stack, &answer.access_token).await.unwrap();

        let listed = sessions(stack, &answer.access_token).await.unwrap();
        let [session] = listed.as_slice() else {
            panic!("not one session: {listed:?}")
        };
        assert_eq!(session.expire_time, answer.refresh_token_expire_time);
        let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().unwrap().seconds;
        let refreshed = seconds(&session.refresh_time);
        assert!(
            refreshed - seconds(&session.create_time) >= 3600,
            "the session began an hour ago"
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
        let tokens: String = scalar_with(&stack.database, TOKENS, ada.id).await;
        assert_eq!(tokens, format!("{round} used of {}", round + 1));
        seen.push(answer.refresh_token);
    }
    let active: bool = scalar_with(
        &stack.database,
        "SELECT last_active_at IS NOT NULL FROM identity.users WHERE id = $1",
        ada.id,
    )
    .await;
    assert!(active);
    // Only hashes are stored.
    let stored: i64 = scalar_with(
        &stack.database,
        "SELECT count(*) FROM identity.refresh_tokens WHERE user_id = $1 AND octet_length(token_hash) = 32",
        ada.id,
    )
    .await;
    assert_eq!(stored, 4);
}

#[tokio::test]
async fn concurrent_refreshes_get_the_same_successor() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let mut token = ada.refresh_token.clone();
    for rows in 2..=4 {
        let mut answers = join_all((0..50).map(|_| refresh(&anonymous, &token)))
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
        let tokens: String = scalar_with(&stack.database, TOKENS, ada.id).await;
        assert_eq!(tokens, format!("{} used of {rows}", rows - 1));
        token = first.refresh_token;
    }
}

#[tokio::test]
async fn a_retried_sign_in_gets_the_same_refresh_token() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let request = credentials(&ada.email, &ada.password);
    let first = sign_in(&anonymous, request.clone()).await.unwrap();
    assert_ne!(first.refresh_token, ada.refresh_token);
    let again = sign_in(&anonymous, request.clone()).await.unwrap();
    assert_eq!(again.refresh_token, first.refresh_token);
    assert_eq!(again.refresh_token_expire_time, first.refresh_token_expire_time);

    // The retry does not make a used token valid again.
    let second = refresh(&anonymous, &first.refresh_token).await.unwrap();
    execute(
        &stack.database,
        &format!(
            "UPDATE identity.refresh_tokens SET issued_at = issued_at - interval '1 minute',
                used_at = used_at - interval '11 seconds' WHERE user_id = '{}'",
            ada.id
        ),
    )
    .await;
    let again = sign_in(&anonymous, request).await.unwrap();
    assert_eq!(again.refresh_token, first.refresh_token);
    assert_eq!(
        refused(refresh(&anonymous, &again.refresh_token).await),
        "SESSION_REVOKED"
    );
    assert_eq!(
        refused(refresh(&anonymous, &second.refresh_token).await),
        "SESSION_REVOKED"
    );
    refresh(&anonymous, &ada.refresh_token).await.unwrap();
}

#[tokio::test]
async fn an_expired_session_is_refused_and_not_listed() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    execute(
        &stack.database,
        &format!(
            "UPDATE identity.refresh_tokens SET issued_at = issued_at - interval '30 days', expires_at = now()
                WHERE user_id = '{id}';
            UPDATE identity.sessions SET issued_at = issued_at - interval '30 days', refresh_expires_at = now()
                WHERE user_id = '{id}'",
            id = ada.id
        ),
    )
    .await;
    assert_eq!(
        refused(refresh(&anonymous, &ada.refresh_token).await),
        "TOKEN_EXPIRED"
    );
    let other = another(stack, &ada).await;
    let listed = sessions(stack, &other.token).await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert!(listed[0].current && listed[0].id == other.session_id.to_string());
}

#[tokio::test]
async fn malformed_and_unknown_refresh_tokens_are_refused() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
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
        let status = refresh(&anonymous, token).await.unwrap_err();
        assert_eq!(violations(&status), [("refresh_token".into(), name.into())]);
        assert!(!format!("{status:?}").contains(&ada.refresh_token[4..]), "{name}");
    }
    let unknown = format!("hrt_{}", "A".repeat(43));
    assert_eq!(refused(refresh(&anonymous, &unknown).await), "TOKEN_INVALID");
    // A refresh token is not accepted as an access token.
    assert_eq!(refused(read(stack, &ada.refresh_token).await), "TOKEN_INVALID");
    refresh(&anonymous, &ada.refresh_token).await.unwrap();
}
