//! RevokeShare: revokes a share, so that it can no longer be opened.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, reason::Reason, violations::Violations,
};
use haven_proto::data::v1::{RevokeShareRequest, RevokeShareResponse};

use super::{ShareRpc, share_message};

impl Handler<RevokeShareRequest> for ShareRpc {
    type Answer = RevokeShareResponse;

    async fn handle(&self, call: &Call, request: RevokeShareRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let id = violations.uuid("share_id", &request.share_id);
        violations.check()?;
        let now = self.clock.now();
        let share = self.shares.revoke(caller, id, now, call.deadline).await?;
        let share = share.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(RevokeShareResponse {
            share: Some(share_message(&share, now)),
        })
    }
}
