//! Listing shares and who tried to open them, and revoking one.

use haven_platform::cursor::Cursor;
use haven_platform::page::PageSize;
use haven_platform::violations::NO_VALUE;
use haven_platform::{call::Call, failure::Failure, reason::Reason, violations::Violations};
use haven_proto::data::v1::{
    ListShareAccessRequest, ListShareAccessResponse, ListSharesRequest, ListSharesResponse,
    RevokeShareRequest, RevokeShareResponse,
};

use super::{EncryptedRpc, share_message};

/// What is the same from page to page of shares.
const LIST_SHARES: &[u8] = b"ListShares";

impl EncryptedRpc {
    pub(super) async fn list_shares_of(
        &self,
        call: &Call,
        request: ListSharesRequest,
    ) -> Result<ListSharesResponse, Failure> {
        let caller = call.user()?;
        let size = PageSize::parse_alone(request.page_size)?;
        let after = self.pages.cursor(caller, LIST_SHARES, &request.page_token)?;
        let after = after.map(place).transpose()?;
        let page = self.shares.list(caller, call.deadline, after, size).await?;
        let last = page.items.last().filter(|_| page.more);
        let next = last.map(|last| {
            let place = Cursor {
                at: last.created_at,
                id: last.id,
            };
            self.pages.seal(caller, LIST_SHARES, &place.to_bytes())
        });
        let now = self.clock.now();
        Ok(ListSharesResponse {
            next_page_token: next.unwrap_or_default(),
            shares: page
                .items
                .iter()
                .map(|share| share_message::share(share, now))
                .collect(),
        })
    }

    pub(super) async fn revoke_share_of(
        &self,
        call: &Call,
        request: RevokeShareRequest,
    ) -> Result<RevokeShareResponse, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let id = violations.uuid("share_id", &request.share_id);
        violations.check()?;
        let now = self.clock.now();
        let share = self.shares.revoke(caller, call.deadline, id, now).await?;
        let share = share.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(RevokeShareResponse {
            share: Some(share_message::share(&share, now)),
        })
    }

    pub(super) async fn list_share_access_of(
        &self,
        call: &Call,
        request: ListShareAccessRequest,
    ) -> Result<ListShareAccessResponse, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let share = violations.uuid("share_id", &request.share_id);
        let size = PageSize::parse(request.page_size, &mut violations);
        violations.check()?;
        let size = size.ok_or_else(|| Failure::internal(NO_VALUE))?;
        let list = [b"ListShareAccess".as_slice(), share.as_bytes()].concat();
        let after = self.pages.cursor(caller, &list, &request.page_token)?;
        let after = after.map(place).transpose()?;
        let page = self
            .shares
            .accesses(caller, call.deadline, share, after, size)
            .await?;
        let page = page.ok_or_else(|| Failure::new(Reason::NotFound))?;
        let last = page.items.last().filter(|_| page.more);
        let next = last.map(|last| {
            let place = Cursor {
                at: last.accessed_at,
                id: last.id,
            };
            self.pages.seal(caller, &list, &place.to_bytes())
        });
        Ok(ListShareAccessResponse {
            next_page_token: next.unwrap_or_default(),
            accesses: page.items.iter().map(share_message::access).collect(),
        })
    }
}

/// The place that a page token holds.
fn place(cursor: [u8; 24]) -> Result<Cursor, Failure> {
    Cursor::from_bytes(cursor).ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}
