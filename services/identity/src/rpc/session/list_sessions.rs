//! ListSessions: lists the caller's sessions that have not ended, newest first.

use haven_platform::{call::Call, failure::Failure, handler::Handler, page::PageSize, time::timestamp};
use haven_proto::identity::v1::{ListSessionsRequest, ListSessionsResponse, Session};
use uuid::Uuid;

use super::SessionRpc;
use crate::domain::session::ListedSession;

/// The list that page tokens are bound to.
const LIST: &[u8] = b"ListSessions";

impl Handler<ListSessionsRequest> for SessionRpc {
    type Answer = ListSessionsResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ListSessionsRequest,
    ) -> Result<ListSessionsResponse, Failure> {
        let caller = call.user()?;
        let size = PageSize::parse_alone(request.page_size)?;
        let before = self.page_tokens.cursor(caller, LIST, &request.page_token)?;
        let before = before.map(Uuid::from_bytes);
        let now = self.clock.now();
        let page = self
            .sessions
            .list(caller, before, size, now, call.deadline)
            .await?;
        let current = call.caller.user.and_then(|user| user.own_session());
        Ok(ListSessionsResponse {
            next_page_token: self
                .page_tokens
                .next(caller, LIST, &page, |last| last.id.into_bytes()),
            sessions: page
                .items
                .into_iter()
                .map(|session| session_message(session, current))
                .collect(),
        })
    }
}

fn session_message(session: ListedSession, current: Option<Uuid>) -> Session {
    Session {
        id: session.id.to_string(),
        create_time: Some(timestamp(session.began_at)),
        refresh_time: Some(timestamp(session.refreshed_at)),
        expire_time: Some(timestamp(session.expires_at)),
        current: current == Some(session.id),
    }
}
