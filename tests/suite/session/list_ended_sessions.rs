//! ListEndedSessions: services list ended sessions, and refuse their tokens.

use haven_proto::identity::v1::{ListEndedSessionsRequest, RevokeSessionRequest};
use haven_testkit::{Client, Stack};
use tonic::Status;

use super::{another, refused};
use crate::{status::violations, superuser_sql::execute};

/// Calls ListEndedSessions. Returns the session ids and the next page token.
async fn ended(client: &Client, page_size: i32, page_token: &str) -> Result<(Vec<String>, String), Status> {
    let request = ListEndedSessionsRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    let page = client.session().list_ended_sessions(request).await?.into_inner();
    Ok((page.session_ids, page.next_page_token))
}

#[tokio::test]
async fn services_list_ended_sessions_until_their_tokens_have_expired() {
    let stack = Stack::builder()
        .admit("identity", "another=keys")
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let mut expected = Vec::new();
    for _ in 0..5 {
        let session_id = another(&stack, &ada).await.session_id.to_string();
        expected.push(session_id.clone());
        let request = RevokeSessionRequest { session_id };
        client.session().revoke_session(request).await.unwrap();
    }
    let (data, another) = (stack.service("data").unwrap(), stack.service("another").unwrap());
    assert_eq!(
        ended(&data, 0, "").await.unwrap(),
        (expected.clone(), String::new())
    );
    let (mut seen, mut token) = ended(&data, 2, "").await.unwrap();
    assert_eq!(
        refused(ended(&another, 2, &token).await),
        "PAGE_TOKEN_INVALID",
        "a page token of another service"
    );
    while !token.is_empty() {
        let (more, next) = ended(&data, 2, &token).await.unwrap();
        seen.extend(more);
        token = next;
    }
    assert_eq!(seen, expected);
    let status = ended(&data, -1, "").await.unwrap_err();
    assert_eq!(violations(&status), [("page_size".into(), "NEGATIVE".into())]);

    execute(
        &stack.database,
        "UPDATE identity.ended_sessions SET expires_at = now() - interval '6 minutes'",
    )
    .await;
    assert_eq!(ended(&data, 0, "").await.unwrap().0, [""; 0]);
    assert_eq!(refused(ended(&client, 0, "").await), "ACCESS_DENIED");
}
