//! ListEndedSessions: services list ended sessions, and refuse their tokens.

use haven_proto::identity::v1::{ListEndedSessionsRequest, RevokeSessionRequest};
use haven_testkit::{Client, Person, Stack};
use tonic::Status;

use super::{another, refused};
use crate::{
    status::violations,
    superuser_sql::{execute, scalar_with},
};

/// An ended session: its digest and its id.
type Ended = (Vec<u8>, String);

/// Calls ListEndedSessions. Returns the sessions and the next page token.
async fn ended(client: &Client, page_size: i32, page_token: &str) -> Result<(Vec<Ended>, String), Status> {
    let request = ListEndedSessionsRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    let page = client.session().list_ended_sessions(request).await?.into_inner();
    let digests = page.session_digests.into_iter();
    Ok((digests.zip(page.session_ids).collect(), page.next_page_token))
}

/// Returns the digest of a session as the contract defines it.
async fn digest(stack: &Stack, person: &Person, session_id: &str) -> Vec<u8> {
    let ids = format!("{}{session_id}", person.id).replace('-', "");
    scalar_with(&stack.database, "SELECT sha256(decode($1, 'hex'))", ids).await
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
        expected.push((digest(&stack, &ada, &session_id).await, session_id.clone()));
        let request = RevokeSessionRequest { session_id };
        client.session().revoke_session(request).await.unwrap();
    }
    expected.sort();
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
    assert_eq!(ended(&data, 0, "").await.unwrap().0, []);
    assert_eq!(refused(ended(&client, 0, "").await), "ACCESS_DENIED");
}
