//! RevokeSession: ends one of the caller's sessions.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, reason::Reason, violations::Violations,
};
use haven_proto::identity::v1::{RevokeSessionRequest, RevokeSessionResponse};

use super::SessionRpc;
use crate::{domain::session::EndReason, store::session::Ended};

impl Handler<RevokeSessionRequest> for SessionRpc {
    type Answer = RevokeSessionResponse;

    async fn handle(
        &self,
        call: &Call,
        request: RevokeSessionRequest,
    ) -> Result<RevokeSessionResponse, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let session_id = violations.uuid("session_id", &request.session_id);
        violations.check()?;
        match self
            .end_session(call, caller, session_id, EndReason::Revoked)
            .await?
        {
            Ended::Now | Ended::Before => Ok(RevokeSessionResponse {}),
            Ended::Unknown => Err(Failure::new(Reason::NotFound)),
        }
    }
}
