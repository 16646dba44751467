//! GetPasswordPolicy and CheckPassword: what a form shows while somebody chooses a password.

use haven_platform::{call::Call, failure::Failure};
use haven_proto::identity::v1::{
    self as proto, CheckPasswordRequest, CheckPasswordResponse, GetPasswordPolicyRequest,
    GetPasswordPolicyResponse, PasswordRuleResult,
};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::{
    email::EmailAddress,
    password::{MAX_CODE_POINTS, MIN_CODE_POINTS, PasswordRule, check},
};
use crate::rpc::IdentityRpc;

impl IdentityRpc {
    pub(in crate::rpc) async fn get_password_policy_of(
        &self,
        _call: &Call,
        _request: GetPasswordPolicyRequest,
    ) -> Result<GetPasswordPolicyResponse, Failure> {
        Ok(GetPasswordPolicyResponse {
            rules: PasswordRule::ALL.into_iter().map(rule).collect(),
            min_length: length(MIN_CODE_POINTS),
            max_length: length(MAX_CODE_POINTS),
        })
    }

    /// Takes a turn in the queue for hashing: a password can be made that takes as long to judge as two take to hash.
    pub(in crate::rpc) async fn check_password_of(
        &self,
        call: &Call,
        request: CheckPasswordRequest,
    ) -> Result<CheckPasswordResponse, Failure> {
        let password = SecretString::from(request.password);
        let email = SecretString::from(request.email);
        let broken = self
            .passwords
            .run(call.deadline, move |_, _| broken(&password, &email))
            .await?;
        Ok(answer(&broken))
    }
}

/// Every rule that `password` breaks. `email` may be half typed: what is no address yet says nothing about the password,
/// unless it is the password.
fn broken(password: &SecretString, email: &SecretString) -> Vec<PasswordRule> {
    let entered = email.expose_secret();
    let address = EmailAddress::parse(entered).ok();
    let mut broken = check(password, address.as_ref());
    if address.is_none() && !entered.is_empty() && entered == password.expose_secret() {
        broken.push(PasswordRule::IsEmail);
    }
    broken
}

fn answer(broken: &[PasswordRule]) -> CheckPasswordResponse {
    let result = |one: PasswordRule| PasswordRuleResult {
        rule: Some(rule(one)),
        met: !broken.contains(&one),
    };
    CheckPasswordResponse {
        results: PasswordRule::ALL.into_iter().map(result).collect(),
        acceptable: broken.is_empty(),
    }
}

fn rule(rule: PasswordRule) -> proto::PasswordRule {
    proto::PasswordRule {
        name: rule.name().to_owned(),
        description: rule.description().to_owned(),
    }
}

fn length(code_points: usize) -> i32 {
    i32::try_from(code_points).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmet(password: &str, email: &str) -> Vec<String> {
        let answer = answer(&broken(&password.into(), &email.into()));
        assert_eq!(answer.results.len(), PasswordRule::ALL.len());
        let unmet: Vec<_> = answer
            .results
            .into_iter()
            .filter(|result| !result.met)
            .filter_map(|result| result.rule)
            .map(|rule| rule.name)
            .collect();
        assert_eq!(answer.acceptable, unmet.is_empty());
        unmet
    }

    #[test]
    fn each_rule_is_met_or_not() {
        assert_eq!(unmet("kX9vQ2wZ", ""), [""; 0]);
        assert_eq!(unmet("kX9vQ2w", ""), ["TOO_SHORT"]);
        assert_eq!(
            unmet("", ""),
            [
                "TOO_SHORT",
                "NO_UPPERCASE",
                "NO_LOWERCASE",
                "NO_DIGIT",
                "GUESSABLE"
            ]
        );
    }

    #[test]
    fn an_email_address_counts_as_far_as_it_is_typed() {
        assert_eq!(unmet("Hopper1906", "Grace.Hopper1906@exa"), ["GUESSABLE"]);
        assert_eq!(
            unmet("kX9vQ2wZ@exa.org", "kx9vq2wz@EXA.org"),
            ["IS_EMAIL", "GUESSABLE"]
        );
        assert_eq!(unmet("kX9vQ2wZ@", "kX9vQ2wZ@"), ["IS_EMAIL"], "no address yet");
        assert_eq!(unmet("kX9vQ2wZ@", "kX9vQ2wZ"), [""; 0]);
    }
}
