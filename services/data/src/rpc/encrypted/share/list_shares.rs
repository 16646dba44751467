//! ListShares: lists the caller's shares, the newest first.

use haven_platform::{call::Call, cursor::Cursor, failure::Failure, handler::Handler, page::PageSize};
use haven_proto::data::v1::{ListSharesRequest, ListSharesResponse};

use super::{ShareRpc, share_message};

/// The request that page tokens are sealed for: it has no field that must stay the same from page to page.
const LIST: &[u8] = b"ListShares";

impl Handler<ListSharesRequest> for ShareRpc {
    type Answer = ListSharesResponse;

    async fn handle(&self, call: &Call, request: ListSharesRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let size = PageSize::parse_alone(request.page_size)?;
        let after = self.pages.time_cursor(caller, LIST, &request.page_token)?;
        let page = self.shares.list(caller, after, size, call.deadline).await?;
        let next_page_token = self.pages.next(caller, LIST, &page, |last| {
            let cursor = Cursor {
                at: last.created_at,
                id: last.id,
            };
            cursor.to_bytes()
        });
        let now = self.clock.now();
        let shares = page.items.iter();
        Ok(ListSharesResponse {
            next_page_token,
            shares: shares.map(|share| share_message(share, now)).collect(),
        })
    }
}
