//! SignOut and RevokeSession: ending a session.

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    reason::Reason,
    violations::Violations,
};
use haven_proto::identity::v1::{
    RevokeSessionRequest, RevokeSessionResponse, SignOutRequest, SignOutResponse,
};
use uuid::Uuid;

use crate::rpc::{IdentityRpc, rate_limit_keys::origin};
use crate::{
    domain::session::EndReason,
    store::session::{Ended, Ending},
};

impl IdentityRpc {
    pub(in crate::rpc) async fn sign_out_of(
        &self,
        call: &Call,
        _request: SignOutRequest,
    ) -> Result<SignOutResponse, Failure> {
        let user_id = call.user()?;
        let session_id = call
            .caller
            .user
            .and_then(|user| user.own_session())
            .ok_or_else(|| Failure::new(Reason::AuthProviderExternal))?;
        // A session that is not known any more ended long ago, or its account was erased, and nothing is left that its last
        // token could reach.
        self.end(call, user_id, session_id, EndReason::SignedOut).await?;
        Ok(SignOutResponse {})
    }

    pub(in crate::rpc) async fn revoke_session_of(
        &self,
        call: &Call,
        request: RevokeSessionRequest,
    ) -> Result<RevokeSessionResponse, Failure> {
        let user_id = call.user()?;
        let mut violations = Violations::new();
        let session_id = violations.uuid("session_id", &request.session_id);
        violations.check()?;
        match self.end(call, user_id, session_id, EndReason::Revoked).await? {
            Ended::Now | Ended::Before => Ok(RevokeSessionResponse {}),
            Ended::Unknown => Err(Failure::new(Reason::NotFound)),
        }
    }

    async fn end(
        &self,
        call: &Call,
        user_id: UserId,
        session_id: Uuid,
        reason: EndReason,
    ) -> Result<Ended, Failure> {
        let ending = Ending {
            user_id,
            session_id,
            reason,
            origin: &origin(call, &self.networks),
            at: self.clock.now(),
        };
        let ended = self.sessions.end(ending, call.deadline).await?;
        if ended == Ended::Now {
            self.ended.add(session_id);
        }
        Ok(ended)
    }
}
