//! GetUsage: returns how much a person uses of each quota, to the person or to a service.

use haven_platform::{call::Call, failure::Failure, handler::Handler, violations::Violations};
use haven_proto::identity::v1::{GetUsageRequest, GetUsageResponse, QuotaUsage};

use super::{
    AccountRpc,
    account_access::{acting_as, parse_user_id},
};

impl Handler<GetUsageRequest> for AccountRpc {
    type Answer = GetUsageResponse;

    async fn handle(&self, call: &Call, request: GetUsageRequest) -> Result<GetUsageResponse, Failure> {
        let mut violations = Violations::new();
        let person = parse_user_id(call, "user_id", &request.user_id, &mut violations);
        violations.check()?;
        let acting_as = acting_as(call, person)?;
        let usage = self
            .accounts
            .usage(acting_as, person, &self.quotas, self.clock.now(), call.deadline)
            .await?;
        let quotas = usage.into_iter().map(|one| QuotaUsage {
            quota: one.quota,
            used: one.used,
            limit: one.limit,
        });
        Ok(GetUsageResponse {
            quotas: quotas.collect(),
        })
    }
}
