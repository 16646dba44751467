//! ListShareAccess: lists the attempts to open one of the caller's shares, the newest first.

use haven_platform::{
    call::Call, cursor::Cursor, failure::Failure, handler::Handler, page::PageSize, reason::Reason,
    violations::Violations,
};
use haven_proto::data::v1::{ListShareAccessRequest, ListShareAccessResponse};

use super::{ShareRpc, access_message};

impl Handler<ListShareAccessRequest> for ShareRpc {
    type Answer = ListShareAccessResponse;

    async fn handle(&self, call: &Call, request: ListShareAccessRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let share = violations.uuid("share_id", &request.share_id);
        let size = PageSize::parse(request.page_size, &mut violations);
        let size = violations.finish(size)?;
        let list = [b"ListShareAccess".as_slice(), share.as_bytes()].concat();
        let after = self.pages.time_cursor(caller, &list, &request.page_token)?;
        let page = self
            .shares
            .list_access(caller, share, after, size, call.deadline)
            .await?;
        let page = page.ok_or_else(|| Failure::new(Reason::NotFound))?;
        let next_page_token = self.pages.next(caller, &list, &page, |last| {
            let cursor = Cursor {
                at: last.accessed_at,
                id: last.id,
            };
            cursor.to_bytes()
        });
        Ok(ListShareAccessResponse {
            next_page_token,
            accesses: page.items.iter().map(access_message).collect(),
        })
    }
}
