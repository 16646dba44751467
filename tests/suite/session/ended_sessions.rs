//! Tokens of ended sessions are refused by every replica of identity, and after a restart.

use haven_proto::identity::v1::SignOutRequest;
use haven_testkit::Stack;

use super::{another, refused, sessions};
use crate::{eventually::eventually, superuser_sql::execute};

#[tokio::test]
async fn a_session_ended_by_another_replica_is_refused_within_seconds() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let other = another(stack, &ada).await;
    // Another replica ends the session in the database alone.
    let sql = format!(
        "BEGIN; SELECT set_config('request.jwt.claims', '{{\"sub\":\"{}\"}}', true);
        SELECT identity.end_sessions('{}', NULL, 'signed_out', now()); COMMIT",
        ada.id, ada.session_id
    );
    execute(&stack.database, &sql).await;
    eventually("the token is refused", async || {
        let answer = sessions(stack, &ada.token).await;
        answer.is_err_and(|status| crate::status::reason(&status) == "SESSION_REVOKED")
    })
    .await;
    assert_eq!(sessions(stack, &other.token).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_ended_session_stays_ended_after_a_restart() {
    let mut stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let other = another(&stack, &ada).await;
    let client = stack.user(&ada).unwrap();
    client.session().sign_out(SignOutRequest {}).await.unwrap();
    stack.identity.kill();
    stack.identity.start().await.unwrap();
    assert_eq!(
        refused(sessions(&stack, &ada.token).await),
        "SESSION_REVOKED",
        "already at the first call"
    );
    assert_eq!(sessions(&stack, &other.token).await.unwrap().len(), 1);
}
