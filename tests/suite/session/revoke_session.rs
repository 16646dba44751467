//! RevokeSession: ends one of the caller's sessions.

use haven_testkit::{Stack, random};

use super::{another, audit_log, refresh, refused, revoke, sessions};
use crate::{status::violations, superuser_sql::scalar_with};

#[tokio::test]
async fn a_session_is_revoked_from_another_session_once() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let lost = another(stack, &ada).await;
    let (client, id) = (stack.user(&ada).unwrap(), lost.session_id.to_string());
    revoke(&client, &id).await.unwrap();
    assert_eq!(refused(sessions(stack, &lost.token).await), "SESSION_REVOKED");
    assert_eq!(
        refused(refresh(&anonymous, &lost.refresh_token).await),
        "SESSION_REVOKED"
    );
    let end_time =
        "SELECT ended_at::text FROM identity.sessions WHERE user_id = $1 AND end_reason = 'revoked'";
    let ended: String = scalar_with(&stack.database, end_time, ada.id).await;
    revoke(&client, &id).await.unwrap();
    let still: String = scalar_with(&stack.database, end_time, ada.id).await;
    assert_eq!(still, ended, "a second call changes nothing");
    assert_eq!(audit_log(stack, ada.id).await, "sign_in 1, sign_in 2, sign_out 2");

    // The caller's own session can be revoked as well.
    revoke(&client, &ada.session_id.to_string()).await.unwrap();
    assert_eq!(refused(sessions(stack, &ada.token).await), "SESSION_REVOKED");
}

#[tokio::test]
async fn concurrent_calls_revoke_a_session_once() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let lost = another(stack, &ada).await;
    let (client, id) = (stack.user(&ada).unwrap(), lost.session_id.to_string());
    for outcome in futures_util::future::join_all((0..50).map(|_| revoke(&client, &id))).await {
        outcome.unwrap();
    }
    assert_eq!(audit_log(stack, ada.id).await, "sign_in 1, sign_in 2, sign_out 2");
}

#[tokio::test]
async fn a_session_of_another_person_is_not_found() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let client = stack.user(&bob).unwrap();
    for id in [ada.session_id.to_string(), random::uuid().to_string()] {
        assert_eq!(refused(revoke(&client, &id).await), "NOT_FOUND");
    }
    for (id, name) in [("", "REQUIRED"), ("x", "NOT_A_UUID")] {
        let status = revoke(&client, id).await.unwrap_err();
        assert_eq!(violations(&status), [("session_id".into(), name.into())]);
    }
    assert_eq!(sessions(stack, &ada.token).await.unwrap().len(), 1);
    for person in [&ada, &bob] {
        let log = audit_log(stack, person.id).await;
        assert!(!log.contains("sign_out"), "{log}");
    }
}
