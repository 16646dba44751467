//! GetPasswordPolicy: returns the rules that a new password must meet.

use haven_platform::{call::Call, failure::Failure, handler::Handler};
use haven_proto::identity::v1::{GetPasswordPolicyRequest, GetPasswordPolicyResponse};

use super::{AccountRpc, password_rule};
use crate::domain::password::{MAX_CODE_POINTS, MIN_CODE_POINTS, PasswordRule};

impl Handler<GetPasswordPolicyRequest> for AccountRpc {
    type Answer = GetPasswordPolicyResponse;

    async fn handle(
        &self,
        _call: &Call,
        _request: GetPasswordPolicyRequest,
    ) -> Result<GetPasswordPolicyResponse, Failure> {
        Ok(GetPasswordPolicyResponse {
            rules: PasswordRule::ALL
                .into_iter()
                .map(password_rule::message)
                .collect(),
            min_length: length(MIN_CODE_POINTS),
            max_length: length(MAX_CODE_POINTS),
        })
    }
}

fn length(code_points: usize) -> i32 {
    i32::try_from(code_points).unwrap_or(i32::MAX)
}
