//! SignIn: sessions that end, and passwords that change, while a person signs in.

use haven_testkit::Stack;

use super::{another, credentials, refresh, refused, revoke, sessions, sign_in};
use crate::{eventually::eventually, superuser_sql::scalar};

#[tokio::test]
async fn a_retried_sign_in_whose_session_ended_begins_no_other_session() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let request = credentials(&ada.email, &ada.password);
    let first = sign_in(&anonymous, request.clone()).await.unwrap();
    revoke(&stack.user(&ada).unwrap(), &first.session_id)
        .await
        .unwrap();
    let again = sign_in(&anonymous, request).await.unwrap();
    assert_eq!(again.session_id, first.session_id);
    assert_eq!(
        refused(sessions(stack, &again.access_token).await),
        "SESSION_REVOKED"
    );
    assert_eq!(
        refused(refresh(&anonymous, &again.refresh_token).await),
        "SESSION_REVOKED"
    );
}

/// A password that was right when it was checked must not begin a session after the change.
#[tokio::test]
async fn a_password_that_is_changed_during_a_sign_in_begins_no_session() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    // Locks the account as ChangePassword does, from before the check until after it.
    let mut holder = stack.database.connect("postgres").await.unwrap();
    sqlx::raw_sql("BEGIN; UPDATE identity.users SET password_version = password_version + 1")
        .execute(&mut holder)
        .await
        .unwrap();
    let (answer, ()) = tokio::join!(
        sign_in(&anonymous, credentials(&ada.email, &ada.password)),
        async {
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
        }
    );
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
