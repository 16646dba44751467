//! Listing shares and who tried to open them, and revoking one.

use chrono::{DateTime, Utc};
use haven_platform::{call::Call, failure::Failure, fields::Fields, reason::Reason};
use haven_proto::data::v1::{
    ListShareAccessRequest, ListShareAccessResponse, ListSharesRequest, ListSharesResponse,
    RevokeShareRequest, RevokeShareResponse,
};
use uuid::Uuid;

use super::{EncryptedRpc, share_message};
use crate::{
    rpc::parsing::{UNSAID, page_size, page_size_alone},
    store::encrypted::share_list::SharePlace,
};

/// What is the same from page to page of shares.
const LIST_SHARES: &[u8] = b"ListShares";

impl EncryptedRpc {
    pub(super) async fn list_shares_of(
        &self,
        call: &Call,
        request: ListSharesRequest,
    ) -> Result<ListSharesResponse, Failure> {
        let caller = call.user()?;
        let size = page_size_alone(request.page_size)?;
        let after = self.pages.cursor(caller, LIST_SHARES, &request.page_token)?;
        let after = after.map(place).transpose()?;
        let page = self.shares.list(caller, call.deadline, after, size).await?;
        let last = page.items.last().filter(|_| page.more);
        let next = last.map(|last| {
            self.pages
                .seal(caller, LIST_SHARES, &cursor(last.created_at, last.id))
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
        let mut fields = Fields::new();
        let id = fields.uuid("share_id", &request.share_id);
        fields.check()?;
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
        let mut fields = Fields::new();
        let share = fields.uuid("share_id", &request.share_id);
        let size = page_size(request.page_size, &mut fields);
        fields.check()?;
        let size = size.ok_or_else(|| Failure::internal(UNSAID))?;
        let list = [b"ListShareAccess".as_slice(), share.as_bytes()].concat();
        let after = self.pages.cursor(caller, &list, &request.page_token)?;
        let after = after.map(place).transpose()?;
        let page = self
            .shares
            .accesses(caller, call.deadline, share, after, size)
            .await?;
        let page = page.ok_or_else(|| Failure::new(Reason::NotFound))?;
        let last = page.items.last().filter(|_| page.more);
        let next = last.map(|last| self.pages.seal(caller, &list, &cursor(last.accessed_at, last.id)));
        Ok(ListShareAccessResponse {
            next_page_token: next.unwrap_or_default(),
            accesses: page.items.iter().map(share_message::access).collect(),
        })
    }
}

fn cursor(at: DateTime<Utc>, id: Uuid) -> Vec<u8> {
    let micros = at.timestamp_micros().to_be_bytes();
    [micros.as_slice(), id.as_bytes()].concat()
}

/// The place that a page token holds.
fn place(cursor: [u8; 24]) -> Result<SharePlace, Failure> {
    let place = cursor.split_first_chunk().and_then(|(micros, id)| {
        Some(SharePlace {
            at: DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?,
            id: Uuid::from_slice(id).ok()?,
        })
    });
    place.ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_as_it_was_written() {
        let expected = SharePlace {
            at: DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap(),
            id: Uuid::from_u128(7),
        };
        let written = cursor(expected.at, expected.id).try_into().unwrap();
        assert_eq!(place(written).unwrap(), expected);
    }
}
