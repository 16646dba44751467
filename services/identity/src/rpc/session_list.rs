//! ListSessions, for a person, and ListEndedSessions, for whoever verifies tokens.

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    reason::Reason,
    time::timestamp,
};
use haven_proto::identity::v1::{
    ListEndedSessionsRequest, ListEndedSessionsResponse, ListSessionsRequest, ListSessionsResponse, Session,
};
use uuid::Uuid;

use super::{IdentityRpc, parsing};
use crate::domain::session::ListedSession;

/// What is the same from page to page.
const SESSIONS: &[u8] = b"ListSessions";
const ENDED_SESSIONS: &[u8] = b"ListEndedSessions";

/// How many ended sessions a page has, unless fewer are asked for: at 40 octets each, well below what a message may have.
const ENDED_PAGE: u16 = 10_000;

impl IdentityRpc {
    pub(super) async fn list_sessions_of(
        &self,
        call: &Call,
        request: ListSessionsRequest,
    ) -> Result<ListSessionsResponse, Failure> {
        let caller = call.user()?;
        let size = parsing::page(request.page_size)?;
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

    pub(super) async fn list_ended_sessions_of(
        &self,
        call: &Call,
        request: ListEndedSessionsRequest,
    ) -> Result<ListEndedSessionsResponse, Failure> {
        let service = call.caller.service.as_ref();
        let service = service.ok_or_else(|| Failure::new(Reason::AccessDenied))?;
        let size = ended_page(request.page_size).ok_or_else(parsing::negative_page)?;
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

fn ended_page(asked: i32) -> Option<u16> {
    match asked {
        ..0 => None,
        0 => Some(ENDED_PAGE),
        _ => Some(u16::try_from(asked).map_or(ENDED_PAGE, |size| size.min(ENDED_PAGE))),
    }
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
        assert_eq!(ended_page(-1), None);
        assert_eq!(ended_page(0), Some(10_000));
        assert_eq!(ended_page(1), Some(1));
        assert_eq!(ended_page(10_001), Some(10_000));
        assert_eq!(ended_page(i32::MAX), Some(10_000));
    }
}
