//! The enforcement of consents: whether calls of people who lack a required consent are refused.

use clap::{Args, ValueEnum};

use super::{AuthMode, ConfigProblems};

/// The flags of the enforcement of consents.
#[derive(Args, Clone, Debug)]
pub struct EnforcementArgs {
    /// Whether calls of people who lack a required consent are refused, except those for consents, export, deletion and
    /// sessions
    #[arg(
        long = "consent-enforcement",
        env = "CONSENT_ENFORCEMENT",
        value_name = "off|on",
        default_value = "off"
    )]
    pub enforcement: String,
}

/// Whether calls of people who lack a required consent are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Enforcement {
    /// The calls are admitted.
    Off,
    /// The calls are refused with CONSENT_OUTDATED, where the RPC does not have the option `without_consents`.
    On,
}

impl EnforcementArgs {
    /// Checks the flags. Only Haven's own tokens state which consents are missing, so consents cannot be enforced where
    /// people authenticate in another way: with a token of `trusted_issuers`, or with a header.
    pub fn check(
        &self,
        problems: &mut ConfigProblems,
        auth_mode: Option<AuthMode>,
        trusted_issuers: &str,
    ) -> Option<Enforcement> {
        const NAME: &str = "CONSENT_ENFORCEMENT";
        let enforcement = problems.one_of(NAME, &self.enforcement)?;
        if enforcement == Enforcement::On {
            if !trusted_issuers.is_empty() {
                problems.add(
                    NAME,
                    "can be `on` only without TRUSTED_ISSUERS: tokens of other providers do not state which consents \
                     are missing",
                );
            }
            if auth_mode == Some(AuthMode::Local) {
                problems.add(
                    NAME,
                    "can be `on` only with AUTH_MODE=token: the header x-user-id does not state which consents are \
                     missing",
                );
            }
        }
        Some(enforcement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_enforced_only_where_each_token_states_them() {
        for (value, mode, issuers, expected) in [
            ("off", AuthMode::Local, "other=jwks:/keys", None),
            ("on", AuthMode::Token, "", None),
            (
                "on",
                AuthMode::Token,
                "other=jwks:/keys",
                Some("without TRUSTED_ISSUERS"),
            ),
            ("on", AuthMode::Local, "", Some("with AUTH_MODE=token")),
            ("yes", AuthMode::Token, "", Some("must be one of off, on")),
        ] {
            let args = EnforcementArgs {
                enforcement: value.to_owned(),
            };
            let mut problems = ConfigProblems::new();
            let enforcement = args.check(&mut problems, Some(mode), issuers);
            let report = problems.finish(enforcement).map_err(|error| error.to_string());
            match expected {
                None => assert!(report.is_ok(), "{report:?}"),
                Some(expected) => assert!(
                    report.unwrap_err().contains(expected),
                    "{value} {mode:?} {issuers}"
                ),
            }
        }
    }
}
