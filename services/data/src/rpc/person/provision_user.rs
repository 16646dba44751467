//! ProvisionUser: creates the row of a person, so that content can be stored for them.

use haven_platform::{call::Call, failure::Failure, handler::Handler, reason::Reason, time::timestamp};
use haven_proto::data::v1::{ProvisionUserRequest, ProvisionUserResponse};

use super::{PersonRpc, parse_person};
use crate::store::person::ProvisionError;

impl Handler<ProvisionUserRequest> for PersonRpc {
    type Answer = ProvisionUserResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ProvisionUserRequest,
    ) -> Result<ProvisionUserResponse, Failure> {
        let person = parse_person(&request.user_id, &request.request_id)?;
        let since = self
            .people
            .provision(person, self.clock.now(), call.deadline)
            .await?;
        Ok(ProvisionUserResponse {
            create_time: Some(timestamp(since)),
        })
    }
}

impl From<ProvisionError> for Failure {
    fn from(error: ProvisionError) -> Self {
        match error {
            ProvisionError::AccountErased => Self::new(Reason::AccountErased),
            ProvisionError::Database(error) => error.into(),
        }
    }
}
