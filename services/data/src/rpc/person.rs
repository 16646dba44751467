//! `haven.data.v1.PersonService`: people, as far as this service has to know them.

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    fields::Fields,
    time::{Clock, timestamp},
};
use haven_proto::data::v1::{
    ProvisionUserRequest, ProvisionUserResponse, person_service_server::PersonService,
};
use tonic::{Request, Response, Status};

use crate::store::person::People;

/// The service, as the server runs it.
#[derive(Debug)]
pub struct PersonRpc {
    people: People,
    clock: Clock,
}

impl PersonRpc {
    /// The service over `people`.
    #[must_use]
    pub fn new(people: People, clock: Clock) -> Self {
        Self { people, clock }
    }

    async fn provision(
        &self,
        call: &Call,
        request: &ProvisionUserRequest,
    ) -> Result<ProvisionUserResponse, Failure> {
        let person = parse(request)?;
        let since = self
            .people
            .provision(person, call.deadline, self.clock.now())
            .await?;
        Ok(ProvisionUserResponse {
            create_time: Some(timestamp(since)),
        })
    }
}

#[tonic::async_trait]
impl PersonService for PersonRpc {
    async fn provision_user(
        &self,
        request: Request<ProvisionUserRequest>,
    ) -> Result<Response<ProvisionUserResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.provision(&call, request.get_ref()).await?))
    }
}

/// The person is all that the request says, so the person's row is what makes a retry known as one: the request's own
/// id has to be there, as everywhere, and is not kept.
fn parse(request: &ProvisionUserRequest) -> Result<UserId, Failure> {
    let mut fields = Fields::new();
    let person = fields.uuid("user_id", &request.user_id);
    fields.uuid("request_id", &request.request_id);
    fields.check()?;
    Ok(UserId::new(person))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ids_are_needed() {
        let failure = parse(&ProvisionUserRequest::default()).unwrap_err();
        let found: Vec<_> = failure
            .all_violations()
            .iter()
            .map(|v| (v.field.as_str(), v.name))
            .collect();
        assert_eq!(found, [("user_id", "REQUIRED"), ("request_id", "REQUIRED")]);
    }
}
