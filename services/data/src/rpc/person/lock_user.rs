//! LockUser: makes the rows of a person without an account unreachable.

use haven_platform::{call::Call, failure::Failure, handler::Handler, reason::Reason, time::timestamp};
use haven_proto::data::v1::{LockUserRequest, LockUserResponse};

use super::{PersonRpc, parse_person};

impl Handler<LockUserRequest> for PersonRpc {
    type Answer = LockUserResponse;

    async fn handle(&self, call: &Call, request: LockUserRequest) -> Result<LockUserResponse, Failure> {
        let person = parse_person(&request.user_id, &request.request_id)?;
        let locked_at = self.people.lock(person, self.clock.now(), call.deadline).await?;
        let locked_at = locked_at.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(LockUserResponse {
            lock_time: Some(timestamp(locked_at)),
        })
    }
}
