//! The end of one session, which SignOut and RevokeSession share.

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
};
use uuid::Uuid;

use super::SessionRpc;
use crate::{
    domain::session::{EndReason, SessionEnd},
    store::session::Ended,
};

impl SessionRpc {
    /// Ends the caller's session, and refuses its access tokens from now on.
    pub(super) async fn end_session(
        &self,
        call: &Call,
        caller: UserId,
        session_id: Uuid,
        reason: EndReason,
    ) -> Result<Ended, Failure> {
        let end = SessionEnd {
            session_id,
            reason,
            origin: &self.audit_origins.of(call),
            at: self.clock.now(),
        };
        let ended = self.sessions.end(caller, end, call.deadline).await?;
        if ended == Ended::Now {
            self.ended_sessions.add(caller, session_id);
        }
        Ok(ended)
    }
}
