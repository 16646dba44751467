//! `haven.data.v1.ShareService`: encrypted content that a person gives to a recipient without an account.

mod create_share;
mod list_share_access;
mod list_shares;
mod message;
mod open_share;
mod passcode;
mod revoke_share;

use haven_platform::{mac::MacKeys, page::PageTokens, time::Clock};
use haven_proto::data::v1::{
    CreateShareRequest, CreateShareResponse, ListShareAccessRequest, ListShareAccessResponse,
    ListSharesRequest, ListSharesResponse, OpenShareRequest, OpenShareResponse, RevokeShareRequest,
    RevokeShareResponse, share_service_server::ShareService,
};

pub(in crate::rpc) use self::message::{access_message, share_message};
use crate::{
    domain::encrypted::share_token::TokenHashes, keyed_mutex::KeyedMutex, passcodes::Passcodes,
    store::encrypted::share::Shares,
};

/// The gRPC service `haven.data.v1.ShareService`.
#[derive(Debug)]
pub struct ShareRpc {
    /// The stored shares of all people.
    pub shares: Shares,
    /// The queues of concurrent attempts to open the same share, by token hash.
    pub openings: KeyedMutex,
    /// Hashes passcodes of shares.
    pub passcodes: Passcodes,
    /// The key of the keyed hashes of requests.
    pub requests: MacKeys,
    /// The key from which share tokens are derived, each from the request that makes the share.
    pub share_tokens: MacKeys,
    /// The keyed hashes of share tokens, which are stored.
    pub share_token_hashes: TokenHashes,
    /// Makes and opens page tokens.
    pub pages: PageTokens,
    /// The time of day.
    pub clock: Clock,
}

haven_platform::grpc_service! {
    impl ShareService for ShareRpc {
        rpc create_share(CreateShareRequest) -> CreateShareResponse;
        rpc list_shares(ListSharesRequest) -> ListSharesResponse;
        rpc revoke_share(RevokeShareRequest) -> RevokeShareResponse;
        rpc list_share_access(ListShareAccessRequest) -> ListShareAccessResponse;
        rpc open_share(OpenShareRequest) -> OpenShareResponse;
    }
}
