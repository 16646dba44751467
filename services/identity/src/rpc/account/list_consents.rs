//! ListConsents: lists the caller's consents, newest first, and the consents that sign-up requires.

use haven_platform::{call::Call, failure::Failure, handler::Handler, page::PageSize};
use haven_proto::identity::v1::{ListConsentsRequest, ListConsentsResponse};
use uuid::Uuid;

use super::{AccountRpc, consent::consent_message};
use crate::rpc::consent_grant::grant_message;

/// The list that page tokens are bound to.
const LIST: &[u8] = b"ListConsents";

impl Handler<ListConsentsRequest> for AccountRpc {
    type Answer = ListConsentsResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ListConsentsRequest,
    ) -> Result<ListConsentsResponse, Failure> {
        let caller = call.user()?;
        let size = PageSize::parse_alone(request.page_size)?;
        let after = self.page_tokens.cursor(caller, LIST, &request.page_token)?;
        let after = after.map(Uuid::from_bytes);
        let page = self.consents.list(caller, after, size, call.deadline).await?;
        Ok(ListConsentsResponse {
            next_page_token: self
                .page_tokens
                .next(caller, LIST, &page, |last| last.id.into_bytes()),
            consents: page.items.iter().map(consent_message).collect(),
            required: self.required_consents.iter().map(grant_message).collect(),
        })
    }
}
