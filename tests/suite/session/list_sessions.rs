//! ListSessions and ListEndedSessions: pages, and whose they are.

use haven_proto::identity::v1::{
    ListEndedSessionsRequest, ListSessionsRequest, ListSessionsResponse, RevokeSessionRequest,
};
use haven_testkit::{Client, Stack};
use tonic::Status;

use super::{another, refused};
use crate::{status::violations, superuser_sql::execute};

async fn page(client: &Client, page_size: i32, page_token: &str) -> Result<ListSessionsResponse, Status> {
    let request = ListSessionsRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    Ok(client.session().list_sessions(request).await?.into_inner())
}

/// A page of ended sessions, and where the next one is.
async fn ended(client: &Client, page_size: i32, page_token: &str) -> Result<(Vec<String>, String), Status> {
    let request = ListEndedSessionsRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    let page = client.session().list_ended_sessions(request).await?.into_inner();
    Ok((page.session_ids, page.next_page_token))
}

#[tokio::test]
async fn a_person_sees_their_own_sessions_the_newest_first() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let bob = stack.person().await.unwrap();
    let mut expected = vec![ada.session_id.to_string()];
    for _ in 0..4 {
        expected.insert(0, another(&stack, &ada).await.session_id.to_string());
    }
    let client = stack.user(&ada).unwrap();
    let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = page(&client, 2, &token).await.unwrap();
        pages += 1;
        seen.extend(page.sessions);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let ids: Vec<_> = seen.iter().map(|session| session.id.clone()).collect();
    assert_eq!((ids, pages), (expected.clone(), 3));
    for session in &seen {
        assert_eq!(session.current, session.id == ada.session_id.to_string());
        assert_eq!(session.refresh_time, session.create_time, "none was refreshed");
        let lasts =
            session.expire_time.as_ref().unwrap().seconds - session.create_time.as_ref().unwrap().seconds;
        assert_eq!(lasts, 30 * 24 * 3600);
    }

    // One that ended is not there, and the page that led to it leads on.
    let first = page(&client, 1, "").await.unwrap();
    let request = RevokeSessionRequest {
        session_id: expected[0].clone(),
    };
    client.session().revoke_session(request).await.unwrap();
    let next = page(&client, 200, &first.next_page_token).await.unwrap();
    assert_eq!((next.sessions.len(), next.next_page_token.as_str()), (4, ""));
    assert_eq!(page(&client, 0, "").await.unwrap().sessions, next.sessions);

    let his = stack.user(&bob).unwrap();
    let own = page(&his, 0, "").await.unwrap();
    assert_eq!(own.sessions.len(), 1);
    assert_eq!(own.sessions[0].id, bob.session_id.to_string());
    for (client, token) in [(&his, first.next_page_token.as_str()), (&client, "x")] {
        assert_eq!(refused(page(client, 2, token).await), "PAGE_TOKEN_INVALID");
    }
    let status = page(&client, -1, "").await.unwrap_err();
    assert_eq!(violations(&status), [("page_size".into(), "NEGATIVE".into())]);
}

#[tokio::test]
async fn services_see_what_ended_for_as_long_as_it_matters() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let mut expected = Vec::new();
    for _ in 0..5 {
        let session_id = another(&stack, &ada).await.session_id.to_string();
        expected.push(session_id.clone());
        let request = RevokeSessionRequest { session_id };
        client.session().revoke_session(request).await.unwrap();
    }
    let (data, backend) = (stack.service("data").unwrap(), stack.service("backend").unwrap());
    assert_eq!(
        ended(&data, 0, "").await.unwrap(),
        (expected.clone(), String::new())
    );
    let (mut seen, mut token) = ended(&data, 2, "").await.unwrap();
    assert_eq!(
        refused(ended(&backend, 2, &token).await),
        "PAGE_TOKEN_INVALID",
        "another service's"
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
