//! ListSessions, for a person, and ListEndedSessions, for whoever verifies tokens.

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    page::PageSize,
    reason::Reason,
    time::timestamp,
};
use haven_proto::identity::v1::{
    ListEndedSessionsRequest, ListEndedSessionsResponse, ListSessionsRequest, ListSessionsResponse, Session,
};
use uuid::Uuid;

use crate::domain::session::ListedSession;
use crate::rpc::IdentityRpc;

/// What is the same from page to page.
const SESSIONS: &[u8] = b"ListSessions";
const ENDED_SESSIONS: &[u8] = b"ListEndedSessions";

/// How many ended sessions a page has, unless fewer are asked for: at 40 bytes each, well below what a message may have.
const MAX_ENDED_PAGE_SIZE: u16 = 10_000;

impl IdentityRpc {
    pub(in crate::rpc) async fn list_sessions_of(
        &self,
        call: &Call,
        request: ListSessionsRequest,
    ) -> Result<ListSessionsResponse, Failure> {
        let caller = call.user()?;
        let size = PageSize::parse_alone(request.page_size)?;
        let before = self.pages.cursor(caller, SESSIONS, &request.page_token)?;
        let before = before.map(Uuid::from_bytes);
        let now = self.clock.now();
        let page = self
            .sessions
            .list(caller, before, size, now, call.deadline)
            .await?;
        let last = page.sessions.last().map(|session| session.id);
        let current = call.caller.user.and_then(|user| user.own_session());
        Ok(ListSessionsResponse {
            next_page_token: self.next_page(caller, SESSIONS, last.filter(|_| page.more)),
            sessions: page
                .sessions
                .into_iter()
                .map(|session| message(session, current))
                .collect(),
        })
    }

    pub(in crate::rpc) async fn list_ended_sessions_of(
        &self,
        call: &Call,
        request: ListEndedSessionsRequest,
    ) -> Result<ListEndedSessionsResponse, Failure> {
        let service = call.caller.service.as_ref();
        let service = service.ok_or_else(|| Failure::new(Reason::AccessDenied))?;
        let size = ended_page_size(request.page_size)?;
        // Bound to the service, which is no person.
        let nobody = UserId::new(Uuid::nil());
        let list = [ENDED_SESSIONS, service.as_str().as_bytes()].concat();
        let after = self.pages.cursor(nobody, &list, &request.page_token)?;
        let after = after.map(Uuid::from_bytes);
        let now = self.clock.now();
        let page = self.sessions.list_ended(after, size, now, call.deadline).await?;
        let last = page.ids.last().copied();
        Ok(ListEndedSessionsResponse {
            next_page_token: self.next_page(nobody, &list, last.filter(|_| page.more)),
            session_ids: page.ids.iter().map(Uuid::to_string).collect(),
        })
    }

    fn next_page(&self, owner: UserId, list: &[u8], last: Option<Uuid>) -> String {
        last.map(|id| self.pages.seal(owner, list, id.as_bytes()))
            .unwrap_or_default()
    }
}

fn ended_page_size(page_size: i32) -> Result<u16, Failure> {
    // Checks that it is not negative.
    PageSize::parse_alone(page_size)?;
    Ok(match page_size {
        0 => MAX_ENDED_PAGE_SIZE,
        _ => u16::try_from(page_size).map_or(MAX_ENDED_PAGE_SIZE, |size| size.min(MAX_ENDED_PAGE_SIZE)),
    })
}

fn message(session: ListedSession, current: Option<Uuid>) -> Session {
    Session {
        id: session.id.to_string(),
        create_time: Some(timestamp(session.began_at)),
        refresh_time: Some(timestamp(session.refreshed_at)),
        expire_time: Some(timestamp(session.expires_at)),
        current: current == Some(session.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_ended_sessions_has_ten_thousand_unless_fewer_are_asked_for() {
        assert_eq!(ended_page_size(-1).ok(), None);
        assert_eq!(ended_page_size(0).ok(), Some(10_000));
        assert_eq!(ended_page_size(1).ok(), Some(1));
        assert_eq!(ended_page_size(10_001).ok(), Some(10_000));
        assert_eq!(ended_page_size(i32::MAX).ok(), Some(10_000));
    }
}
