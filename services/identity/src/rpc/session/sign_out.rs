//! SignOut: ends the session of the call.

use haven_platform::{call::Call, failure::Failure, handler::Handler, reason::Reason};
use haven_proto::identity::v1::{SignOutRequest, SignOutResponse};

use super::SessionRpc;
use crate::domain::session::EndReason;

impl Handler<SignOutRequest> for SessionRpc {
    type Answer = SignOutResponse;

    async fn handle(&self, call: &Call, _request: SignOutRequest) -> Result<SignOutResponse, Failure> {
        let caller = call.user()?;
        let session_id = call
            .caller
            .user
            .and_then(|user| user.own_session())
            .ok_or_else(|| Failure::new(Reason::AuthProviderExternal))?;
        // A session that is not stored any more ended long ago, or its account was erased: its last access token gives
        // access to nothing.
        self.end_session(call, caller, session_id, EndReason::SignedOut)
            .await?;
        Ok(SignOutResponse {})
    }
}
