//! ListSessions: people list their own sessions.

use haven_proto::identity::v1::{ListSessionsRequest, ListSessionsResponse, RevokeSessionRequest};
use haven_testkit::{Client, Stack};
use tonic::Status;

use super::{another, refused};
use crate::status::violations;

/// Calls ListSessions once, without retries.
async fn page(client: &Client, page_size: i32, page_token: &str) -> Result<ListSessionsResponse, Status> {
    let request = ListSessionsRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    Ok(client.session().list_sessions(request).await?.into_inner())
}

#[tokio::test]
async fn a_person_lists_their_own_sessions_newest_first() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let bob = stack.person().await.unwrap();
    let mut expected = vec![ada.session_id.to_string()];
    for _ in 0..4 {
        expected.insert(0, another(stack, &ada).await.session_id.to_string());
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
        assert_eq!(
            session.refresh_time, session.create_time,
            "no session was refreshed"
        );
        let lasts =
            session.expire_time.as_ref().unwrap().seconds - session.create_time.as_ref().unwrap().seconds;
        assert_eq!(lasts, 30 * 24 * 3600);
    }

    // A session that ended is not listed, and a page token from before still works.
    let first = page(&client, 1, "").await.unwrap();
    let request = RevokeSessionRequest {
        session_id: expected[0].clone(),
    };
    client.session().revoke_session(request).await.unwrap();
    let next = page(&client, 200, &first.next_page_token).await.unwrap();
    assert_eq!((next.sessions.len(), next.next_page_token.as_str()), (4, ""));
    assert_eq!(page(&client, 0, "").await.unwrap().sessions, next.sessions);

    let bobs_client = stack.user(&bob).unwrap();
    let own = page(&bobs_client, 0, "").await.unwrap();
    assert_eq!(own.sessions.len(), 1);
    assert_eq!(own.sessions[0].id, bob.session_id.to_string());
    for (client, token) in [(&bobs_client, first.next_page_token.as_str()), (&client, "x")] {
        assert_eq!(refused(page(client, 2, token).await), "PAGE_TOKEN_INVALID");
    }
    let status = page(&client, -1, "").await.unwrap_err();
    assert_eq!(violations(&status), [("page_size".into(), "NEGATIVE".into())]);
}
