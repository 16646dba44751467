//! SignOut: ends the caller's session.

use std::time::{Duration, Instant};

use haven_proto::identity::v1::SignOutRequest;
use haven_testkit::Stack;

use super::{another, audit_log, read, refresh, refused, sessions};
use crate::status::reason;

/// Time within which data has to refuse the tokens of a session that ended.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// Waits until data refuses `token`, and returns how long that took.
async fn until_data_refuses(stack: &Stack, token: &str) -> Duration {
    let begin = Instant::now();
    loop {
        match read(stack, token).await {
            Ok(()) => assert!(begin.elapsed() < MAX_DELAY, "data still accepts the token"),
            Err(status) => {
                assert_eq!(reason(&status), "SESSION_REVOKED");
                return begin.elapsed();
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_signed_out_session_is_refused_by_identity_at_once_and_by_data_soon() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let other = another(stack, &ada).await;
    read(stack, &ada.token).await.unwrap();
    let client = stack.user(&ada).unwrap();
    client.session().sign_out(SignOutRequest {}).await.unwrap();
    assert_eq!(refused(sessions(stack, &ada.token).await), "SESSION_REVOKED");
    assert_eq!(
        refused(client.session().sign_out(SignOutRequest {}).await),
        "SESSION_REVOKED"
    );
    assert_eq!(
        refused(refresh(&anonymous, &ada.refresh_token).await),
        "SESSION_REVOKED"
    );
    let waited = until_data_refuses(stack, &ada.token).await;
    println!("data refused the token {waited:?} after the sign-out");

    // The other session goes on.
    read(stack, &other.token).await.unwrap();
    assert_eq!(sessions(stack, &other.token).await.unwrap().len(), 1);
    refresh(&anonymous, &other.refresh_token).await.unwrap();
    assert_eq!(audit_log(stack, ada.id).await, "sign_in 1, sign_in 2, sign_out 1");
}
