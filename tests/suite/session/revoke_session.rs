//! SignOut and RevokeSession.

use std::time::{Duration, Instant};

use haven_proto::identity::v1::{RevokeSessionRequest, SignOutRequest};
use haven_testkit::{Client, Stack, random};
use tonic::Status;

use super::{another, audit_log, credentials, read, refresh, refused, sessions, sign_in};
use crate::{
    eventually::eventually,
    retry::retry_call,
    status::{reason, violations},
    superuser_sql::scalar,
};

/// By when data has to refuse the tokens of a session that ended.
const LATEST: Duration = Duration::from_secs(60);

async fn revoke(client: &Client, session_id: &str) -> Result<(), Status> {
    let request = RevokeSessionRequest {
        session_id: session_id.to_owned(),
    };
    let mut sessions = client.session();
    let answer = retry_call(request, async |request| sessions.revoke_session(request).await);
    answer.await.map(drop)
}

/// How long it takes until data refuses `token`.
async fn until_data_refuses(stack: &Stack, token: &str) -> Duration {
    let begin = Instant::now();
    loop {
        match read(stack, token).await {
            Ok(()) => assert!(begin.elapsed() < LATEST, "data still accepts it"),
            Err(status) => {
                assert_eq!(reason(&status), "SESSION_REVOKED");
                return begin.elapsed();
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_session_that_was_signed_out_of_is_refused_here_at_once_and_by_data_soon() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let other = another(&stack, &ada).await;
    read(&stack, &ada.token).await.unwrap();
    let client = stack.user(&ada).unwrap();
    client.session().sign_out(SignOutRequest {}).await.unwrap();
    assert_eq!(refused(sessions(&stack, &ada.token).await), "SESSION_REVOKED");
    assert_eq!(
        refused(client.session().sign_out(SignOutRequest {}).await),
        "SESSION_REVOKED"
    );
    assert_eq!(
        refused(refresh(&nobody, &ada.refresh_token).await),
        "SESSION_REVOKED"
    );
    let waited = until_data_refuses(&stack, &ada.token).await;
    println!("data refused the token {waited:?} after the sign-out");

    // The other session has nothing to do with it.
    read(&stack, &other.token).await.unwrap();
    assert_eq!(sessions(&stack, &other.token).await.unwrap().len(), 1);
    refresh(&nobody, &other.refresh_token).await.unwrap();
    assert_eq!(audit_log(&stack).await, "sign_in 1, sign_in 2, sign_out 1");
}

#[tokio::test]
async fn a_session_is_ended_from_another_one_and_once() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let lost = another(&stack, &ada).await;
    let (client, id) = (stack.user(&ada).unwrap(), lost.session_id.to_string());
    revoke(&client, &id).await.unwrap();
    assert_eq!(refused(sessions(&stack, &lost.token).await), "SESSION_REVOKED");
    assert_eq!(
        refused(refresh(&nobody, &lost.refresh_token).await),
        "SESSION_REVOKED"
    );
    let ended: String = scalar(
        &stack.database,
        "SELECT ended_at::text FROM identity.sessions WHERE end_reason = 'revoked'",
    )
    .await;
    revoke(&client, &id).await.unwrap();
    let still: String = scalar(
        &stack.database,
        "SELECT ended_at::text FROM identity.sessions WHERE end_reason = 'revoked'",
    )
    .await;
    assert_eq!(still, ended, "the second time changes nothing");
    assert_eq!(audit_log(&stack).await, "sign_in 1, sign_in 2, sign_out 2");

    // One's own, too.
    revoke(&client, &ada.session_id.to_string()).await.unwrap();
    assert_eq!(refused(sessions(&stack, &ada.token).await), "SESSION_REVOKED");
}

#[tokio::test]
async fn fifty_who_end_a_session_at_once_end_it_once() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let lost = another(&stack, &ada).await;
    let (client, id) = (stack.user(&ada).unwrap(), lost.session_id.to_string());
    for outcome in futures_util::future::join_all((0..50).map(|_| revoke(&client, &id))).await {
        outcome.unwrap();
    }
    assert_eq!(audit_log(&stack).await, "sign_in 1, sign_in 2, sign_out 2");
}

#[tokio::test]
async fn nobody_ends_the_session_of_somebody_else() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let client = stack.user(&bob).unwrap();
    for id in [ada.session_id.to_string(), random::uuid().to_string()] {
        assert_eq!(refused(revoke(&client, &id).await), "NOT_FOUND");
    }
    for (id, name) in [("", "REQUIRED"), ("x", "NOT_A_UUID")] {
        let status = revoke(&client, id).await.unwrap_err();
        assert_eq!(violations(&status), [("session_id".into(), name.into())]);
    }
    assert_eq!(sessions(&stack, &ada.token).await.unwrap().len(), 1);
    let log = audit_log(&stack).await;
    assert!(!log.contains("sign_out"), "{log}");
}

#[tokio::test]
async fn a_retried_sign_in_whose_session_ended_begins_no_other_one() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let request = credentials(&ada.email, &ada.password);
    let first = sign_in(&nobody, request.clone()).await.unwrap();
    revoke(&stack.user(&ada).unwrap(), &first.session_id)
        .await
        .unwrap();
    let again = sign_in(&nobody, request).await.unwrap();
    assert_eq!(again.session_id, first.session_id);
    assert_eq!(
        refused(sessions(&stack, &again.access_token).await),
        "SESSION_REVOKED"
    );
    assert_eq!(
        refused(refresh(&nobody, &again.refresh_token).await),
        "SESSION_REVOKED"
    );
}

/// Whoever checked a password must not begin a session with it once it is another one.
#[tokio::test]
async fn a_password_that_is_changed_during_a_sign_in_begins_no_session() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    // Held as a change of the password holds it, from before the check until after.
    let mut holder = stack.database.connect("postgres").await.unwrap();
    sqlx::raw_sql("BEGIN; UPDATE identity.users SET password_version = password_version + 1")
        .execute(&mut holder)
        .await
        .unwrap();
    let (answer, ()) = tokio::join!(sign_in(&nobody, credentials(&ada.email, &ada.password)), async {
        eventually("the sign-in waits", async || {
            scalar::<i64>(
                &stack.database,
                "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .await
                == 1
        })
        .await;
        sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    });
    assert_eq!(refused(answer), "CREDENTIALS_INVALID");
    let rows: String = scalar(
        &stack.database,
        "SELECT (SELECT count(*) FROM identity.sessions) || ' session, '
            || (SELECT count(*) FROM identity.requests WHERE method = 'SignIn') || ' request'",
    )
    .await;
    assert_eq!(rows, "1 session, 1 request");
    another(&stack, &ada).await;
}
