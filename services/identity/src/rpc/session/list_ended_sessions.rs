//! ListEndedSessions: lists ended sessions with access tokens that may not have expired yet, for services that verify
//! tokens.

use haven_platform::{
    auth::SessionDigest,
    call::{Call, UserId},
    failure::Failure,
    handler::Handler,
    page::PageSize,
    reason::Reason,
};
use haven_proto::identity::v1::{ListEndedSessionsRequest, ListEndedSessionsResponse};
use uuid::Uuid;

use super::SessionRpc;

/// The list that page tokens are bound to, besides the service's name. Earlier programs order their list otherwise, under
/// another name.
const LIST: &[u8] = b"ListEndedSessions by digest";

/// The owner of the page tokens: no person.
const NO_USER: UserId = UserId::new(Uuid::nil());

/// The default and maximum number of sessions on a page. At 80 bytes each, they are far below the maximum message size.
const MAX_PAGE_SIZE: u16 = 10_000;

impl Handler<ListEndedSessionsRequest> for SessionRpc {
    type Answer = ListEndedSessionsResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ListEndedSessionsRequest,
    ) -> Result<ListEndedSessionsResponse, Failure> {
        let service = call.caller.service.as_ref();
        let service = service.ok_or_else(|| Failure::new(Reason::AccessDenied))?;
        let size = parse_page_size(request.page_size)?;
        let list = [LIST, service.as_str().as_bytes()].concat();
        let after = self.page_tokens.cursor(NO_USER, &list, &request.page_token)?;
        let after = after.map(SessionDigest::from);
        let now = self.clock.now();
        let page = self.sessions.list_ended(after, size, now, call.deadline).await?;
        Ok(ListEndedSessionsResponse {
            next_page_token: self
                .page_tokens
                .next(NO_USER, &list, &page, |last| last.digest.to_bytes()),
            session_ids: page.items.iter().map(|session| session.id.to_string()).collect(),
            session_digests: page
                .items
                .iter()
                .map(|session| session.digest.to_bytes().to_vec())
                .collect(),
        })
    }
}

/// Parses `page_size`. Its maximum is larger than that of [`PageSize`].
fn parse_page_size(page_size: i32) -> Result<u16, Failure> {
    // Refuses a negative size.
    PageSize::parse_alone(page_size)?;
    Ok(match page_size {
        0 => MAX_PAGE_SIZE,
        _ => u16::try_from(page_size).map_or(MAX_PAGE_SIZE, |size| size.min(MAX_PAGE_SIZE)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_up_to_ten_thousand_ended_sessions() {
        assert_eq!(parse_page_size(-1).ok(), None);
        assert_eq!(parse_page_size(0).ok(), Some(10_000));
        assert_eq!(parse_page_size(1).ok(), Some(1));
        assert_eq!(parse_page_size(10_001).ok(), Some(10_000));
        assert_eq!(parse_page_size(i32::MAX).ok(), Some(10_000));
    }
}
