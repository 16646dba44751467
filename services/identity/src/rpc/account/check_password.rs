//! CheckPassword: tells a form which rules a password meets while a person chooses it.

use haven_platform::{call::Call, failure::Failure, handler::Handler};
use haven_proto::identity::v1::{CheckPasswordRequest, CheckPasswordResponse, PasswordRuleResult};
use secrecy::{ExposeSecret, SecretString};

use super::{AccountRpc, password_rule};
use crate::domain::{
    email::EmailAddress,
    password::{PasswordRule, check},
};

impl Handler<CheckPasswordRequest> for AccountRpc {
    type Answer = CheckPasswordResponse;

    /// Waits in the queue of the estimator: a password can be chosen that takes as long to check as one takes to hash.
    async fn handle(
        &self,
        call: &Call,
        request: CheckPasswordRequest,
    ) -> Result<CheckPasswordResponse, Failure> {
        let quotas = self
            .rate_limit_keys
            .quotas("CheckPassword", &self.check_password_limits, call, None);
        self.accounts
            .admit("CheckPassword", &quotas, call.deadline)
            .await?;
        let password = SecretString::from(request.password);
        let email = SecretString::from(request.email);
        let broken = self
            .estimator
            .run(call.into(), call.deadline, move || {
                broken_rules(&password, &email)
            })
            .await?;
        Ok(answer(&broken))
    }
}

/// The rules that `password` breaks. `email` may be incomplete: an incomplete address has no effect unless it equals the
/// password.
fn broken_rules(password: &SecretString, email: &SecretString) -> Vec<PasswordRule> {
    let entered = email.expose_secret().trim_ascii();
    let address = EmailAddress::parse(entered).ok();
    let mut broken = check(password, address.as_ref());
    if address.is_none() && !entered.is_empty() && entered == password.expose_secret() {
        broken.push(PasswordRule::IsEmail);
    }
    broken
}

fn answer(broken: &[PasswordRule]) -> CheckPasswordResponse {
    let result = |rule: PasswordRule| PasswordRuleResult {
        rule: Some(password_rule::message(rule)),
        met: !broken.contains(&rule),
    };
    CheckPasswordResponse {
        results: PasswordRule::ALL.into_iter().map(result).collect(),
        acceptable: broken.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmet(password: &str, email: &str) -> Vec<String> {
        let answer = answer(&broken_rules(&password.into(), &email.into()));
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
    fn an_incomplete_email_address_has_no_effect_unless_it_is_the_password() {
        assert_eq!(unmet("Hopper1906", "Grace.Hopper1906@exa"), ["GUESSABLE"]);
        assert_eq!(
            unmet("kX9vQ2wZ@exa.org", "kx9vq2wz@EXA.org"),
            ["IS_EMAIL", "GUESSABLE"]
        );
        assert_eq!(
            unmet("kX9vQ2wZ@", "kX9vQ2wZ@"),
            ["IS_EMAIL"],
            "the address is incomplete"
        );
        assert_eq!(unmet("kX9vQ2wZ@", "kX9vQ2wZ"), [""; 0]);
    }
}
