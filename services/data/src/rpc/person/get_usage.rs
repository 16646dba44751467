//! GetUsage: what a person uses of each quota.

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    handler::Handler,
    reason::Reason,
    violations::Violations,
};
use haven_proto::data::v1::{GetUsageRequest, GetUsageResponse, QuotaUsage};

use super::PersonRpc;

impl Handler<GetUsageRequest> for PersonRpc {
    type Answer = GetUsageResponse;

    async fn handle(&self, call: &Call, request: GetUsageRequest) -> Result<GetUsageResponse, Failure> {
        let (person, by_service) = whose(call, &request)?;
        let usage = self.people.usage(person, by_service, call.deadline).await?;
        let quotas = usage.into_iter().map(|one| QuotaUsage {
            quota: one.quota.name().to_owned(),
            used: one.used,
            limit: self.quotas.limit(one.quota).unwrap_or_default(),
        });
        Ok(GetUsageResponse {
            quotas: quotas.collect(),
        })
    }
}

/// Returns the person that the call is about, and whether a service asks without the person's token. A call of a person
/// through a service asks as the person, who may leave out their id and may name no other.
fn whose(call: &Call, request: &GetUsageRequest) -> Result<(UserId, bool), Failure> {
    const FIELD: &str = "user_id";
    let mut violations = Violations::new();
    let person = match call.caller.user {
        Some(user) => violations
            .optional_uuid(FIELD, &request.user_id)
            .map_or(user.id, UserId::new),
        None => UserId::new(violations.uuid(FIELD, &request.user_id)),
    };
    violations.check()?;
    match call.caller.user {
        Some(user) if user.id != person => Err(Failure::new(Reason::NotFound)),
        user => Ok((person, user.is_none())),
    }
}
