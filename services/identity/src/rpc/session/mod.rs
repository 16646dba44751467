//! `haven.identity.v1.SessionService`.

mod end_session;
mod get_signing_keys;
mod list_ended_sessions;
mod list_sessions;
mod refresh_session;
mod revoke_session;
mod sign_in;
mod sign_out;

use std::sync::Arc;

use haven_platform::{
    auth::EndedSessions,
    entropy::Entropy,
    grpc_service,
    mac::{KeyId, MacKeys, StoredMac},
    page::PageTokens,
    time::Clock,
};
use haven_proto::identity::v1::{
    GetSigningKeysRequest, GetSigningKeysResponse, ListEndedSessionsRequest, ListEndedSessionsResponse,
    ListSessionsRequest, ListSessionsResponse, RefreshSessionRequest, RefreshSessionResponse,
    RevokeSessionRequest, RevokeSessionResponse, SignInRequest, SignInResponse, SignOutRequest,
    SignOutResponse, session_service_server::SessionService,
};
use tokio_util::task::TaskTracker;

use super::{audit_origin::AuditOrigins, rate_limit_keys::RateLimitKeys};
use crate::{
    domain::{
        consent::RequiredConsents,
        provider::AuthProvider,
        quota::Quotas,
        rate_limit::RateLimits,
        refresh_token::{NewRefreshToken, RefreshToken},
    },
    hashing::Passwords,
    signing_keys::TokenSigner,
    store::session::Sessions,
};

/// The state of `SessionService`.
#[derive(Debug)]
pub struct SessionRpc {
    /// The sessions of all people.
    pub sessions: Sessions,
    /// Checks passwords in the hashing queue.
    pub passwords: Passwords,
    /// The provider that signs people in.
    pub provider: AuthProvider,
    /// `true` when SignIn requires a verified address.
    pub requires_verified_email: bool,
    /// The rate limits of SignIn.
    pub sign_in_limits: RateLimits,
    /// The cap on wrong passwords for an account, over all networks.
    pub wrong_password_limits: RateLimits,
    /// The rate limits of RefreshSession.
    pub refresh_limits: RateLimits,
    /// The maximum numbers of sessions and devices.
    pub quotas: Quotas,
    /// The consents that tokens state as missing.
    pub required_consents: RequiredConsents,
    /// Derives the keys under which limits are counted.
    pub rate_limit_keys: RateLimitKeys,
    /// Signs the access tokens of sessions.
    pub signer: Arc<TokenSigner>,
    /// The ended sessions. Calls with their access tokens are refused.
    pub ended_sessions: Arc<EndedSessions>,
    /// The keys of the hashes by which retries are recognized.
    pub request_mac: MacKeys,
    /// Derives the origins that the audit log stores.
    pub audit_origins: AuditOrigins,
    /// The keys from which refresh tokens and their hashes are derived. New ones are derived from the first.
    pub refresh_keys: MacKeys,
    /// The keys from which device tokens and their hashes are derived. New ones are derived from the first.
    pub device_keys: MacKeys,
    /// Seals and opens page tokens.
    pub page_tokens: PageTokens,
    /// The tasks that go on when their caller has disconnected. The server waits for them when it stops.
    pub tasks: TaskTracker,
    /// The clock of all times that are stored.
    pub clock: Clock,
    /// The random source of ids.
    pub entropy: Entropy,
}

impl SessionRpc {
    /// The row to store for `token`, which is derived from the key with the id `key`, with a new id.
    fn new_refresh_token(&self, token: &RefreshToken, key: KeyId) -> NewRefreshToken {
        NewRefreshToken {
            id: self.entropy.uuid_v7(&self.clock),
            hash: StoredMac::new(token.hash(self.refresh_keys.get(key)), key),
        }
    }
}

grpc_service! {
    impl SessionService for SessionRpc {
        rpc sign_in(SignInRequest) -> SignInResponse;
        rpc refresh_session(RefreshSessionRequest) -> RefreshSessionResponse;
        rpc sign_out(SignOutRequest) -> SignOutResponse;
        rpc list_sessions(ListSessionsRequest) -> ListSessionsResponse;
        rpc revoke_session(RevokeSessionRequest) -> RevokeSessionResponse;
        rpc list_ended_sessions(ListEndedSessionsRequest) -> ListEndedSessionsResponse;
        rpc get_signing_keys(GetSigningKeysRequest) -> GetSigningKeysResponse;
    }
}
