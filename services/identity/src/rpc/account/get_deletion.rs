//! GetDeletion: returns the state of a deletion to a service.

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    handler::Handler,
    reason::Reason,
    violations::Violations,
};
use haven_proto::identity::v1::{GetDeletionRequest, GetDeletionResponse};

use super::{AccountRpc, deletion::deletion_message};

impl Handler<GetDeletionRequest> for AccountRpc {
    type Answer = GetDeletionResponse;

    async fn handle(&self, call: &Call, request: GetDeletionRequest) -> Result<GetDeletionResponse, Failure> {
        let mut violations = Violations::new();
        let person = violations.uuid("user_id", &request.user_id);
        violations.check()?;
        let erasure = self.erasures.find(UserId::new(person), call.deadline).await?;
        let erasure = erasure.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(GetDeletionResponse {
            deletion: Some(deletion_message(erasure)),
        })
    }
}
