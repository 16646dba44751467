//! ListCrisisEvents: reads the caller's crisis events by pages, the newest first.

use haven_platform::{call::Call, cursor::Cursor, failure::Failure, handler::Handler, page::PageSize};
use haven_proto::data::v1::{ListCrisisEventsRequest, ListCrisisEventsResponse};

use super::{CrisisRpc, event::event_to_proto};

/// The name of this list in page tokens.
const LIST: &[u8] = b"ListCrisisEvents";

impl Handler<ListCrisisEventsRequest> for CrisisRpc {
    type Answer = ListCrisisEventsResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ListCrisisEventsRequest,
    ) -> Result<ListCrisisEventsResponse, Failure> {
        let caller = call.user()?;
        let size = PageSize::parse_alone(request.page_size)?;
        let after = self.pages.time_cursor(caller, LIST, &request.page_token)?;
        let page = self
            .crisis_events
            .list(caller, after, size, call.deadline)
            .await?;
        let next_page_token = self.pages.next(caller, LIST, &page, |last| {
            let cursor = Cursor {
                at: last.created_at,
                id: last.id,
            };
            cursor.to_bytes()
        });
        Ok(ListCrisisEventsResponse {
            next_page_token,
            events: page.items.iter().map(event_to_proto).collect(),
        })
    }
}
